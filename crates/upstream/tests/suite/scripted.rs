//! A server that says what a test tells it to: for what a real one would never do, and to see what we say to it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use wire::frame::read_frame;
use wire::startup::{FirstPacket, read_first_packet};
use wire::stream::Stream;

/// AuthenticationOk, BackendKeyData, ReadyForQuery: all that a login without a password needs.
pub(crate) const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";

/// A listener on a free port that plays one script with the first connection.
pub(crate) async fn serve<F, P, T>(script: F) -> (u16, JoinHandle<T>)
where
    F: FnOnce(Stream) -> P + Send + 'static,
    P: Future<Output = T> + Send,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let played = tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a connection");
        script(client.into()).await
    });
    (port, played)
}

/// Reads the startup packet, says something, and reads until the client hangs up.
pub(crate) async fn serve_login(says: Vec<u8>) -> u16 {
    let script = |mut client: Stream| async move {
        assert!(matches!(read_first_packet(&mut client).await, Ok(FirstPacket::Startup(_))));
        client.write_all(&says).await.expect("the client listens");
        hear_out(&mut client).await;
    };
    serve(script).await.0
}

/// Answers the SSLRequest with these bytes, in one piece.
pub(crate) async fn serve_tls_answer(answer: &'static [u8]) -> u16 {
    let script = move |mut client: Stream| async move {
        assert!(matches!(read_first_packet(&mut client).await, Ok(FirstPacket::Ssl)));
        client.write_all(answer).await.expect("the client listens");
        hear_out(&mut client).await;
    };
    serve(script).await.0
}

pub(crate) async fn hear_out(client: &mut Stream) {
    while matches!(client.read(&mut [0; 512]).await, Ok(read) if read > 0) {}
}

/// Grants TLS and reads the first packet within.
pub(crate) async fn accept_tls(
    mut client: Stream,
    config: Arc<ServerConfig>,
) -> std::io::Result<(FirstPacket, Stream)> {
    assert!(matches!(read_first_packet(&mut client).await, Ok(FirstPacket::Ssl)));
    client.write_all(b"S").await?;
    let mut client = client.accept_tls(config).await?;
    let first = read_first_packet(&mut client).await.map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    Ok((first, client))
}

/// An authentication request, or any other frame.
pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

/// A certificate for `localhost` that is its own authority, as `openssl req -x509` makes it.
pub(crate) struct SelfSigned {
    pub(crate) pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

pub(crate) fn self_signed(years: std::ops::Range<i32>) -> SelfSigned {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private))
        .expect("a configuration");
    SelfSigned { pem: certificate.pem(), config: Arc::new(config) }
}

/// A server that any number of connections may come to. What it does with each is the test's to say.
pub(crate) struct Scripted {
    pub(crate) port: u16,
    listening: JoinHandle<()>,
    arrived: Mutex<mpsc::UnboundedReceiver<Arrived>>,
    admitted: Mutex<mpsc::UnboundedReceiver<Stream>>,
}

/// Who has come.
pub(crate) enum Arrived {
    Login(Arrival),
    Cancel(Stream),
}

/// Somebody whose startup packet was read.
pub(crate) struct Arrival {
    client: Stream,
    number: u32,
    admitted: mpsc::UnboundedSender<Stream>,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (arrivals, arrived) = mpsc::unbounded_channel();
        let (admissions, admitted) = mpsc::unbounded_channel();
        let listening = tokio::spawn(async move {
            for number in 1.. {
                let mut client: Stream = listener.accept().await.expect("a connection").0.into();
                let who = match read_first_packet(&mut client).await {
                    Ok(FirstPacket::Startup(_)) => {
                        Arrived::Login(Arrival { client, number, admitted: admissions.clone() })
                    }
                    Ok(FirstPacket::Cancel(_)) => Arrived::Cancel(client),
                    _ => continue,
                };
                if arrivals.send(who).is_err() {
                    return;
                }
            }
        });
        Self { port, listening, arrived: Mutex::new(arrived), admitted: Mutex::new(admitted) }
    }

    /// The next one that comes.
    pub(crate) async fn next(&self) -> Arrived {
        self.arrived.lock().await.recv().await.expect("it listens as long as it is there")
    }

    /// The next one, who logs in.
    pub(crate) async fn login(&self) -> Arrival {
        match self.next().await {
            Arrived::Login(login) => login,
            Arrived::Cancel(_) => panic!("a login"),
        }
    }

    /// The next one who logs in, whoever may have come to cancel before.
    pub(crate) async fn login_among_cancels(&self) -> Arrival {
        loop {
            if let Arrived::Login(login) = self.next().await {
                return login;
            }
        }
    }

    /// Refuses whoever comes from now on.
    pub(crate) async fn stop(&self) {
        self.listening.abort();
        while !self.listening.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Our side of the next connection that was admitted.
    pub(crate) async fn server(&self) -> Stream {
        self.admitted.lock().await.recv().await.expect("it listens as long as it is there")
    }
}

impl Arrival {
    /// Logs the client in, and says of the database that it keeps nothing.
    pub(crate) async fn admit(mut self) {
        let key = [self.number.to_be_bytes(), 2_u32.to_be_bytes()].concat();
        let ready = frame(b'Z', b"I");
        let welcome = [frame(b'R', &[0; 4]), frame(b'K', &key), ready.clone()].concat();
        self.client.write_all(&welcome).await.expect("the client listens");
        read_frame(&mut self.client, 4096).await.expect("a question");
        let answer = [frame(b'D', b"\0\x02\0\0\0\x01t\xff\xff\xff\xff"), ready].concat();
        self.client.write_all(&answer).await.expect("the client listens");
        self.admitted.send(self.client).expect("the test is there");
    }

    /// Lets the client in and says nothing more.
    pub(crate) async fn begin(mut self) -> Stream {
        self.client.write_all(&frame(b'R', &[0; 4])).await.expect("the client listens");
        self.client
    }

    /// Refuses the login.
    pub(crate) async fn refuse(mut self, sqlstate: &str) {
        let error = frame(b'E', format!("SFATAL\0C{sqlstate}\0Mno\0\0").as_bytes());
        self.client.write_all(&error).await.expect("the client listens");
    }
}
