//! A server that says what a test tells it to: for what a real one would never do, and to see what we say to it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
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
