//! A connection for a role that logs in with a password of its own. It is its client's alone: no role is set on it and no
//! claims, no pool knows it, and it ends with its client.
//!
//! The password is the client's to know. Either it is handed to us ([`Direct::open`]), or client and server settle it
//! between them and we carry what they say ([`Dialogue`]). In both cases a server that lets the role in without asking is
//! refused: it would go by our address or our certificate, and so let in whoever reaches us.

use std::sync::Arc;

use bytes::Bytes;
use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use wire::frame::{Frame, backend, frontend};
use wire::stream::Stream;

use crate::answer::{Answer, Answers, c_string};
use crate::cancel::CancelTarget;
use crate::connect::{Failure, Route, attempts, connect};
use crate::error::{Error, MethodError, Step};
use crate::login::{
    CLEARTEXT, Login, MD5, OK, Password, Proof, Rules, SASL, SASL_CONTINUE, SASL_FINAL, authenticate, parse_mechanisms,
    request, unexpected,
};
use crate::parameters::Parameters;
use crate::parting::Parting;
use crate::server::{ConnectConfig, send};
use crate::startup::write_packet;
use crate::tls::Attempt;

/// The session asked for. What the role has made its own defaults holds in it, as without us.
#[derive(Clone, Copy, Debug)]
pub struct DirectStartup<'a> {
    /// The role that logs in.
    pub user: &'a str,
    /// The database.
    pub database: &'a str,
    /// What the client sets.
    pub parameters: &'a Parameters,
}

impl DirectStartup<'_> {
    fn packet(&self) -> Result<Bytes, Error> {
        let own = [("user", self.user), ("database", self.database)];
        write_packet(own.into_iter().chain(self.parameters.iter()))
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Direct {
    /// The connection; nothing of the server's is unread.
    pub stream: Stream,
    /// What the server said of its settings (ParameterStatus), and its notices: frames as they came.
    pub greeting: Vec<u8>,
    /// What cancels a request that runs on this connection.
    pub cancel: Arc<CancelTarget>,
}

impl Direct {
    /// Connects, and logs in with this password.
    ///
    /// # Errors
    /// [`Error::Login`] and [`Error::Session`] are what the database said to the role. No connection is left behind.
    pub async fn open(config: &ConnectConfig, startup: &DirectStartup<'_>, password: Password) -> Result<Self, Error> {
        let packet = startup.packet()?;
        let login = Login { user: startup.user.to_owned(), password: Some(password) };
        let (login, packet) = (&login, &packet);
        let entered = attempts(config, |attempt| log_in(config, attempt, packet, login)).await;
        entered.map_err(|failure| failure.error)
    }

    /// Hangs up, wherever the server stands, and waits until it is gone. There is no message for that which could not be
    /// taken for the rest of one that the client left unfinished.
    pub async fn leave(self) {
        Parting::anyhow(self.stream, self.cancel).gone().await;
    }
}

async fn log_in(config: &ConnectConfig, attempt: &Attempt, packet: &[u8], login: &Login) -> Result<Direct, Failure> {
    let (mut stream, route) = connect(config, attempt).await?;
    let entering = async {
        send(&mut stream, packet).await?;
        let rules = Rules::of(config, &stream);
        match authenticate(&mut Answers::new(&mut stream), login, rules).await? {
            Proof::Password => start_session(&mut stream).await,
            Proof::Unasked => Err(MethodError::NotAsked.into()),
        }
    };
    match Step::Login.within(config.login_timeout, entering).await {
        Ok(session) => Ok(session.on(stream, route, config)),
        Err(error) => Err(Failure::of_login(error, (stream, route), attempt)),
    }
}

/// A login whose messages are the client's and the server's own. It ends with [`Demand::Granted`]; what the client answers
/// is heard when the server has asked for it, and not before.
#[derive(Debug)]
pub struct Dialogue {
    config: ConnectConfig,
    stream: Stream,
    route: Route,
    rules: Rules,
    /// What the server has asked for and the client has not been told of.
    first: Option<(u32, Bytes)>,
    stage: Stage,
    /// The server could do channel binding.
    binds: bool,
}

/// What has been asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nothing,
    /// The password, in clear or hashed.
    Password,
    /// The first message of a SASL exchange.
    SaslInitial,
    SaslResponse,
    /// SCRAM is over.
    SaslFinal,
}

/// What the server wants, as a frame for the client.
#[derive(Clone, Debug)]
pub enum Demand {
    /// An answer to this.
    Answer(Bytes),
    /// That the client hears this.
    Hear(Bytes),
    /// Nothing more: the client has shown that it knows the password.
    Granted,
}

impl Dialogue {
    /// Connects, and waits until the server asks for something.
    ///
    /// # Errors
    /// [`Error::Login`] is what the database said to the role.
    pub async fn begin(config: &ConnectConfig, startup: &DirectStartup<'_>) -> Result<Self, Error> {
        let packet = startup.packet()?;
        let packet = &packet;
        let begun = attempts(config, |attempt| Self::attempt(config, attempt, packet)).await;
        begun.map_err(|failure| failure.error)
    }

    async fn attempt(config: &ConnectConfig, attempt: &Attempt, packet: &[u8]) -> Result<Self, Failure> {
        let (mut stream, route) = connect(config, attempt).await?;
        let asking = async {
            send(&mut stream, packet).await?;
            request(&mut Answers::new(&mut stream)).await
        };
        let first = match Step::Login.within(config.login_timeout, asking).await {
            Ok(first) => first,
            Err(error) => return Err(Failure::of_login(error, (stream, route), attempt)),
        };
        let (rules, config) = (Rules::of(config, &stream), config.clone());
        Ok(Self { config, stream, route, rules, first: Some(first), stage: Stage::Nothing, binds: false })
    }

    /// What the server wants next. Of the SASL mechanisms that it offers, the client is told of SCRAM-SHA-256 alone.
    ///
    /// # Errors
    /// [`Error::Login`] is what the database said to the role; [`Error::Method`] is a way of authentication that is not
    /// acceptable here.
    pub async fn next(&mut self) -> Result<Demand, Error> {
        let (code, body) = match self.first.take() {
            Some(first) => first,
            None => request(&mut Answers::new(&mut self.stream)).await?,
        };
        let (stage, demand) = match (self.stage, code) {
            (Stage::Nothing, OK) => return Err(MethodError::NotAsked.into()),
            (Stage::Nothing, CLEARTEXT) if !self.rules.verified => return Err(MethodError::Cleartext.into()),
            (Stage::Nothing, MD5) if !self.rules.allow_md5 => return Err(MethodError::Md5.into()),
            (Stage::Nothing, CLEARTEXT | MD5) => (Stage::Password, Demand::Answer(asking(code, &body))),
            (Stage::Nothing, SASL) => {
                (Stage::SaslInitial, Demand::Answer(asking(code, &self.choose_mechanism(&body)?)))
            }
            (Stage::Nothing, _) => return Err(MethodError::Unsupported.into()),
            (Stage::SaslInitial, SASL_CONTINUE) => (Stage::SaslResponse, Demand::Answer(asking(code, &body))),
            (Stage::SaslResponse, SASL_FINAL) => (Stage::SaslFinal, Demand::Hear(asking(code, &body))),
            (Stage::Password | Stage::SaslFinal, OK) => (self.stage, Demand::Granted),
            (stage, code) => return Err(Error::Protocol(format!("authentication request {code} after {stage:?}"))),
        };
        self.stage = stage;
        Ok(demand)
    }

    /// Hands the client's answer on: the body of its message.
    ///
    /// # Errors
    /// [`MethodError::ChannelBinding`], of a client that the server would refuse for it.
    pub async fn answer(&mut self, body: Bytes) -> Result<(), Error> {
        if self.stage == Stage::SaslInitial && self.binds && wants_binding(&body) {
            return Err(MethodError::ChannelBinding.into());
        }
        send(&mut self.stream, &Frame { tag: frontend::PASSWORD, body }.to_bytes()).await
    }

    /// Waits for the session to start, once it is [granted](Demand::Granted).
    ///
    /// # Errors
    /// [`Error::Session`] is what the database said to the role.
    pub async fn finish(mut self) -> Result<Direct, Error> {
        let session = start_session(&mut self.stream).await?;
        Ok(session.on(self.stream, self.route, &self.config))
    }

    /// The list of mechanisms for the client.
    fn choose_mechanism(&mut self, offered: &[u8]) -> Result<Vec<u8>, Error> {
        let offered = parse_mechanisms(offered).ok_or_else(|| Error::Protocol("a malformed SASL list".to_owned()))?;
        self.binds = offered.iter().any(|name| name == SCRAM_SHA_256_PLUS);
        if !offered.iter().any(|name| name == SCRAM_SHA_256) {
            return Err(MethodError::Mechanism(offered.join(", ")).into());
        }
        Ok([SCRAM_SHA_256.as_bytes(), &[0, 0]].concat())
    }
}

/// An authentication request.
fn asking(code: u32, body: &[u8]) -> Bytes {
    let body = [&code.to_be_bytes(), body].concat().into();
    Frame { tag: backend::AUTHENTICATION, body }.to_bytes()
}

/// Whether a SASLInitialResponse speaks of channel binding (RFC 5802, section 6): it chose the mechanism that binds, or it
/// says "y", that it could have done so and was not offered it. What is malformed is the server's to refuse.
fn wants_binding(body: &[u8]) -> bool {
    let Some((mechanism, rest)) = c_string(body) else { return false };
    mechanism == SCRAM_SHA_256_PLUS.as_bytes() || rest.get(4) == Some(&b'y')
}

/// What a session starts with.
struct Session {
    greeting: Vec<u8>,
    pid: i32,
    secret: i32,
}

impl Session {
    fn on(self, stream: Stream, route: Route, config: &ConnectConfig) -> Direct {
        let cancel = CancelTarget::new(route, self.pid, self.secret, config.login_timeout);
        Direct { stream, greeting: self.greeting, cancel: Arc::new(cancel) }
    }
}

/// Collects what the server says until it is ready.
async fn start_session(stream: &mut Stream) -> Result<Session, Error> {
    let (mut greeting, mut key) = (Vec::new(), None);
    let mut answers = Answers::new(stream);
    loop {
        match answers.next_frame().await? {
            (Answer::Parameter(..) | Answer::Notice, frame) => greeting.extend(frame.to_bytes()),
            (Answer::Key { pid, secret }, _) => key = Some((pid, secret)),
            (Answer::Error(error), _) => return Err(Error::Session(error)),
            (Answer::Ready(b'I'), _) => break,
            (other, _) => return Err(unexpected(&other)),
        }
    }
    let (pid, secret) = key.ok_or_else(|| Error::Protocol("a session without BackendKeyData".to_owned()))?;
    Ok(Session { greeting, pid, secret })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::startup::{FirstPacket, parse_first_packet};

    #[test]
    fn the_packet_has_the_user_the_database_and_what_the_client_sets_and_nothing_else() {
        let parameters = Parameters::parse([("TimeZone", "UTC")]).unwrap();
        let startup = DirectStartup { user: "owner", database: "app", parameters: &parameters };
        let packet = startup.packet().unwrap();
        let Ok(FirstPacket::Startup(packet)) = parse_first_packet(&packet.slice(4..)) else {
            panic!("a startup packet")
        };
        let expected = [("user", "owner"), ("database", "app"), ("timezone", "UTC")];
        assert_eq!(packet.parameters, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_client_that_could_bind_says_so() {
        let initial = |mechanism: &str, first: &str| {
            [mechanism.as_bytes(), &[0], &(first.len() as u32).to_be_bytes(), first.as_bytes()].concat()
        };
        assert!(wants_binding(&initial(SCRAM_SHA_256, "y,,n=,r=nonce")));
        assert!(wants_binding(&initial(SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,n=,r=nonce")));
        assert!(!wants_binding(&initial(SCRAM_SHA_256, "n,,n=,r=nonce")));
        for malformed in [&b""[..], b"SCRAM-SHA-256", b"SCRAM-SHA-256\0", b"SCRAM-SHA-256\0\0\0\0\0"] {
            assert!(!wants_binding(malformed), "{malformed:?}");
        }
    }
}
