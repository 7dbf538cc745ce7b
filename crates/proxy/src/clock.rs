//! Moments of the calendar, which is what tokens speak of, and waiting for them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The calendar is looked at again after this long, because it may be set while we wait.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A moment in Unix seconds. None is before 1970.
pub(crate) fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Waits until the system clock reaches a moment in Unix seconds; for ever, if there is none.
pub(crate) async fn reaches(seconds: Option<i64>) {
    let Some(seconds) = seconds else { return std::future::pending().await };
    let moment = moment(seconds);
    loop {
        match moment.duration_since(SystemTime::now()) {
            Err(_) | Ok(Duration::ZERO) => return,
            Ok(left) => tokio::time::sleep(left.min(LOOK_AGAIN)).await,
        }
    }
}
