//! The last things done with a client's socket.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::stream::Stream;

/// How long a client may take to hear the end.
const LINGER: Duration = Duration::from_secs(2);

/// How much of what it still sends is read away meanwhile.
const LINGER_BYTES: u64 = 1 << 20;

/// Says a last word and closes.
pub(crate) async fn refuse(mut client: Stream, message: &[u8]) {
    let told = async {
        client.write_all(message).await?;
        client.flush().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER, told).await {
        close(client).await;
    }
}

/// Closes in a way that lets the client read what it was told. To close a socket with bytes unread resets the
/// connection, and a reset overtakes the last word; a client that pipelines has always sent more.
pub(crate) async fn close(mut client: impl AsyncRead + AsyncWrite + Unpin) {
    let lingering = async {
        client.shutdown().await?;
        tokio::io::copy(&mut client.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // It is closed in any case.
    let _ = tokio::time::timeout(LINGER, lingering).await;
}
