//! Opens servers the way pgusher does, and asks them things.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pgusher_upstream::{
    Address, Binding, Claims, ClaimsMode, ConnectConfig, Error, Login, Parameters, Password, RootCertificates, Server,
    SessionInit, Settings, SslMode, Startup, Tls,
};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use wire::frame::{backend, read_frame};

use crate::postgres::Postgres;

/// How a test connects; the fields are what tests vary.
pub(crate) struct Attempt<'a> {
    pub(crate) config: ConnectConfig,
    pub(crate) user: &'a str,
    pub(crate) password: Option<&'a str>,
    pub(crate) database: &'a str,
    pub(crate) parameters: Parameters,
    pub(crate) mode: ClaimsMode,
    pub(crate) claims: Option<Claims<'a>>,
}

impl Attempt<'_> {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        let config = ConnectConfig {
            address: Address::new(host, port),
            tls: Tls::disabled(),
            allow_md5: false,
            binding: Binding::Prefer,
            connect_timeout: Duration::from_secs(30),
            login_timeout: Duration::from_secs(30),
        };
        Attempt {
            config,
            user: "scram",
            password: Some("secret"),
            database: "postgres",
            parameters: Parameters::default(),
            mode: ClaimsMode::Claims,
            claims: None,
        }
    }

    /// As `scram` at `localhost`, in clear.
    pub(crate) fn to(postgres: &Postgres) -> Self {
        Self::new("localhost", postgres.port)
    }

    pub(crate) async fn open(&self) -> Result<Server, Error> {
        let login = Login {
            user: self.user.to_owned(),
            password: self.password.map(|password| Password::new(password.to_owned())),
        };
        let settings = Settings::default();
        let startup = Startup {
            database: self.database,
            role: "authenticated",
            settings: &settings,
            parameters: &self.parameters,
            claims: &self.mode,
        };
        let mut server = Server::open(&self.config, &login, &startup).await?;
        if self.claims.is_some() {
            let init = SessionInit::new(self.claims.as_ref(), Arc::default(), server.backend())?;
            server.begin(false, Arc::new(init)).await?;
        }
        Ok(server)
    }
}

/// TLS with the authority in a file of the cluster's.
pub(crate) fn trusting(postgres: &Postgres, mode: SslMode, authority: &str) -> Tls {
    let roots = RootCertificates::File(postgres.dir.join(authority));
    Tls::new(mode, Some(&roots), None).expect("the certificates are there")
}

/// Runs a Query and returns the first column of its rows, or the SQLSTATE of its error.
pub(crate) async fn query(server: &mut Server, sql: &str) -> Result<Vec<String>, String> {
    let mut request = BytesMut::new();
    frontend::query(sql, &mut request).expect("SQL without a zero byte");
    send(server, &request).await
}

/// Sends requests and reads the answers to the ReadyForQuery.
pub(crate) async fn send(server: &mut Server, requests: &[u8]) -> Result<Vec<String>, String> {
    server.stream.write_all(requests).await.expect("the request goes out");
    let (mut rows, mut error) = (Vec::new(), None);
    loop {
        let frame = read_frame(&mut server.stream, 1 << 20).await.expect("an answer");
        match frame.tag {
            // Two bytes count the columns, four are the length of the first.
            backend::DATA_ROW => {
                let (length, value) = frame.body[2..].split_first_chunk().expect("a column");
                let length = i32::from_be_bytes(*length).max(0) as usize;
                rows.push(String::from_utf8_lossy(&value[..length]).into_owned());
            }
            backend::ERROR_RESPONSE => {
                let fields = frame.body.split(|byte| *byte == 0);
                let code = fields.filter_map(|field| field.strip_prefix(b"C")).next().expect("an SQLSTATE");
                error = Some(String::from_utf8_lossy(code).into_owned());
            }
            backend::READY_FOR_QUERY => return error.map_or(Ok(rows), Err),
            _ => {}
        }
    }
}

/// The one value that a Query returns.
pub(crate) async fn value(server: &mut Server, sql: &str) -> String {
    query(server, sql).await.expect("the query succeeds").remove(0)
}
