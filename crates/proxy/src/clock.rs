//! Waiting for a moment of the calendar, which is what tokens speak of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The calendar is looked at again after this long, because it may be set while we wait.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Waits until the system clock reaches a moment in Unix seconds; for ever, if there is none.
pub(crate) async fn reaches(moment: Option<i64>) {
    let Some(moment) = moment else { return std::future::pending().await };
    let moment = Duration::from_secs(u64::try_from(moment).unwrap_or(0));
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match moment.checked_sub(now) {
            None | Some(Duration::ZERO) => return,
            Some(left) => tokio::time::sleep(left.min(LOOK_AGAIN)).await,
        }
    }
}
