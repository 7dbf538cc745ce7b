use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::stream::tunnel;

use super::{OBJECTS, message, ready, statement};
use crate::admission::Seats;
use crate::http::sql::exchange::Exchange;
use crate::http::sql::results::{Layout, Results};

#[tokio::test]
async fn a_session_that_has_more_to_say_than_was_asked_ends_all_the_same() {
    let seats = Seats::new(1, 0, 0);
    let seat = seats.take().unwrap();
    let (mut near, far) = tunnel(false, None);
    let session = tokio::spawn(async move {
        let answer = [statement(&[], &[], "LISTEN"), ready()].concat();
        near.write_all(&answer).await.unwrap();
        assert_eq!(near.read(&mut [0]).await.unwrap(), 0, "it is asked to end");
        // Notifications, more of them than fit into the pipe.
        let notification = message(b'A', &[b'x'; 1000]);
        for _ in 0..1000 {
            near.write_all(&notification).await.unwrap();
        }
        seat
    });
    let results = Results::single(OBJECTS, Layout::Document);
    let (mut exchange, mut out) = (Exchange::new(far, VecDeque::new(), results, session), Vec::new());

    let end = async {
        loop {
            if let Some(end) = poll_fn(|cx| exchange.poll_more(cx, &mut out)).await {
                return end;
            }
        }
    };
    let end = timeout(Duration::from_secs(10), end).await.expect("it ends");

    assert!(end.outcome.is_ok() && end.seat.is_some());
    assert_eq!(seats.taken(), 1);
    drop(end);
    assert_eq!(seats.taken(), 0);
}
