//! Sessions in raw bytes, through the proxy and past it, and what Postgres and the system show of them.

use std::fmt::Display;
use std::time::Duration;

use pgusher::demo::database;
use tokio::net::TcpStream;
use upstream::{Address, ConnectConfig, Login, Parameters, Password, Server, Settings, Startup, Tls};

use crate::proxy::Proxy;
use crate::raw::{Message, Raw};
use crate::stage::Stage;
use crate::wait;

impl Proxy {
    /// A session as `authenticated`.
    pub async fn session(&self, token: &impl Display) -> Raw {
        let mut raw = self.raw().await;
        raw.log_in(&token.to_string()).await;
        raw
    }

    /// The same; when it is dropped its socket does not say goodbye, but resets the connection.
    pub async fn fragile_session(&self, token: &impl Display) -> Raw {
        let socket = TcpStream::connect(self.address()).await.expect("it listens");
        socket.set_zero_linger().expect("a socket");
        let mut raw = Raw::over(socket);
        raw.log_in(&token.to_string()).await;
        raw
    }

    /// The most memory that the process has ever had resident, in bytes (`VmHWM`, proc(5)).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of memory");
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }
}

impl Raw {
    /// The first column of a query's only row.
    ///
    /// # Panics
    /// If there is none.
    pub async fn value(&mut self, sql: &str) -> String {
        let answer = self.query(sql).await;
        let row = answer.iter().find(|message| message.tag == b'D').unwrap_or_else(|| panic!("a row: {answer:?}"));
        // The number of columns, the length of the first, its text.
        String::from_utf8(row.body[6..].to_vec()).expect("text")
    }

    /// The process id of the server behind it.
    pub async fn backend(&mut self) -> i32 {
        self.value("SELECT pg_backend_pid()").await.parse().expect("a number")
    }
}

impl Message {
    /// The tags of messages, a letter each.
    pub fn tags(messages: &[Self]) -> String {
        messages.iter().map(|message| char::from(message.tag)).collect()
    }
}

impl Stage {
    /// A session as the login `pgusher_authenticated` with the role `authenticated`, past the proxy.
    pub async fn direct_session(&self) -> Raw {
        let password = std::fs::read_to_string(self.files().join("authenticated.password")).expect("a file");
        let login = Login { user: "pgusher_authenticated".into(), password: Some(Password::new(password)) };
        let config = ConnectConfig {
            address: Address::new("127.0.0.1", self.postgres_port()),
            tls: Tls::disabled(),
            allow_md5: false,
            connect_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(30),
        };
        let (settings, parameters) = (Settings::default(), Parameters::default());
        let startup = Startup {
            database: database::DATABASE,
            role: "authenticated",
            settings: &settings,
            parameters: &parameters,
        };
        let server = Server::open(&config, &login, &startup, None).await;
        Raw::over(server.expect("Postgres lets us in").stream)
    }

    /// Waits until pg_stat_activity shows this backend in a state, such as `wait_event = 'ClientWrite'`.
    pub async fn until_backend(&self, pid: i32, state: &str) {
        self.until_activity(pid, state, true).await;
    }

    /// Waits until this backend has gone.
    pub async fn until_gone(&self, pid: i32) {
        self.until_activity(pid, "true", false).await;
    }

    async fn until_activity(&self, pid: i32, state: &str, there: bool) {
        let superuser = self.superuser().await;
        let sql = format!("SELECT FROM pg_stat_activity WHERE pid = $1 AND ({state})");
        let look = async || {
            let found = superuser.query_opt(&sql, &[&pid]).await.expect("the superuser may look").is_some();
            (found == there).then_some(())
        };
        wait::until(&format!("backend {pid}: {state} to be {there}"), look).await;
    }
}
