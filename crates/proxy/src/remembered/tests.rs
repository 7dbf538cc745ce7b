//! What is remembered after traces of what a client sends and a server answers.

use super::*;
use crate::effect::effects;

/// Plays a session: `>` before a text that is sent, `<` before a command tag, `!` is an error, `I`, `T`, `E` the status
/// of a ReadyForQuery.
fn play(remembered: &mut Remembered, trace: &[&str]) {
    let (mut sent, mut answered) = (0, 0);
    for step in trace {
        match step.split_at(1) {
            (">", text) => {
                remembered.sent(effects(text.as_bytes()), sent);
                sent += 1;
            }
            ("<", tag) if tag.starts_with("SELECT") && !remembered.awaits_call(answered) => {}
            ("<", tag) => {
                remembered.completed(format!("{tag}\0").as_bytes());
            }
            ("!", _) => remembered.failed(answered),
            (status, _) => {
                remembered.ready(TxStatus::parse(status.as_bytes()[0]).unwrap(), answered);
                answered += 1;
            }
        }
    }
}

fn after(trace: &[&str]) -> Remembered {
    let mut remembered = Remembered::new([7; 32], &Parameters::default());
    play(&mut remembered, trace);
    remembered
}

fn statements(remembered: &Remembered) -> Vec<String> {
    remembered.statements().map(|statement| String::from_utf8_lossy(statement).into_owned()).collect()
}

#[test]
fn a_setting_is_said_again_once_it_is_committed() {
    assert_eq!(statements(&after(&[">SET a.b = 1", "<SET", "I"])), ["SET a.b = 1"]);
    assert_eq!(statements(&after(&[">BEGIN", "<BEGIN", "T", ">SET a.b = 1", "<SET", "T"])), [""; 0]);
    let committed = ["<BEGIN", "T", ">SET a.b = 1", "<SET", "T", "<COMMIT", "I"];
    assert_eq!(statements(&after(&committed)), ["SET a.b = 1"]);
    assert_eq!(statements(&after(&["<BEGIN", "T", ">SET a.b = 1", "<SET", "T", "<ROLLBACK", "I"])), [""; 0]);
    assert_eq!(statements(&after(&["<BEGIN", ">SET a.b = 1", "<SET", "<PREPARE TRANSACTION", "I"])), ["SET a.b = 1"]);
}

#[test]
fn one_that_failed_or_was_rolled_back_with_another_is_forgotten() {
    assert_eq!(statements(&after(&[">SET a.b = 1", "!", "I"])), [""; 0]);
    assert_eq!(statements(&after(&[">SET a.b = 1; SELECT 1 / 0", "<SET", "!", "I"])), [""; 0]);
    let half = [">SET a.b = 1; COMMIT; SET c.d = 2; SELECT 1 / 0", "<SET", "<COMMIT", "<SET", "!", "I"];
    assert_eq!(statements(&after(&half)), ["SET a.b = 1"]);
}

#[test]
fn one_that_was_sent_behind_another_that_failed_is_not_forgotten_with_it() {
    let remembered =
        after(&[">SET a.b = 1", ">SELECT 1 / 0; SET c.d = 1", ">SET e.f = 1", "<SET", "I", "!", "I", "<SET", "I"]);
    assert_eq!(statements(&remembered), ["SET a.b = 1", "SET e.f = 1"]);
    assert!(remembered.pinned.is_empty());
}

#[test]
fn the_last_setting_of_a_name_counts_and_order_is_kept() {
    let trace = [">SET a.b = 1", "<SET", "I", ">SET c.d = 1", "<SET", "I", ">SET a.b = 2", "<SET", "I"];
    assert_eq!(statements(&after(&trace)), ["SET c.d = 1", "SET a.b = 2"]);
}

#[test]
fn the_halves_of_datestyle_add_up() {
    let trace = [
        ">SET datestyle = 'SQL'",
        "<SET",
        "I",
        ">SET datestyle = 'DMY'",
        "<SET",
        "I",
        ">SET datestyle = 'SQL'",
        "<SET",
        "I",
    ];
    assert_eq!(statements(&after(&trace)), ["SET datestyle = 'DMY'", "SET datestyle = 'SQL'"]);
    assert_eq!(statements(&after(&[&trace[..], &[">RESET datestyle", "<RESET", "I"]].concat())), [""; 0]);
}

#[test]
fn what_is_not_ascii_is_not_said_again() {
    let remembered = after(&[">SET a.b = 'é'", "<SET", "I"]);
    assert!(!remembered.pinned.is_empty() && statements(&remembered).is_empty());
}

#[test]
fn a_tag_of_another_kind_than_what_was_sent_pins() {
    let remembered = after(&[">LISTEN x", ">DISCARD ALL", "<SET", "I"]);
    assert!(!remembered.pinned.is_empty());
}

#[test]
fn resets_take_back_one_or_all() {
    let both = [">SET a.b = 1", "<SET", "I", ">SET c.d = 1", "<SET", "I"];
    for (reset, tag, left) in [
        ("RESET a.b", "RESET", 1),
        ("RESET ALL", "RESET", 0),
        ("DISCARD ALL", "DISCARD ALL", 0),
        ("SET a.b TO DEFAULT", "SET", 1),
    ] {
        let mut remembered = after(&both);
        play(&mut remembered, &[&format!(">{reset}"), &format!("<{tag}"), "I"]);
        assert_eq!(statements(&remembered).len(), left, "{reset}");
    }
}

#[test]
fn local_settings_are_nobodys() {
    let trace = [
        "<BEGIN",
        "T",
        ">SET LOCAL a.b = 1",
        "<SET",
        ">SET CONSTRAINTS ALL DEFERRED",
        "<SET CONSTRAINTS",
        "<COMMIT",
        "I",
    ];
    let remembered = after(&trace);
    assert!(statements(&remembered).is_empty() && remembered.pinned.is_empty());
}

#[test]
fn what_a_savepoint_may_have_taken_back_pins() {
    let inside = ["<BEGIN", "<SAVEPOINT", "T", ">SET a.b = 1", "<SET", "T"];
    let released = after(&[&inside[..], &["<RELEASE", "<COMMIT", "I"]].concat());
    assert_eq!((statements(&released).len(), released.pinned.is_empty()), (1, true));
    for rest in [&["<ROLLBACK", "T", "<COMMIT", "I"][..], &["!", "E", "<ROLLBACK", "T", "<COMMIT", "I"]] {
        assert!(!after(&[&inside[..], rest].concat()).pinned.is_empty(), "{rest:?}");
    }
    assert!(after(&["<BEGIN", "<SAVEPOINT", "T", "<ROLLBACK", "T", "<COMMIT", "I"]).pinned.is_empty());
}

#[test]
fn what_was_not_understood_pins_until_all_is_discarded() {
    for tag in ["<SET", "<RESET", "<LISTEN", "<LOAD", "<PREPARE"] {
        let mut remembered = after(&[tag, "I"]);
        assert!(!remembered.pinned.is_empty(), "{tag}");
        play(&mut remembered, &[">DISCARD ALL", "<DISCARD ALL", "I"]);
        assert!(remembered.pinned.is_empty() && remembered.counts().to_string().ends_with(" 1"));
    }
}

#[test]
fn a_reason_that_is_given_up_counts_until_that_is_committed() {
    let listening = [">LISTEN a", "<LISTEN", "I"];
    let pinned = |rest: &[&str]| !after(&[&listening[..], rest].concat()).pinned.is_empty();
    assert!(!pinned(&[">UNLISTEN *", "<UNLISTEN", "I"]));
    assert!(pinned(&[">UNLISTEN *"]));
    assert!(pinned(&[">UNLISTEN *", "!", "I"]));
    assert!(pinned(&[">SELECT pg_advisory_unlock_all()", "<SELECT 1", "I"]));
    assert!(pinned(&["<BEGIN", "T", ">UNLISTEN *", "<UNLISTEN", "T"]));
    assert!(pinned(&["<BEGIN", "T", ">UNLISTEN *", "<UNLISTEN", "T", "<ROLLBACK", "I"]));
    assert!(!pinned(&["<BEGIN", "T", ">UNLISTEN *", "<UNLISTEN", "T", "<COMMIT", "I"]));
}

#[test]
fn what_is_sent_behind_what_gives_up_its_reason_pins() {
    let mut remembered = after(&[]);
    for again in ["UNLISTEN *", "DISCARD ALL"] {
        let both = effects(again.as_bytes());
        remembered.sent(both, 0);
        remembered.sent(effects(b"LISTEN a"), 0);
        remembered.completed(format!("{again}\0").as_bytes());
        remembered.completed(b"LISTEN\0");
        remembered.ready(TxStatus::Idle, 0);
        assert!(remembered.pinned.pins().contains(Cause::Listen), "{again}");
    }
    play(&mut remembered, &[">DISCARD ALL", "<DISCARD ALL", "I"]);
    assert!(remembered.pinned.is_empty());
}

#[test]
fn reasons_of_the_startup_packet_stay() {
    for startup in [("standard_conforming_strings", "on"), ("search_path", "pg_temp"), ("idle_session_timeout", "1s")] {
        let mut remembered = Remembered::new([7; 32], &Parameters::parse([startup]).unwrap());
        play(&mut remembered, &[">LISTEN a", "<LISTEN", "I", ">DISCARD ALL", "<DISCARD ALL", "I"]);
        assert!(!remembered.pinned.is_empty() && !remembered.pinned.pins().contains(Cause::Listen), "{startup:?}");
    }
}

#[test]
fn a_call_is_remembered_as_a_set_is() {
    let call = "SELECT set_config('a.b', '1', false)";
    let sent = format!(">{call}");
    assert_eq!(statements(&after(&[&sent, "<SELECT 1", "I"])), [call]);
    assert_eq!(statements(&after(&["<BEGIN", "T", &sent, "<SELECT 1", "T", "<ROLLBACK", "I"])), [""; 0]);
    assert_eq!(statements(&after(&[&sent, "!", "I"])), [""; 0]);
    // What completes before it is another one's.
    assert_eq!(statements(&after(&[">SELECT 1", &sent, "<SELECT 1", "I", "!", "I"])), [""; 0]);
}

#[test]
fn what_never_completes_is_taken_for_nothing_else_and_pins() {
    let remembered = after(&[">SET a.b = 1", "<SELECT 1", "I", ">SET c.d = 1", "<SET", "I"]);
    assert_eq!(statements(&remembered), ["SET c.d = 1"]);
    assert!(!remembered.pinned.is_empty());
}

#[test]
fn causes_are_counted() {
    let trace = [
        ">LISTEN a",
        "<LISTEN",
        "I",
        ">SELECT nextval('s')",
        "<SELECT 1",
        "I",
        ">SELECT nextval('s')",
        "<SELECT 1",
        "I",
    ];
    assert_eq!(after(&trace).counts().to_string(), "listen 1, nextval 2");
}

#[test]
fn what_has_a_name_is_given_up_by_it_once_that_is_committed() {
    let (begin, fetch) = ("BEGIN;DECLARE \"c\" CURSOR WITH HOLD FOR SELECT 1;FETCH 10 IN \"c\"", "CLOSE \"c\";COMMIT");
    for (trace, pinned) in [
        (&[">LISTEN a", "<LISTEN", "I", ">UNLISTEN a", "<UNLISTEN", "I"][..], false),
        (&[">LISTEN a", "<LISTEN", "I", ">UNLISTEN b", "<UNLISTEN", "I"], true),
        (
            &[
                ">LISTEN a; LISTEN b",
                "<LISTEN",
                "<LISTEN",
                "I",
                ">UNLISTEN b; UNLISTEN A",
                "<UNLISTEN",
                "<UNLISTEN",
                "I",
            ],
            false,
        ),
        (&[">LISTEN a", "<LISTEN", "I", "<BEGIN", "T", ">UNLISTEN a", "<UNLISTEN", "T"], true),
        (&[">LISTEN a", "<LISTEN", "I", "<BEGIN", "T", ">UNLISTEN a", "<UNLISTEN", "T", "<ROLLBACK", "I"], true),
        (&[">LISTEN a", "<LISTEN", "I", ">UNLISTEN a; LISTEN a", "<UNLISTEN", "<LISTEN", "I"], true),
        (&[">LISTEN a", "<LISTEN", "I", ">UNLISTEN a", ">LISTEN a", "<UNLISTEN", "I", "<LISTEN", "I"], true),
        (&[">LISTEN a", "<LISTEN", "I", ">UNLISTEN a; SELECT 1 / 0", "<UNLISTEN", "!", "I"], true),
        (&[">LISTEN a; LISTEN b", "<LISTEN", "<LISTEN", "I", ">UNLISTEN *", "<UNLISTEN", "I"], false),
        (
            &[
                &format!(">{begin}"),
                "<BEGIN",
                "<DECLARE CURSOR",
                "<FETCH 1",
                "T",
                &format!(">{fetch}"),
                "<CLOSE CURSOR",
                "<COMMIT",
                "I",
            ],
            false,
        ),
        (&[">PREPARE p AS SELECT 1", "<PREPARE", "I", ">DEALLOCATE p", "<DEALLOCATE", "I"], false),
        (&[">PREPARE p AS SELECT 1", "<PREPARE", "I", ">CLOSE p", "<CLOSE CURSOR", "I"], true),
        // Of what has no name, the names don't tell.
        (&[">DO 'LISTEN a'", "<DO", "I", ">UNLISTEN a", "<UNLISTEN", "I"], true),
    ] {
        assert_eq!(!after(trace).pinned.is_empty(), pinned, "{trace:?}");
    }
    // However much is given up that is not there, or without an end, little is noted of it.
    let mut remembered = after(&[">LISTEN a", "<LISTEN", "I", "<BEGIN", "T"]);
    let texts = [">UNLISTEN a; UNLISTEN b; UNLISTEN a", "<UNLISTEN", "<UNLISTEN", "<UNLISTEN", "T"].repeat(100);
    play(&mut remembered, &texts);
    play(&mut remembered, &[">UNLISTEN a"; 1000]);
    assert_eq!(remembered.pinned.noted(), 1 + 64);

    let mut remembered = after(&[]);
    for number in 0..100 {
        play(&mut remembered, &[&format!(">LISTEN a{number}"), "<LISTEN", "I"]);
    }
    for number in 0..100 {
        play(&mut remembered, &[&format!(">UNLISTEN a{number}"), "<UNLISTEN", "I"]);
    }
    assert!(!remembered.pinned.is_empty(), "so many are not told apart");
    play(&mut remembered, &[">UNLISTEN *", "<UNLISTEN", "I"]);
    assert!(remembered.pinned.is_empty());
}

#[test]
fn a_draw_pins_unless_a_transaction_is_open_when_it_is_answered() {
    let draw = ">SELECT nextval('s')";
    for (trace, expected) in [
        (&[draw, "<SELECT 1", "I"][..], "nextval 1"),
        (&[draw, ">BEGIN", "<SELECT 1", "I", "<BEGIN", "T"], "nextval 1"),
        (&[">BEGIN; SELECT nextval('s'); COMMIT", "<BEGIN", "<SELECT 1", "<COMMIT", "I"], "nextval 1"),
        (&[draw, "<SELECT 1", "I", ">BEGIN", "<BEGIN", "T", draw, "<SELECT 1", "T", "<COMMIT", "I"], "nextval 1"),
        (&["<BEGIN", "T", draw, "<SELECT 1", "T", "<COMMIT", "I"], ""),
        (&[">BEGIN; SELECT nextval('s')", "<BEGIN", "<SELECT 1", "T", "<COMMIT", "I"], ""),
        (&[">BEGIN", draw, "<BEGIN", "T", "<SELECT 1", "T", "<COMMIT", "I"], ""),
        (&["<BEGIN", "T", draw, "!", "E", "<ROLLBACK", "I", ">SELECT 1", "<SELECT 1", "I"], ""),
    ] {
        let remembered = after(trace);
        assert_eq!(remembered.counts().to_string(), expected, "{trace:?}");
        assert_eq!(remembered.pinned.is_empty(), expected.is_empty(), "{trace:?}");
    }
}

#[test]
fn what_is_prepared_draws_when_it_is_run() {
    let mut remembered = after(&[]);
    remembered.prepared(&effects(b"SELECT nextval('s'), currval('t')"));
    assert_eq!(remembered.counts().to_string(), "currval 1");
    remembered.executed(effects(b"SELECT nextval('s')"), 0);
    remembered.ready(TxStatus::Idle, 0);
    assert_eq!(remembered.counts().to_string(), "nextval 1, currval 1");
}

#[test]
fn too_many_settings_pin() {
    let mut remembered = after(&[]);
    for number in 0..MOST_SETTINGS {
        play(&mut remembered, &[&format!(">SET a.b{number} = 1"), "<SET", "I"]);
    }
    assert!(remembered.pinned.is_empty());
    play(&mut remembered, &[">SET a.c = 1", "<SET", "I"]);
    assert!(!remembered.pinned.is_empty() && statements(&remembered).len() == MOST_SETTINGS);
    let long = format!("SET a.b = '{}'", "x".repeat(MOST_BYTES));
    assert!(!after(&[&format!(">{long}"), "<SET", "I"]).pinned.is_empty());
}

#[test]
fn the_tenant_is_the_identity_and_what_is_set() {
    let (empty, set) = (after(&[]), after(&[">SET a.b = 1", "<SET", "I"]));
    assert_ne!(empty.tenant(), set.tenant());
    assert_eq!(
        set.tenant(),
        after(&[">SET c.d = 1", "<SET", "I", ">SET a.b = 1", "<SET", "I", ">RESET c.d", "<RESET", "I"]).tenant()
    );
    let startup = Parameters::parse([("TimeZone", "UTC")]).unwrap();
    assert_ne!(empty.tenant(), Remembered::new([7; 32], &startup).tenant());
    assert_ne!(empty.tenant(), Remembered::new([8; 32], &Parameters::default()).tenant());
}
