//! Random bytes, and requests with some of their bytes changed: an answer or the end, and never a row of another's.

use pgusher_tests::{Random, RawHttp, Stage, post};

use super::{goes_on, proxy, query};

const SEED: u64 = 20_261_126;

#[tokio::test]
async fn noise_is_answered_or_ends_its_connection_and_nobody_else_notices() {
    let (stage, proxy) = (Stage::get(), proxy().await);
    let request = post(stage.token("alice"), "Accept: */*\r\n", &query("SELECT DISTINCT user_id AS owner FROM todos"));
    for round in 0..500 {
        let mut random = Random(SEED + round);
        let mut raw = RawHttp::connect(&proxy).await;
        raw.send(&noise(&mut random, &request)).await;
        raw.finish().await;
        for answer in raw.until_end().await {
            let context = format!("seed {SEED} + {round}: {answer:?}");
            assert!((100..600).contains(&answer.status) && !answer.body.contains("\"bob\""), "{context}");
        }
        if round % 50 == 0 {
            goes_on(&proxy).await;
        }
    }
    goes_on(&proxy).await;
}

fn noise(random: &mut Random, request: &[u8]) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at + 1),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = *random.pick(b"\r\n\0 :;,\t\"%{}[]"),
            3 => {
                let text = *random.pick(&["\r\n", "\r\n\r\n", "\n", "Content-Length: 3\r\n"]);
                bytes.splice(at..at, text.bytes());
            }
            4 => bytes = [&bytes[at..], &bytes[..at]].concat(),
            5 => drop(bytes.splice(at..at, bytes.clone())),
            _ => {
                let length = random.below(2000) + 1;
                bytes = random.bytes(length);
            }
        }
    }
    bytes
}
