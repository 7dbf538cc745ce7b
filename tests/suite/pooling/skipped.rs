//! Statements whose Close, or whose making, an error before has skipped, and texts that a client has under two names.

use pgusher_tests::request::{close_named, describe_named, execute_named, parse_named};
use pgusher_tests::{Proxy, Stage};

use super::scene::{RESULT_CHANGED, Scene, change_hands};
use super::statements::{batch, batches, call};

/// What fails in a batch, and leaves undone what is behind it.
fn failure() -> Vec<u8> {
    execute_named("no portal of this name", 0)
}

/// Has parts, each up to a Sync, be answered in one flight as they are directly, and each of these names stand for the same
/// afterwards. The statements were prepared before on the one server there is, which keeps so many.
async fn assert_same(most: usize, prepare: &[(&str, &str)], pipeline: &[Vec<u8>], later: &[&str]) {
    let stage = Stage::get();
    let builder = Proxy::builder(stage).set("pool.default_pool_size", 1).set("pool.max_prepared_statements", most);
    let proxy = builder.start().await;
    let (mut alice, mut direct) = (proxy.session(&stage.token("alice")).await, stage.direct_session().await);
    let mut told = Vec::new();
    for session in [&mut direct, &mut alice] {
        for (name, text) in prepare {
            batch(session, &[parse_named(name, text)]).await;
        }
        let mut answers = batches(session, pipeline).await;
        for _ in 0..2 {
            let calls: Vec<_> = later.iter().map(|name| call(name)).collect();
            answers.extend(batches(session, &calls).await);
        }
        told.push(answers);
    }
    assert_eq!(told[1], told[0], "through, and directly");
}

#[tokio::test]
async fn a_close_that_was_skipped_leaves_a_statement_that_can_be_made_again() {
    let pipeline =
        [[failure(), close_named(b'S', "u")].concat(), [parse_named("v", "SELECT 1"), call("v")].concat(), call("v")];
    assert_same(200, &[("u", "SELECT 1")], &pipeline, &["u", "v"]).await;
    let failing = [pipeline[0].clone(), [failure(), parse_named("v", "SELECT 1")].concat(), pipeline[1].clone()];
    assert_same(200, &[("u", "SELECT 1")], &failing, &["u", "v"]).await;
}

#[tokio::test]
async fn what_was_to_make_room_and_did_not_can_be_used() {
    let prepare = [("a", "SELECT 'a'"), ("b", "SELECT 'b'")];
    for pipeline in [
        &[[failure(), call("b")].concat(), call("a"), call("b")][..],
        &[[call("a"), failure(), call("b")].concat(), call("a"), call("a")],
        &[[call("a"), failure(), call("b")].concat(), describe_named(b'S', "a"), call("b")],
        &[[failure(), call("b")].concat(), [failure(), call("a")].concat(), call("b"), call("a")],
    ] {
        assert_same(1, &prepare, pipeline, &["a", "b"]).await;
    }
}

#[tokio::test]
async fn a_name_whose_close_was_skipped_is_taken() {
    let closes = [failure(), close_named(b'S', "u")].concat();
    let anew = [parse_named("u", "SELECT 2"), call("u")].concat();
    for pipeline in [
        &[closes.clone(), anew.clone(), call("u")][..],
        &[close_named(b'S', "u"), anew.clone(), call("u")],
        &[[close_named(b'S', "u"), anew.clone()].concat(), closes.clone(), anew.clone()],
        &[[closes, anew.clone()].concat(), anew],
    ] {
        assert_same(200, &[("u", "SELECT 1")], pipeline, &["u"]).await;
    }
}

/// Its table has been altered in between.
#[tokio::test]
async fn a_text_under_a_second_name_does_not_change_what_the_first_one_is() {
    for text in ["SELECT * FROM {table}", "INSERT INTO {table} (n) VALUES (7) RETURNING *"] {
        for takes_turns in [false, true] {
            let mut scene = Scene::new().await;
            scene.alter("ALTER TABLE {table} ADD m int").await;
            scene.prepare(&[("first", text), ("again", text)]).await;
            if takes_turns {
                change_hands(&mut scene.bob).await;
            }
            scene.alter("ALTER TABLE {table} ADD more text").await;
            let parse = |name| parse_named(name, scene.fill(text));
            let pipeline = [
                [parse("second"), call("first")].concat(),
                call("first"),
                describe_named(b'S', "first"),
                [close_named(b'S', "again"), parse("again"), call("first")].concat(),
                close_named(b'S', "again"),
                parse("again"),
                call("first"),
            ];
            let [direct, through] = scene.told(&pipeline).await;
            assert_eq!(direct[0], ("1EZ".to_owned(), vec![RESULT_CHANGED.to_owned()]));
            assert_eq!(through, direct, "{text}");
            assert_eq!(scene.rows(7).await, 0, "what is refused is not run");
        }
    }
}
