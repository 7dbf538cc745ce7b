//! Sessions in raw bytes, through the proxy and past it, and what Postgres and the system show of them.

use std::fmt::Display;
use std::time::Duration;

use pgusher::demo::database;
use tokio::net::TcpStream;
use upstream::{
    Address, Binding, ClaimsMode, ConnectConfig, Login, Parameters, Password, Server, Settings, Startup, Tls,
};

use crate::proxy::Proxy;
use crate::raw::{Message, Raw};
use crate::request::cancel;
use crate::stage::Stage;
use crate::wait;

/// A query for the session's subject, role and login.
pub const WHO: &str = "SELECT concat_ws(' ', coalesce(auth.user_id(), 'nobody'), current_user, session_user)";

impl Proxy {
    /// A session as `authenticated`.
    pub async fn session(&self, token: &impl Display) -> Raw {
        let mut raw = self.raw().await;
        raw.log_in(&token.to_string()).await;
        raw
    }

    /// The same with startup parameters; a `database` among them goes before the stage's.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn session_with(&self, token: &impl Display, parameters: &[(&str, &str)]) -> Raw {
        self.greeted_session(token, parameters).await.0
    }

    /// The same with all that it was greeted with.
    pub async fn greeted_session(&self, token: &impl Display, parameters: &[(&str, &str)]) -> (Raw, Vec<Message>) {
        let mut raw = self.raw().await;
        let greeting = raw.log_in_with(&token.to_string(), parameters).await;
        assert_eq!(greeting.last().map(|message| message.tag), Some(b'Z'), "{greeting:?}");
        (raw, greeting)
    }

    /// A session; when it is dropped its socket does not say goodbye, but resets the connection.
    pub async fn fragile_session(&self, token: &impl Display) -> Raw {
        let socket = TcpStream::connect(self.address()).await.expect("it listens");
        socket.set_zero_linger().expect("a socket");
        let mut raw = Raw::over(socket);
        raw.log_in(&token.to_string()).await;
        raw
    }

    /// Sends a cancel request with the body of a BackendKeyData and waits until the proxy hangs up. Nothing is said to it.
    pub async fn cancel(&self, key: &[u8]) {
        let mut connection = self.raw().await;
        connection.send(&cancel(key)).await;
        assert_eq!(connection.byte().await, None);
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
        Message::values(&answer).pop().unwrap_or_else(|| panic!("a row: {answer:?}"))
    }

    /// The session's subject, role and login.
    pub async fn who(&mut self) -> String {
        self.value(WHO).await
    }

    /// Sends these requests in one write, and returns the answers up to each of so many ReadyForQuery.
    pub async fn answers(&mut self, requests: &[u8], count: usize) -> Vec<Vec<Message>> {
        self.send(requests).await;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(self.until_ready().await);
        }
        answers
    }

    /// Logs in as `authenticated` with startup parameters, up to the first ReadyForQuery or the end; returns what came
    /// behind the request for the password. A `database` among the parameters goes before the stage's.
    pub async fn log_in_with(&mut self, token: &str, parameters: &[(&str, &str)]) -> Vec<Message> {
        let mut all = vec![("user", "authenticated")];
        if parameters.iter().all(|(name, _)| *name != "database") {
            all.push(("database", database::DATABASE));
        }
        self.startup(&[&all, parameters].concat()).await;
        let request = self.receive().await;
        assert_eq!(request.as_ref().map(|message| message.tag), Some(b'R'), "{request:?}");
        self.message(b'p', &[token.as_bytes(), &[0]].concat()).await;
        self.until_ready().await
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

    /// The first column of each row among them, as far as it is text and not NULL.
    pub fn values(messages: &[Self]) -> Vec<String> {
        let rows = messages.iter().filter(|message| message.tag == b'D');
        rows.filter_map(|row| {
            // Behind the number of columns, the length of the first; -1 is NULL.
            let length = usize::try_from(i32::from_be_bytes(row.body.get(2..6)?.try_into().ok()?)).ok()?;
            String::from_utf8(row.body.get(6..6 + length)?.to_vec()).ok()
        })
        .collect()
    }
}

impl Stage {
    /// A session as the login `pgusher_authenticated` with the role `authenticated`, past the proxy.
    pub async fn direct_session(&self) -> Raw {
        self.direct_session_of(database::DATABASE).await
    }

    /// The same in another database.
    pub async fn direct_session_of(&self, database: &str) -> Raw {
        let password = std::fs::read_to_string(self.files().join("authenticated.password")).expect("a file");
        let login = Login { user: "pgusher_authenticated".into(), password: Some(Password::new(password)) };
        let config = ConnectConfig {
            address: Address::new("127.0.0.1", self.postgres_port()),
            tls: Tls::disabled(),
            allow_md5: false,
            binding: Binding::Prefer,
            connect_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(30),
        };
        let (settings, parameters) = (Settings::default(), Parameters::default());
        let startup = Startup {
            database,
            role: "authenticated",
            settings: &settings,
            parameters: &parameters,
            claims: &ClaimsMode::Claims,
        };
        let server = Server::open(&config, &login, &startup).await;
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
