//! Waiting for a condition, never for a time.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How long something may take that must happen. Only a test that fails waits that long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Looks until there is something.
///
/// # Panics
/// After [`PATIENCE`], naming what never came.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    within(what, looking).await
}

/// Reads so many bytes, or up to the end, and throws them away; returns how many there were. However long all of it
/// takes, it is only to go on.
///
/// # Panics
/// After [`PATIENCE`] without a byte, naming what never came.
pub async fn drain(what: &str, stream: &mut (impl AsyncRead + Unpin), most: u64) -> u64 {
    let (mut rest, mut part) = (stream.take(most), vec![0; 1 << 16]);
    while within(what, rest.read(&mut part)).await.is_ok_and(|read| read > 0) {}
    most - rest.limit()
}

/// Waits for something that announces itself.
///
/// # Panics
/// After [`PATIENCE`], naming what never came.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(happened) => happened,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}
