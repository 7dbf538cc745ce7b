//! The admin listener as an HTTP client sees it, in plain text.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::proxy::Proxy;
use crate::wait;

impl Proxy {
    /// A connection to its admin listener, which the configuration must have at a free port of 127.0.0.1.
    pub async fn admin(&self) -> TcpStream {
        let line = self.logs("\"metrics\"").await;
        let port = line.split("127.0.0.1:").nth(1).expect("an address");
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        TcpStream::connect(format!("127.0.0.1:{digits}")).await.expect("it listens")
    }

    /// The whole answer to a request without a body, such as `GET /metrics`.
    pub async fn asked(&self, request: &str) -> String {
        let mut connection = self.admin().await;
        let request = format!("{request} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        // Whoever has heard enough may have hung up.
        let _ = connection.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = wait::within("an answer", connection.read_to_end(&mut answer)).await;
        String::from_utf8(answer).expect("text")
    }

    /// The value of a metric, named with its labels.
    pub async fn metric(&self, name: &str) -> Option<String> {
        let answer = self.asked("GET /metrics").await;
        answer.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
    }
}
