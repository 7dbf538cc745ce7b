use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use wire::stream::{Stream, tunnel};

use super::*;

/// Bytes that a socket holds.
const SOCKET: usize = 64 * 1024;

/// A client's socket, its session's stream, and what becomes of the WebSocket between them.
fn carried() -> (DuplexStream, Stream, JoinHandle<End>) {
    let (client, socket) = duplex(SOCKET);
    let (near, far) = tunnel(false, None);
    let carriage = Carriage::new(socket, far);
    (client, near, tokio::spawn(async move { carriage.run(&CancellationToken::new()).await }))
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_once_and_then_left() {
    let (mut client, mut session, end) = carried();
    let begun = Instant::now();
    let mut asked = [0; 2];
    client.read_exact(&mut asked).await.unwrap();
    assert_eq!((asked, begun.elapsed()), ([0x89, 0], SILENCE));
    assert!(matches!(end.await.unwrap(), End::Lost(error) if error.kind() == io::ErrorKind::TimedOut));
    assert_eq!(begun.elapsed(), 2 * SILENCE);
    let broken = session.read(&mut [0]).await.unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_is_kept() {
    let (mut client, _session, end) = carried();
    for _ in 0..10 {
        let mut asked = [0; 2];
        client.read_exact(&mut asked).await.unwrap();
        client.write_all(&frame(0x8a, b"")).await.unwrap();
    }
    assert!(!end.is_finished());
}

#[tokio::test(start_paused = true)]
async fn pings_beyond_what_can_be_answered_are_not_answered() {
    let (mut client, mut session, end) = carried();
    // Until nothing more can be sent to the client.
    let mut written = 0;
    while let Ok(length) = tokio::time::timeout(Duration::from_millis(50), session.write(&[1; 1024])).await {
        written += length.unwrap();
    }
    for number in 0..10_000_u32 {
        client.write_all(&frame(0x89, &number.to_be_bytes())).await.unwrap();
    }
    client.write_all(&frame(0x82, b"through")).await.unwrap();
    let mut through = [0; 7];
    session.read_exact(&mut through).await.unwrap();
    session.shutdown().await.unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).await.unwrap();
    drop(client);
    assert!(matches!(end.await.unwrap(), End::Session));

    let (mut rest, mut pongs, mut data) = (&said[..], Vec::new(), 0);
    while let [first, second, tail @ ..] = rest {
        let (length, tail) = match (second, tail) {
            (126, [high, low, tail @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), tail),
            _ => (usize::from(*second), tail),
        };
        let (payload, tail) = tail.split_at(length);
        match first {
            0x8a => pongs.push(payload.to_vec()),
            0x82 => data += length,
            0x88 => assert_eq!(payload, 1000_u16.to_be_bytes()),
            other => panic!("{other}"),
        }
        rest = tail;
    }
    assert_eq!((pongs, data), (vec![9_999_u32.to_be_bytes().to_vec()], written));
}

#[tokio::test]
async fn a_client_that_closes_has_sent_all_and_one_that_goes_has_not() {
    for (closes, wanted) in [(true, Ok(())), (false, Err(io::ErrorKind::ConnectionReset))] {
        let (mut client, mut session, end) = carried();
        client.write_all(&frame(0x82, b"all")).await.unwrap();
        if closes {
            client.write_all(&frame(0x88, &[0x0f, 0xa0])).await.unwrap();
            let mut echo = [0; 4];
            client.read_exact(&mut echo).await.unwrap();
            assert_eq!(echo, [0x88, 2, 0x0f, 0xa0]);
        }
        drop(client);
        end.await.unwrap();
        let mut all = Vec::new();
        let read = session.read_to_end(&mut all).await.map(drop).map_err(|error| error.kind());
        assert_eq!((read, &*all), (wanted, &b"all"[..]));
    }
}
