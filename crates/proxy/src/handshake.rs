//! From a socket to a startup message: TLS settled, nothing read that was sent before it.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use wire::startup::{CancelRequest, FirstPacket, Startup, read_first_packet};
use wire::stream::Stream;

use crate::error::Error;

/// The protocol name of TLS connections to Postgres, registered with IANA for ALPN (RFC 7301).
pub(crate) const ALPN: &[u8] = b"postgresql";

/// What a new connection turned out to be.
#[derive(Debug)]
pub(crate) enum Greeting {
    /// Somebody who wants to log in.
    Login(Stream, Startup),
    /// Somebody who wants another connection's statement cancelled.
    Cancel(Stream, CancelRequest),
}

/// A connection that got no further, with its socket if there is a way left to say so.
pub(crate) type Refused = (Option<Stream>, Error);

/// Reads what a connection begins with. At most one request for TLS and one for GSSAPI encryption go before it
/// (<https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>), or TLS starts with the first byte.
pub(crate) async fn handshake(client: Stream, tls: Option<&Arc<ServerConfig>>) -> Result<Greeting, Refused> {
    match client.opens_with_tls().await {
        Ok(false) => negotiate(client, tls).await,
        Ok(true) => match tls {
            Some(tls) => negotiate(direct_tls(client, tls).await?, None).await,
            // Nothing that we could say would be understood.
            None => Err((None, Error::NoCertificate)),
        },
        Err(error) => Err((None, Error::ClientGone(error))),
    }
}

async fn direct_tls(client: Stream, tls: &Arc<ServerConfig>) -> Result<Stream, Refused> {
    let client = accept_tls(client, tls).await?;
    // The name is what tells this from another protocol's TLS, redirected here (the ALPACA attack).
    if client.alpn() == Some(ALPN) { Ok(client) } else { Err((Some(client), Error::NoAlpn)) }
}

async fn accept_tls(client: Stream, tls: &Arc<ServerConfig>) -> Result<Stream, Refused> {
    client.accept_tls(tls.clone()).await.map_err(|error| (None, Error::Tls(error)))
}

async fn negotiate(mut client: Stream, tls: Option<&Arc<ServerConfig>>) -> Result<Greeting, Refused> {
    // What carries a tunnel has settled that for it, and the answer is no.
    let settled = client.is_tls() && !client.is_tunnel();
    let (mut asked_ssl, mut asked_gss) = (settled, settled);
    loop {
        let offer = match read_first_packet(&mut client).await {
            Ok(FirstPacket::Startup(startup)) => return Ok(Greeting::Login(client, startup)),
            Ok(FirstPacket::Cancel(request)) => return Ok(Greeting::Cancel(client, request)),
            Ok(FirstPacket::Ssl) if !std::mem::replace(&mut asked_ssl, true) => tls,
            Ok(FirstPacket::Gss) if !std::mem::replace(&mut asked_gss, true) => None,
            Ok(FirstPacket::Ssl | FirstPacket::Gss) => return Err((Some(client), Error::NegotiatedTwice)),
            Err(error) => return Err((Some(client), Error::Startup(error))),
        };
        // Whatever lies behind the request came in clear, perhaps from somebody in between.
        if client.has_early_bytes().unwrap_or(true) {
            return Err((Some(client), Error::EarlyBytes));
        }
        client = answer(client, offer).await?;
        // Inside TLS there is nothing left to ask for.
        asked_gss |= client.is_tls() && !client.is_tunnel();
    }
}

/// Says yes and does it, or says no.
async fn answer(mut client: Stream, tls: Option<&Arc<ServerConfig>>) -> Result<Stream, Refused> {
    let yes_or_no = if tls.is_some() { b"S" } else { b"N" };
    client.write_all(yes_or_no).await.map_err(|error| (None, Error::ClientGone(error)))?;
    match tls {
        Some(tls) => accept_tls(client, tls).await,
        None => Ok(client),
    }
}
