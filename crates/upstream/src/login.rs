//! From the startup packet to the first ReadyForQuery. The order of the calls is the protocol:
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use std::fmt;

use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::AsyncWriteExt;
use wire::frame::backend;
use wire::stream::Stream;

use crate::answer::{Answer, Answers, c_string};
use crate::channel_binding::{Binding, tls_server_end_point};
use crate::error::{Error, MethodError};
use crate::server::ConnectConfig;

// Codes of authentication requests.
pub(crate) const OK: u32 = 0;
pub(crate) const CLEARTEXT: u32 = 3;
pub(crate) const MD5: u32 = 5;
pub(crate) const SASL: u32 = 10;
pub(crate) const SASL_CONTINUE: u32 = 11;
pub(crate) const SASL_FINAL: u32 = 12;

/// The login role by which a served role is reached.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// Its password; none where the server goes by a certificate or the peer.
    pub password: Option<Password>,
}

/// A password, which nothing prints.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes a password.
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// What may be asked of us on this connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Whether config allows MD5.
    pub(crate) allow_md5: bool,
    /// Whether the stream is TLS to a server whose certificate was verified.
    pub(crate) verified: bool,
    /// Whether a password is good without a binding.
    pub(crate) binding: Binding,
}

impl Rules {
    /// Those of a connection that was made by this configuration.
    pub(crate) fn of(config: &ConnectConfig, stream: &Stream) -> Self {
        let verified = stream.is_tls() && config.tls.verifies();
        Self { allow_md5: config.allow_md5, verified, binding: config.binding }
    }
}

/// What a server went by when it let us in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The password.
    Password,
    /// Something else: our address, our certificate, or nothing at all.
    Unasked,
}

/// What a session starts with.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the server reported, in its order.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) pid: i32,
    /// The key by which a request is cancelled.
    pub(crate) secret: i32,
}

/// Answers the server's authentication requests until it is content.
pub(crate) async fn authenticate(answers: &mut Answers<'_>, login: &Login, rules: Rules) -> Result<Proof, Error> {
    match request(answers).await? {
        (OK | CLEARTEXT | MD5, _) if rules.binding == Binding::Require => return Err(MethodError::Unbound.into()),
        (OK, _) => return Ok(Proof::Unasked),
        (CLEARTEXT, _) if !rules.verified => return Err(MethodError::Cleartext.into()),
        (CLEARTEXT, _) => send_password(answers, password(login)?).await?,
        (MD5, _) if !rules.allow_md5 => return Err(MethodError::Md5.into()),
        (MD5, salt) => {
            let salt = salt[..].try_into().map_err(|_| Error::Protocol("an MD5 salt of another size".to_owned()))?;
            let hash = md5_hash(login.user.as_bytes(), password(login)?.as_bytes(), salt);
            send_password(answers, &hash).await?;
        }
        (SASL, mechanisms) => scram(answers, password(login)?, &mechanisms, rules).await?,
        _ => return Err(MethodError::Unsupported.into()),
    }
    expect(answers, OK).await.map(|_| Proof::Password)
}

/// Collects what the server reports until it is ready.
pub(crate) async fn start_session(answers: &mut Answers<'_>) -> Result<Session, Error> {
    let (mut parameters, mut key) = (Vec::new(), None);
    loop {
        match answers.next().await? {
            Answer::Parameter(name, value) => report(&mut parameters, name, value),
            Answer::Key { pid, secret } => key = Some((pid, secret)),
            Answer::Notice => {}
            Answer::Error(error) => return Err(Error::Session(error)),
            Answer::Ready(b'I') => break,
            other => return Err(unexpected(&other)),
        }
    }
    let (pid, secret) = key.ok_or_else(|| Error::Protocol("a session without BackendKeyData".to_owned()))?;
    Ok(Session { parameters, pid, secret })
}

/// Reads the answers to what begins a session, whose first commands are `ours` and the others the client's.
pub(crate) async fn finish(
    answers: &mut Answers<'_>,
    ours: usize,
    parameters: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    let mut completed = 0;
    loop {
        match answers.next().await? {
            Answer::Parameter(name, value) => report(parameters, name, value),
            Answer::Other(frame) if frame.tag == backend::COMMAND_COMPLETE => completed += 1,
            Answer::Notice | Answer::Other(_) => {}
            Answer::Error(error) if completed < ours => return Err(Error::Init(error)),
            Answer::Error(error) => return Err(Error::Setting(error)),
            Answer::Ready(b'I') => return Ok(()),
            other => return Err(unexpected(&other)),
        }
    }
}

/// Keeps the last value of each parameter.
pub(crate) fn report(parameters: &mut Vec<(String, String)>, name: String, value: String) {
    match parameters.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => parameters.push((name, value)),
    }
}

/// The next authentication request: its code and what goes with it.
pub(crate) async fn request(answers: &mut Answers<'_>) -> Result<(u32, Bytes), Error> {
    loop {
        match answers.next().await? {
            Answer::Authentication(code, body) => return Ok((code, body)),
            Answer::Error(error) => return Err(Error::Login(error)),
            Answer::Notice => {}
            other => return Err(unexpected(&other)),
        }
    }
}

async fn expect(answers: &mut Answers<'_>, expected: u32) -> Result<Bytes, Error> {
    match request(answers).await? {
        (code, body) if code == expected => Ok(body),
        (code, _) => Err(Error::Protocol(format!("authentication request {code} where {expected} was due"))),
    }
}

pub(crate) fn unexpected(answer: &Answer) -> Error {
    let what = match answer {
        Answer::Authentication(code, _) => format!("authentication request {code}"),
        Answer::Parameter(..) => "ParameterStatus".to_owned(),
        Answer::Key { .. } => "BackendKeyData".to_owned(),
        Answer::Ready(status) => format!("ReadyForQuery {:?}", char::from(*status)),
        Answer::Error(_) => "ErrorResponse".to_owned(),
        Answer::Notice => "NoticeResponse".to_owned(),
        Answer::Other(frame) => format!("message {:?}", char::from(frame.tag.0)),
    };
    Error::Protocol(format!("{what} out of place"))
}

fn password(login: &Login) -> Result<&str, Error> {
    match &login.password {
        Some(Password(password)) => Ok(password),
        None => Err(MethodError::NoPassword.into()),
    }
}

async fn send_password(answers: &mut Answers<'_>, password: &str) -> Result<(), Error> {
    let mut message = BytesMut::new();
    frontend::password_message(password.as_bytes(), &mut message).map_err(|_| MethodError::NoPassword)?;
    send(answers, &message).await
}

async fn send(answers: &mut Answers<'_>, message: &[u8]) -> Result<(), Error> {
    let stream = answers.stream();
    stream.write_all(message).await.map_err(Error::Lost)?;
    stream.flush().await.map_err(Error::Lost)
}

/// SCRAM-SHA-256, bound to the TLS channel where there is one. It is over only when the server has proved that it
/// knows the password too.
async fn scram(answers: &mut Answers<'_>, password: &str, mechanisms: &[u8], rules: Rules) -> Result<(), Error> {
    let (mechanism, binding) = choose_mechanism(answers, mechanisms, rules)?;
    let mut scram = ScramSha256::new(password.as_bytes(), binding);

    let mut message = BytesMut::new();
    frontend::sasl_initial_response(mechanism, scram.message(), &mut message).map_err(Error::Scram)?;
    send(answers, &message).await?;

    let challenge = expect(answers, SASL_CONTINUE).await?;
    // Thousands of hashes, as many as the server likes up to a hundred thousand: not on a thread that relays.
    let hashing = tokio::task::spawn_blocking(move || scram.update(&challenge).map(|()| scram));
    let mut scram = hashing.await.map_err(std::io::Error::other).and_then(|done| done).map_err(Error::Scram)?;

    message.clear();
    frontend::sasl_response(scram.message(), &mut message).map_err(Error::Scram)?;
    send(answers, &message).await?;
    scram.finish(&expect(answers, SASL_FINAL).await?).map_err(Error::Scram)
}

fn choose_mechanism(
    answers: &mut Answers<'_>,
    mechanisms: &[u8],
    rules: Rules,
) -> Result<(&'static str, ChannelBinding), Error> {
    let offered = parse_mechanisms(mechanisms).ok_or_else(|| Error::Protocol("a malformed SASL list".to_owned()))?;
    let offers = |mechanism: &str| offered.iter().any(|name| name == mechanism);
    let stream = answers.stream();
    let point = stream.peer_certificate().and_then(|certificate| tls_server_end_point(certificate));
    match point.filter(|_| rules.binding != Binding::Disable) {
        Some(point) if offers(SCRAM_SHA_256_PLUS) => {
            Ok((SCRAM_SHA_256_PLUS, ChannelBinding::tls_server_end_point(point)))
        }
        _ if rules.binding == Binding::Require => Err(MethodError::Unbound.into()),
        _ if !offers(SCRAM_SHA_256) => Err(MethodError::Mechanism(offered.join(", ")).into()),
        _ if rules.binding == Binding::Disable => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
        // "We could have bound": a server that did offer it learns that somebody in between took the offer out.
        Some(_) => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        // The same where a certificate of nobody's knowledge has no binding. Else choosing such a one would be the
        // way around.
        None if stream.is_tls() && !rules.verified => Ok((SCRAM_SHA_256, ChannelBinding::unrequested())),
        None => Ok((SCRAM_SHA_256, ChannelBinding::unsupported())),
    }
}

/// Zero-terminated names, and one zero that ends the list.
pub(crate) fn parse_mechanisms(mut list: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    loop {
        let (name, rest) = c_string(list)?;
        if name.is_empty() {
            return rest.is_empty().then_some(names);
        }
        names.push(String::from_utf8_lossy(name).into_owned());
        list = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_mechanisms_ends_with_an_empty_name() {
        assert_eq!(parse_mechanisms(b"SCRAM-SHA-256\0\0"), Some(vec![SCRAM_SHA_256.to_owned()]));
        for list in [&b""[..], b"SCRAM-SHA-256", b"SCRAM-SHA-256\0", b"a\0\0b"] {
            assert_eq!(parse_mechanisms(list), None, "{list:?}");
        }
    }

    #[test]
    fn debug_tells_no_password() {
        let login = Login { user: "u".to_owned(), password: Some(Password::new("hunter2".to_owned())) };
        assert!(!format!("{login:?}").contains("hunter2"));
    }
}
