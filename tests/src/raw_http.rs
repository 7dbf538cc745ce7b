//! A client of HTTP/1.1 that sends whatever bytes a test wants, and cuts answers from what comes back.

use std::fmt::Display;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::proxy::Proxy;
use crate::wait;

/// A connection.
pub struct RawHttp {
    stream: TcpStream,
    /// What has been read and belongs to no answer yet.
    rest: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// Its status.
    pub status: u16,
    /// Status line and headers, in lower case.
    pub head: String,
    /// What follows them.
    pub body: String,
}

/// A request to `/sql` as `authenticated`, with these header lines more. `token` is the bearer's.
pub fn post(token: impl Display, lines: &str, body: &str) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    post_framed(token, &format!("{length}{lines}"), body)
}

/// The same without a word of the body's length.
fn post_framed(token: impl Display, lines: &str, body: &str) -> Vec<u8> {
    let names = "pgusher-role: authenticated\r\npgusher-database: neondb\r\n";
    format!("POST /sql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{names}{lines}\r\n{body}").into()
}

impl RawHttp {
    /// Connects to a proxy.
    ///
    /// # Panics
    /// If it does not listen for HTTP.
    pub async fn connect(proxy: &Proxy) -> Self {
        let stream = TcpStream::connect(proxy.http_address()).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, rest: Vec::new() }
    }

    /// Sends bytes as they are. The other side may have gone: then what it said last is what a test looks at.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a request with a body whose length only `lines` tell of, if anything does.
    pub async fn send_framed(&mut self, token: impl Display, lines: &str, body: &str) {
        self.send(&post_framed(token, lines, body)).await;
    }

    /// Closes the sending direction.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer; none at the end of the connection.
    pub async fn answer(&mut self) -> Option<RawAnswer> {
        wait::within("an answer", self.next()).await
    }

    /// All answers up to the end of the connection.
    pub async fn until_end(&mut self) -> Vec<RawAnswer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            answers.push(answer);
        }
        answers
    }

    /// Waits for the end of the connection, whatever comes before.
    pub async fn ended(&mut self) {
        let mut part = vec![0; 1 << 16];
        let reading = async { while self.stream.read(&mut part).await.is_ok_and(|length| length > 0) {} };
        wait::within("the end of a connection", reading).await;
    }

    async fn next(&mut self) -> Option<RawAnswer> {
        let end = self.read_until(b"\r\n\r\n").await?;
        let head = String::from_utf8(self.rest.drain(..end).collect()).expect("text").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = match header(&head, "content-length") {
            _ if status < 200 || status == 204 => Vec::new(),
            Some(length) => self.take(length.parse().expect("a length")).await?,
            None if header(&head, "transfer-encoding") == Some("chunked") => self.chunks().await?,
            None => Vec::new(),
        };
        Some(RawAnswer { status, head, body: String::from_utf8(body).expect("text") })
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = self.read_until(b"\r\n").await?;
            let line: Vec<u8> = self.rest.drain(..end).collect();
            let size =
                std::str::from_utf8(line.trim_ascii()).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let size = size.expect("a chunk's size");
            body.extend(self.take(size).await?);
            self.take(2).await?;
            if size == 0 {
                return Some(body);
            }
        }
    }

    /// Where this ends; none if the connection does before.
    async fn read_until(&mut self, mark: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.rest.windows(mark.len()).position(|window| window == mark) {
                return Some(at + mark.len());
            }
            self.read_more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.rest.len() < length {
            self.read_more().await?;
        }
        Some(self.rest.drain(..length).collect())
    }

    async fn read_more(&mut self) -> Option<()> {
        self.stream.read_buf(&mut self.rest).await.is_ok_and(|length| length > 0).then_some(())
    }
}

impl RawAnswer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
