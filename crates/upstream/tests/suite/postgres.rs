//! Real clusters in a temporary directory, shared by all tests: one that speaks TLS and one that does not. Each is
//! watched by a shell that stops and removes it when this process ends, however it ends.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use socket2::{Domain, Socket, Type};

/// A cluster with TLS, unless it was built without. Its certificate is for `localhost`, not for `127.0.0.1`.
pub(crate) static WITH_TLS: LazyLock<Postgres> = LazyLock::new(|| Postgres::start("tls", TLS_CONF));
/// A cluster without TLS.
pub(crate) static WITHOUT_TLS: LazyLock<Postgres> = LazyLock::new(|| Postgres::start("plain", ""));
/// A cluster in recovery.
pub(crate) static STANDBY: LazyLock<Postgres> = LazyLock::new(|| {
    let postgres = Postgres::start("standby", "");
    postgres.restart_as_standby();
    postgres
});

/// The secret that the database `signed` of every cluster knows.
pub(crate) const SECRET: [u8; 32] = [7; 32];

/// What does the extension's work where Postgres does not have it.
const STAND_IN: &str = include_str!("../../../../tests/stand_in/pg_session_jwt.sql");

const TLS_CONF: &str = "ssl = on\nssl_cert_file = '../server.crt'\nssl_key_file = '../server.key'\n\
                        ssl_ca_file = '../ca.crt'\n";

const CONF: &str = "fsync = off\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '..'\n";

/// Every login is named for how it gets in.
const HBA: &str = "local   all all           trust
hostnossl all plain_only 127.0.0.1/32 scram-sha-256
hostssl   all plain_only 127.0.0.1/32 reject
hostnossl all tls_only 127.0.0.1/32 reject
host    all md5       127.0.0.1/32 md5
host    all clear     127.0.0.1/32 password
host    all trusted   127.0.0.1/32 trust
host    all all       127.0.0.1/32 scram-sha-256
";

/// In front of the others, where the server was built with TLS; elsewhere there is no such method.
const CERTIFIED: &str = "hostssl all certified 127.0.0.1/32 cert\n";

const ROLES: &str = "
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE scram      LOGIN NOINHERIT PASSWORD 'secret' IN ROLE authenticated;
CREATE ROLE poisoned   LOGIN NOINHERIT PASSWORD 'secret' IN ROLE authenticated;
CREATE ROLE plain_only LOGIN NOINHERIT PASSWORD 'secret' IN ROLE authenticated;
CREATE ROLE tls_only   LOGIN NOINHERIT PASSWORD 'secret' IN ROLE authenticated;
CREATE ROLE clear      LOGIN NOINHERIT PASSWORD 'secret' IN ROLE authenticated;
CREATE ROLE certified  LOGIN NOINHERIT IN ROLE authenticated;
CREATE ROLE trusted    LOGIN NOINHERIT IN ROLE authenticated;
SET password_encryption = 'md5';
CREATE ROLE md5        LOGIN NOINHERIT PASSWORD 'secret' IN ROLE authenticated;
";

pub(crate) struct Postgres {
    /// Holds the sockets, the certificates (`ca.crt`, `other_ca.crt`, `client.crt`, `client.key`) and the data.
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    bin: PathBuf,
    /// Keeps the port while the server is not there, or not yet.
    _reserved: Reserved,
    /// Waits for its standard input to close, which it does when this process ends.
    _watchdog: Child,
}

impl Postgres {
    fn start(name: &str, tls: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("pgusher-upstream-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory for the cluster");
        if let Some((uid, gid)) = unprivileged() {
            chown(&dir, Some(uid), Some(gid)).expect("the cluster's owner");
        }
        let reserved = Reserved::port();
        let port = reserved.port;
        let bin = binaries();
        let (tls, certified) = if knows_tls(&bin) { (tls, CERTIFIED) } else { ("", "") };
        let postgres = Self { _watchdog: watch(&dir, &bin), dir, port, bin, _reserved: reserved };
        postgres.write_certificates();
        postgres.run("initdb", &["-D", "data", "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        postgres.write("data/postgresql.conf", &format!("{CONF}port = {port}\n{tls}"));
        postgres.write("data/pg_hba.conf", &format!("{certified}{HBA}"));
        postgres.run("pg_ctl", &["-D", "data", "-l", "data/log", "-w", "start"]);
        postgres.psql("owner", "postgres", ROLES).expect("the roles");
        postgres.install_signed();
        postgres.install_session_jwt("session_jwt");
        postgres
    }

    /// A database with the extension, or its stand-in.
    pub(crate) fn install_session_jwt(&self, database: &str) {
        self.psql("owner", "postgres", &format!("CREATE DATABASE {database}")).expect("the database");
        let available = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_session_jwt')";
        let real = self.psql("owner", database, available).expect("an answer") == "t";
        let script = if real { "CREATE EXTENSION pg_session_jwt" } else { STAND_IN };
        for script in [script, "GRANT USAGE ON SCHEMA auth TO PUBLIC"] {
            self.psql("owner", database, script).expect("the extension");
        }
    }

    fn install_signed(&self) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (ipad, opad) = sql::pads(&SECRET);
        let (kid, ipad, opad) = (sql::kid(&SECRET), hex(&ipad), hex(&opad));
        let key = format!("INSERT INTO auth.keys VALUES ('{kid}', '\\x{ipad}', '\\x{opad}')");
        self.psql("owner", "postgres", "CREATE DATABASE signed").expect("the database");
        for script in [sql::INSTALL, &key, "GRANT EXECUTE ON FUNCTION auth.pgusher_init TO authenticated"] {
            self.psql("owner", "signed", script).expect("the schema auth");
        }
    }

    /// Without a primary it waits for one for ever, and serves readers meanwhile.
    fn restart_as_standby(&self) {
        self.write("data/standby.signal", "");
        self.run("pg_ctl", &["-D", "data", "-l", "data/log", "-w", "restart"]);
    }

    /// Runs SQL over the socket, past everything that is tested here.
    pub(crate) fn psql(&self, user: &str, database: &str, sql: &str) -> Result<String, String> {
        let dir = self.dir.to_str().expect("a path in UTF-8");
        let port = self.port.to_string();
        let output = Command::new(self.bin.join("psql"))
            .args(["-h", dir, "-p", &port, "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", "-XAtqc", sql])
            .output()
            .expect("psql runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        // The server inherits what pg_ctl has: with a pipe there, waiting for its end would be waiting for ever.
        let status = command(&self.dir, &self.bin.join(program)).args(arguments).stdout(Stdio::null()).status();
        assert!(status.expect("it runs").success(), "{program}");
    }

    /// A file that is only the cluster's to read, as a key must be.
    fn write(&self, name: &str, text: &str) {
        let file = self.dir.join(name);
        fs::write(&file, text).expect("a file of the cluster");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
        if let Some((uid, gid)) = unprivileged() {
            chown(&file, Some(uid), Some(gid)).expect("its owner");
        }
    }

    fn write_certificates(&self) {
        let trusted = authority("A");
        let (server, client) = (issue(&trusted, "localhost"), issue(&trusted, "certified"));
        self.write("ca.crt", &trusted.pem);
        self.write("other_ca.crt", &authority("B").pem);
        self.write("server.crt", &server.0);
        self.write("server.key", &server.1);
        self.write("client.crt", &client.0);
        self.write("client.key", &client.1);
    }
}

/// A port that nobody listens at. Bound it is nobody's who takes any free one; a server that names it can have it.
pub(crate) struct Reserved {
    pub(crate) port: u16,
    _socket: Socket,
}

impl Reserved {
    pub(crate) fn port() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("its address");
        Self { port: address.port(), _socket: socket }
    }
}

fn watch(dir: &Path, bin: &Path) -> Child {
    let script = r#"read _; "$1/pg_ctl" -D "$2/data" -m immediate stop >/dev/null 2>&1; rm -rf "$2""#;
    let mut watchdog = command(dir, Path::new("sh"));
    // A group of its own: an interrupt at the terminal is not for it.
    watchdog.args(["-c", script, "watchdog"]).arg(bin).arg(dir).process_group(0);
    watchdog.stdin(Stdio::piped()).spawn().expect("a watchdog")
}

/// Postgres refuses to run as root.
fn command(dir: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).stdin(Stdio::null());
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).expect("a certificate").pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

/// A certificate and its key, as PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params.signed_by(&key, &authority.issuer).expect("a certificate").pem(), key.serialize_pem())
}

/// Those that `PGUSHER_TEST_PG_BIN` names, or else the newest.
fn binaries() -> PathBuf {
    if let Some(given) = std::env::var_os("PGUSHER_TEST_PG_BIN") {
        return given.into();
    }
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    match installed.map(|entry| entry.path()).max_by_key(version) {
        Some(newest) => newest.join("bin"),
        None => {
            let output = Command::new("pg_config").arg("--bindir").output().expect("Postgres is installed");
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        }
    }
}

fn knows_tls(bin: &Path) -> bool {
    let output = Command::new(bin.join("pg_config")).arg("--configure").output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("ssl"))
}

/// For root: the user and group `postgres`.
fn unprivileged() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").map_or(1, |own| own.uid()) != 0 {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("the users");
    let entry = passwd.lines().find(|line| line.starts_with("postgres:")).expect("the user postgres");
    let mut ids = entry.split(':').skip(2).map(|id| id.parse().expect("an id"));
    Some((ids.next().expect("a user id"), ids.next().expect("a group id")))
}
