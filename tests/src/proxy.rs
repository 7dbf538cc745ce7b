//! The proxy's own binary as a process, configured for the stage.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock};

use pgusher::demo::home::random_hex;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, NoTls};

use crate::raw::Raw;
use crate::stage::{ROLES, Stage};
use crate::token::AUDIENCE;
use crate::wait;

/// As what they are: forgeable, which has to be accepted.
const PLAIN_CLAIMS: &str = "mode = \"claims\"\n[safety]\nallow = [\"claims-forgeable\"]";

/// A running proxy; killed when dropped.
pub struct Proxy {
    child: Child,
    address: Option<String>,
    log: Arc<Mutex<Vec<String>>>,
    directory: PathBuf,
}

/// A proxy that is not yet started.
pub struct ProxyBuilder<'a> {
    stage: &'a Stage,
    settings: Vec<String>,
    tables: String,
    tls: bool,
    ulimit: Option<String>,
    socket: bool,
    http: bool,
    anonymous: bool,
    /// The table `claims`, if it is not to be mode `signed` with the stage's secret.
    claims: Option<String>,
}

impl Proxy {
    /// Starts one with the settings that most tests want: no TLS, TCP on a free port, the stage's issuer.
    pub async fn start(stage: &Stage) -> Self {
        Self::builder(stage).start().await
    }

    /// One that is to differ.
    pub fn builder(stage: &Stage) -> ProxyBuilder<'_> {
        ProxyBuilder {
            stage,
            settings: Vec::new(),
            tables: String::new(),
            tls: false,
            ulimit: None,
            socket: false,
            http: false,
            anonymous: true,
            claims: None,
        }
    }

    /// Where it listens by TCP.
    pub fn address(&self) -> &str {
        self.address.as_deref().expect("it listens by TCP")
    }

    /// Where it listens for HTTP, without a path; by TLS its name is `localhost`.
    pub fn http_address(&self) -> String {
        // In either format of the log.
        let is_meant = |line: &str| line.contains("\"HTTP\"") || line.contains(" HTTP address=");
        let find = |line: &String| is_meant(line).then(|| address_in(line)).flatten();
        self.log().iter().find_map(find).expect("it listens for HTTP")
    }

    /// The URL of `/sql`, in clear.
    pub fn sql_url(&self) -> String {
        format!("http://{}/sql", self.http_address())
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.address().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// The directory of its Unix socket, and of its configuration.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How a driver connects as `authenticated` with this token.
    pub fn config(&self, token: &impl Display) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port()).user("authenticated").dbname("neondb").password(token.to_string());
        config
    }

    /// A driver's connection as `authenticated`.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn connect(&self, token: &impl Display) -> Client {
        self.connect_with(&self.config(token)).await
    }

    /// A driver's connection.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn connect_with(&self, config: &tokio_postgres::Config) -> Client {
        let (client, connection) = config.connect(NoTls).await.expect("the proxy lets us in");
        tokio::spawn(connection);
        client
    }

    /// A driver's connection as soon as there is a place for it: one is free a moment after its holder has gone, and a
    /// server may take longer to open than clients wait for it.
    pub async fn let_in(&self, config: &tokio_postgres::Config) -> Client {
        let connect = async || config.connect(NoTls).await.ok();
        let (client, connection) = wait::until("a place to be free", connect).await;
        tokio::spawn(connection);
        client
    }

    /// What a driver is told that does not get in.
    ///
    /// # Panics
    /// If it does, or if it is told nothing.
    pub async fn refused(&self, token: &impl Display) -> DbError {
        self.refused_with(&self.config(token)).await
    }

    /// What a driver is told that does not get in.
    ///
    /// # Panics
    /// If it does, or if it is told nothing.
    pub async fn refused_with(&self, config: &tokio_postgres::Config) -> DbError {
        let Err(error) = config.connect(NoTls).await else { panic!("this should not get in") };
        error.as_db_error().unwrap_or_else(|| panic!("an error from the proxy, not {error:?}")).clone()
    }

    /// A connection on which nothing has been sent.
    pub async fn raw(&self) -> Raw {
        Raw::connect(self.address()).await
    }

    /// What it has logged so far, a line an entry.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Waits for a line in its log that contains this, and returns it.
    pub async fn logs(&self, text: &str) -> String {
        let find = || self.log().into_iter().find(|line| line.contains(text));
        wait::until(&format!("{text:?} in the log"), async || find()).await
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it has resident at the moment, in bytes (`VmRSS`, proc(5)).
    ///
    /// # Panics
    /// If it has ended.
    pub fn memory(&self) -> u64 {
        self.status_of_memory("VmRSS:")
    }

    /// The most that it has ever had resident, in bytes (`VmHWM`).
    ///
    /// # Panics
    /// If it has ended.
    pub fn most_memory(&self) -> u64 {
        self.status_of_memory("VmHWM:")
    }

    fn status_of_memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let size = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of memory");
        size.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Sends it a signal by name, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().await;
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end, and returns its exit code.
    pub async fn exit_code(&mut self) -> Option<i32> {
        wait::within("the proxy's end", self.child.wait()).await.expect("a child").code()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Whoever stopped it already has read what it left.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl ProxyBuilder<'_> {
    /// Sets a key of the configuration: `set("pool.max_client_conn", 1)`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Display) -> Self {
        self.settings.push(format!("{key}={value}"));
        self
    }

    /// Adds tables to the configuration, such as another `[[provider]]`.
    #[must_use]
    pub fn tables(mut self, toml: &str) -> Self {
        self.tables.push_str(toml);
        self
    }

    /// With a certificate for `localhost`, from the stage's authority.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// With these arguments to the shell's `ulimit` before it starts.
    #[must_use]
    pub fn ulimit(mut self, arguments: &str) -> Self {
        self.ulimit = Some(arguments.to_owned());
        self
    }

    /// Listening at a Unix socket too.
    #[must_use]
    pub fn socket(mut self) -> Self {
        self.socket = true;
        self
    }

    /// Listening for HTTP too.
    #[must_use]
    pub fn http(mut self) -> Self {
        self.http = true;
        self
    }

    /// With no role that is anyone's.
    #[must_use]
    pub fn without_anonymous(mut self) -> Self {
        self.anonymous = false;
        self
    }

    /// With claims as `request.jwt.claims`, in mode `claims`.
    #[must_use]
    pub fn plain_claims(self) -> Self {
        self.claims(PLAIN_CLAIMS)
    }

    /// With this in the table `claims`.
    #[must_use]
    pub fn claims(mut self, toml: &str) -> Self {
        self.claims = Some(toml.to_owned());
        self
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If it ends instead.
    pub async fn start(self) -> Proxy {
        let mut proxy = self.spawn().await;
        let listening = async || {
            proxy.log().iter().find_map(|line| listening_at(line)).or_else(|| {
                proxy.child.try_wait().expect("a child").map(|status| panic!("{status}: {:?}", proxy.log()))
            })
        };
        proxy.address = Some(wait::until("the proxy to listen", listening).await);
        proxy
    }

    /// Starts it without waiting for anything.
    pub async fn spawn(self) -> Proxy {
        let directory = self.stage.files().join(format!("proxy-{}", random_hex(8)));
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::write(directory.join("proxy.toml"), self.toml(&directory)).expect("a file");
        let mut command = match &self.ulimit {
            None => Command::new(binary()),
            Some(arguments) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit {arguments} && exec \"$0\" \"$@\"")]).arg(binary());
                shell
            }
        };
        command.args(["serve", "--config"]).arg(directory.join("proxy.toml"));
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
        let mut child = child.expect("the proxy starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let lines_of = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                lines_of.lock().expect("the log").push(line);
            }
        });
        Proxy { child, address: None, log, directory }
    }

    fn toml(&self, directory: &Path) -> String {
        let stage = self.stage;
        let file = |name: &str| stage.files().join(name).display().to_string();
        let socket = if self.socket { format!(", \"{}\"", directory.display()) } else { String::new() };
        let http = if self.http { "http = [\"127.0.0.1:0\"]" } else { "" };
        let signed = &format!("mode = \"signed\"\nsecret_file = \"{}\"", file("claims.secret"));
        let roles = ROLES.map(|role| {
            let password = file(&format!("{role}.password"));
            format!("[[role]]\nname = \"{role}\"\nlogin = \"pgusher_{role}\"\npassword_file = \"{password}\"\n")
        });
        format!(
            r#"
[listen]
postgres = ["127.0.0.1:0"{socket}]
{http}
[upstream]
host = "127.0.0.1"
port = {port}
[claims]
{claims}
{roles}
[[provider]]
name = "issuer"
issuer = "{issuer}"
audience = ["{AUDIENCE}"]
roles = ["authenticated"]
{anonymous}
[log]
format = "json"
level = "debug"
{tls}{tables}"#,
            port = stage.postgres_port(),
            claims = self.claims.as_ref().unwrap_or(signed),
            roles = roles.concat(),
            issuer = stage.issuer.url(),
            anonymous = if self.anonymous { "[anonymous]\nrole = \"anonymous\"" } else { "" },
            tls = if self.tls { self.tls_table(directory) } else { String::new() },
            tables = self.tables,
        )
    }

    fn tls_table(&self, directory: &Path) -> String {
        let certificate = self.stage.authority.certify("localhost");
        std::fs::write(directory.join("server.crt"), certificate.certificate_pem).expect("a file");
        pgusher::demo::home::write_private(&directory.join("server.key"), &certificate.key_pem).expect("a file");
        "[tls]\ncertificate_file = \"server.crt\"\nkey_file = \"server.key\"\n".to_owned()
    }
}

/// The TCP address in a line that says where the proxy listens, in either format of the log.
fn listening_at(line: &str) -> Option<String> {
    line.contains("listening").then(|| address_in(line)).flatten()
}

fn address_in(line: &str) -> Option<String> {
    let port = line.split("127.0.0.1:").nth(1)?;
    let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
    Some(format!("127.0.0.1:{}", &port[..digits]))
}

/// The binary, built from the sources as they are now.
///
/// # Panics
/// If it does not build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let mut build = std::process::Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "pgusher"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the proxy does not build");
        // target/debug/deps/suite, or target/debug/canary.
        let this = std::env::current_exe().expect("a path");
        let directory = this.parent().expect("a file's directory");
        let target = if directory.ends_with("deps") { directory.parent().expect("target/debug") } else { directory };
        target.join("pgusher")
    })
}
