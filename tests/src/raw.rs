//! A client that sends whatever bytes a test wants, and reads whole messages back.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::frame::{ReadError, Tag, read_frame};

use crate::wait;

/// The largest message a test reads.
const LARGEST: u32 = 1 << 20;

/// Anything that bytes go through both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection.
pub struct Raw {
    stream: Box<dyn Stream>,
}

/// A message from the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub tag: u8,
    /// What follows tag and length.
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects by TCP.
    pub async fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).await.expect("somebody listens");
        socket.set_nodelay(true).expect("a socket");
        Self::over(socket)
    }

    /// Speaks over a stream that is there already.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream) }
    }

    /// Does the TLS handshake with `localhost`.
    ///
    /// # Errors
    /// What became of it.
    pub async fn into_tls(self, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("localhost").expect("a name");
        let handshake = TlsConnector::from(config).connect(name, self.stream);
        wait::within("a TLS handshake", handshake).await.map(Self::over)
    }

    /// Sends bytes as they are. The other side may have gone: then what it said last is what a test looks at.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// Closes the sending direction.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Sends a startup message of protocol 3.0.
    pub async fn startup(&mut self, parameters: &[(&str, &str)]) {
        self.send(&startup(3 << 16, parameters)).await;
    }

    /// Sends a message.
    pub async fn message(&mut self, tag: u8, body: &[u8]) {
        self.send(&message(tag, body)).await;
    }

    /// Logs in as `authenticated`, up to the first ReadyForQuery; returns all messages on the way.
    pub async fn log_in(&mut self, token: &str) -> Vec<Message> {
        self.startup(&[("user", "authenticated"), ("database", "neondb")]).await;
        assert_eq!(self.receive().await, Some(Message { tag: b'R', body: vec![0, 0, 0, 3] }));
        self.message(b'p', &[token.as_bytes(), &[0]].concat()).await;
        self.until_ready().await
    }

    /// Sends a simple query and returns its answer up to ReadyForQuery.
    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.message(b'Q', &[sql.as_bytes(), &[0]].concat()).await;
        self.until_ready().await
    }

    /// The next message; none at the end of the stream.
    pub async fn receive(&mut self) -> Option<Message> {
        wait::within("a message", self.next()).await
    }

    /// The same for a caller with a limit of its own.
    pub async fn next(&mut self) -> Option<Message> {
        match read_frame(&mut self.stream, LARGEST).await {
            Ok(frame) => Some(Message { tag: frame.tag.0, body: frame.body.to_vec() }),
            Err(ReadError::Io(_)) => None,
            Err(error) => panic!("a message, not {error:?}"),
        }
    }

    /// One byte, as in the answer to an SSLRequest; none at the end of the stream.
    pub async fn byte(&mut self) -> Option<u8> {
        wait::within("a byte", self.stream.read_u8()).await.ok()
    }

    /// All messages up to the next ReadyForQuery, it included, or the end of the stream.
    pub async fn until_ready(&mut self) -> Vec<Message> {
        self.until(b'Z').await
    }

    /// All messages up to the next with this tag, it included, or the end of the stream.
    pub async fn until(&mut self, tag: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await {
            let last = message.tag == tag;
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }

    /// All messages up to the end of the stream.
    pub async fn until_end(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await {
            messages.push(message);
        }
        messages
    }

    /// The stream below.
    pub fn into_stream(self) -> Box<dyn Stream> {
        self.stream
    }
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse: `b'C'` is the SQLSTATE.
    pub fn field(&self, name: u8) -> Option<String> {
        let fields = self.body.split(|byte| *byte == 0);
        let field = fields.filter_map(|field| field.split_first()).find(|(first, _)| **first == name);
        field.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    /// The SQLSTATE of an ErrorResponse.
    ///
    /// # Panics
    /// If it is none.
    pub fn sqlstate(&self) -> String {
        assert_eq!(Tag(self.tag), wire::frame::backend::ERROR_RESPONSE, "{self:?}");
        self.field(b'C').expect("an error has a code")
    }
}

/// A message's bytes.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a small message");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// A startup message's bytes.
pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let pairs = parameters.iter().flat_map(|(name, value)| [name.as_bytes(), &[0], value.as_bytes(), &[0]].concat());
    let body: Vec<u8> = version.to_be_bytes().into_iter().chain(pairs).chain([0]).collect();
    let length = u32::try_from(body.len() + 4).expect("a small message");
    [&length.to_be_bytes()[..], &body].concat()
}
