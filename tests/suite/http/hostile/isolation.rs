//! Three identities on one connection and one server, with requests pipelined, multiplexed and abandoned: nobody sees a
//! row or an answer of another's.

use futures_util::future::join_all;
use pgusher_tests::{Proxy, Random, RawHttp, Stage, post};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{goes_on, http2, query};

const WHO: [&str; 3] = ["alice", "bob", "carol"];

const SEED: u64 = 20_261_127;

async fn proxy() -> Proxy {
    Proxy::builder(Stage::get()).http().set("pool.default_pool_size", 1).start().await
}

/// What is asked as number `n`, and what the answer is for this one of them.
fn question(n: usize) -> String {
    format!(
        "SELECT {n} AS n, auth.user_id() AS me, coalesce(bool_and(user_id = auth.user_id()), true) AS own FROM todos"
    )
}

fn expected(n: usize, who: &str) -> Value {
    json!([{"n": n, "me": who, "own": true}])
}

fn tokens() -> [String; 3] {
    WHO.map(|who| Stage::get().token(who).to_string())
}

#[tokio::test]
async fn pipelined_requests_of_three_are_answered_in_turn_each_to_its_own() {
    let (proxy, tokens, mut random) = (proxy().await, tokens(), Random(SEED));
    let mut raw = RawHttp::connect(&proxy).await;
    let asked: Vec<_> = (0..100).map(|n| (n, random.below(3))).collect();
    let requests: Vec<_> = asked.iter().map(|(n, who)| post(&tokens[*who], "", &query(&question(*n)))).collect();
    raw.send(&requests.concat()).await;
    for (n, who) in asked {
        assert_eq!(raw.answer().await.unwrap().json()["rows"], expected(n, WHO[who]));
    }
}

#[tokio::test]
async fn who_leaves_in_the_middle_leaves_nothing_to_the_next() {
    let (proxy, tokens) = (proxy().await, tokens());
    for round in 0..60 {
        let mut random = Random(SEED + round);
        let leaver = random.below(3);
        let mut leaving = RawHttp::connect(&proxy).await;
        let left = [
            "SELECT pg_sleep(0.02)",
            "BEGIN",
            "SELECT set_config('request.jwt.claims', '{\"sub\":\"bob\"}', false)",
            "SELECT repeat('x', 5000000)",
            "CREATE TEMP TABLE todos (user_id text)",
            "SELECT 1/0",
        ];
        let requests = (0..4).map(|_| post(&tokens[leaver], "", &query(random.pick::<&str>(&left))));
        let requests = requests.collect::<Vec<_>>().concat();
        let cut = if random.one_in(2) { requests.len() } else { random.below(requests.len()) };
        leaving.send(&requests[..cut]).await;
        if cut == requests.len() && random.one_in(2) {
            leaving.answer().await;
        }
        drop(leaving);
        let mut raw = RawHttp::connect(&proxy).await;
        for n in 0..3 {
            raw.send(&post(&tokens[n], "", &query(&question(n)))).await;
            let answer = raw.answer().await.unwrap();
            assert_eq!(answer.status, 200, "seed {SEED} + {round}: {answer:?}");
            assert_eq!(answer.json()["rows"], expected(n, WHO[n]), "seed {SEED} + {round}");
        }
    }
}

#[tokio::test]
async fn streams_of_three_on_one_connection_are_answered_each_to_its_own_though_some_are_reset() {
    let (proxy, tokens) = (proxy().await, tokens());
    let socket = TcpStream::connect(proxy.http_address()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    for round in 0..10 {
        let mut random = Random(SEED + round);
        let asking = (0..40).map(|n| {
            let (who, mut client, reset) = (random.below(3), client.clone(), random.one_in(4));
            let token = &tokens[who];
            async move {
                client = client.ready().await.unwrap();
                let sql = question(n);
                let asked = http2::ask(&mut client, token, &sql);
                if reset {
                    // Dropped at a point that differs from one to the next, which resets the stream.
                    let turns = async {
                        for _ in 0..n {
                            tokio::task::yield_now().await;
                        }
                    };
                    return tokio::select!(_ = asked => {}, () = turns => {});
                }
                let answer = asked.await.unwrap();
                assert_eq!(answer["rows"], expected(n, WHO[who]), "seed {SEED} + {round}: {answer}");
            }
        });
        join_all(asking).await;
    }
    goes_on(&proxy).await;
}
