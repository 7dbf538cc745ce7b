//! WebSockets to the proxy, by an implementation that is not the proxy's.

use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use crate::proxy::Proxy;
use crate::raw::{Raw, Stream};
use crate::stage::Stage;
use crate::wait;

/// Bytes that an adapter holds; the most that it puts into a frame.
const ADAPTER: usize = 64 * 1024;

/// The key of RFC 6455, section 1.3, and what it is accepted by.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPTED: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A request for a WebSocket.
#[derive(Clone, Debug)]
pub struct Handshake {
    line: String,
    headers: Vec<(String, String)>,
}

impl Default for Handshake {
    fn default() -> Self {
        let headers = [
            ("Host", "localhost"),
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { line: "GET /v2 HTTP/1.1".to_owned(), headers: headers.into() }
    }
}

impl Handshake {
    /// With another request line.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        line.clone_into(&mut self.line);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// The request in bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.line, headers.collect::<String>()).into_bytes()
    }

    /// Asks over a stream.
    ///
    /// # Errors
    /// The head of an answer that is a refusal.
    pub async fn over(&self, mut stream: impl Stream + 'static) -> Result<WebSocket, String> {
        stream.write_all(&self.to_bytes()).await.expect("somebody reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(wait::within("an answer", stream.read_u8()).await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("text");
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(head);
        }
        assert!(head.contains(ACCEPTED), "{head}");
        let stream: Box<dyn Stream> = Box::new(stream);
        Ok(WebSocket(WebSocketStream::from_raw_socket(stream, Role::Client, None).await))
    }

    /// Asks a proxy in clear.
    ///
    /// # Errors
    /// The head of an answer that is a refusal.
    pub async fn with(&self, proxy: &Proxy) -> Result<WebSocket, String> {
        self.over(TcpStream::connect(proxy.http_address()).await.expect("it listens")).await
    }
}

/// A WebSocket. When it is dropped it does not say goodbye.
pub struct WebSocket(WebSocketStream<Box<dyn Stream>>);

impl WebSocket {
    /// Sends bytes in a frame.
    pub async fn send(&mut self, bytes: impl Into<Vec<u8>>) {
        self.send_message(Message::Binary(bytes.into().into())).await;
    }

    /// Sends a frame. The other side may have gone: then what it said last is what a test looks at.
    pub async fn send_message(&mut self, message: Message) {
        let _ = self.0.send(message).await;
    }

    /// The next frame; none at the end.
    pub async fn receive(&mut self) -> Option<Message> {
        wait::within("a frame", self.0.next()).await.and_then(Result::ok)
    }

    /// The code that it is closed with, and all data before.
    ///
    /// # Panics
    /// If it ends without one.
    pub async fn closed(&mut self) -> (u16, Vec<u8>) {
        let mut data = Vec::new();
        while let Some(message) = self.receive().await {
            match message {
                Message::Binary(bytes) => data.extend_from_slice(&bytes),
                Message::Close(frame) => return (frame.expect("a code").code.into(), data),
                _ => {}
            }
        }
        panic!("it ended without a code, after {} bytes", data.len())
    }

    /// The stream below.
    pub fn into_stream(self) -> Box<dyn Stream> {
        self.0.into_inner()
    }

    /// A stream of the bytes in its frames, as a driver makes one of it: what is written at once is a frame. To close or
    /// drop the stream closes the WebSocket. The code that the other side closes it with is what the task returns.
    pub fn into_pipe(self) -> (DuplexStream, JoinHandle<Option<u16>>) {
        let (near, far) = duplex(ADAPTER);
        (near, tokio::spawn(self.adapt(far)))
    }

    /// A client in raw bytes.
    pub fn into_raw(self) -> Raw {
        Raw::over(self.into_pipe().0)
    }

    async fn adapt(mut self, mut pipe: DuplexStream) -> Option<u16> {
        let mut part = vec![0; ADAPTER];
        let mut open = true;
        loop {
            tokio::select! {
                read = pipe.read(&mut part), if open => match read {
                    Ok(0) | Err(_) => {
                        open = false;
                        self.send_message(Message::Close(None)).await;
                    }
                    Ok(length) => self.send(&part[..length]).await,
                },
                message = self.0.next() => match message {
                    // Who has gone hears nothing.
                    Some(Ok(Message::Binary(bytes))) => drop(pipe.write_all(&bytes).await),
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                },
            }
        }
    }
}

impl Proxy {
    /// A WebSocket in clear.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn websocket(&self) -> WebSocket {
        Handshake::default().with(self).await.expect("a WebSocket")
    }

    /// A WebSocket under TLS.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn secure_websocket(&self) -> WebSocket {
        let socket = TcpStream::connect(self.http_address()).await.expect("it listens");
        let name = ServerName::try_from("localhost").expect("a name");
        let config = Stage::get().authority.client_config(&[b"http/1.1"]);
        let tls = wait::within("a TLS handshake", TlsConnector::from(config).connect(name, socket)).await.expect("TLS");
        Handshake::default().over(tls).await.expect("a WebSocket")
    }
}
