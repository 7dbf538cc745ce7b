//! The identity canary on a small scale, and that it sees what it is there to see.

use pgusher_tests::canary::check::{Marker, Outcome, Who, check};
use pgusher_tests::canary::flight::{Batch, Statement, Way};
use pgusher_tests::canary::report::{Kind, Violation};
use pgusher_tests::canary::{Limit, Plan, Policy};
use pgusher_tests::{Message, message};

#[tokio::test]
async fn nobody_sees_what_is_somebody_elses_while_clients_and_servers_are_killed() {
    let report = Plan::small(1).run().await;
    assert!(report.violations().is_empty(), "{report}");
    assert!(report.count("rows") > 1_000 && !report.faults().is_empty(), "{report}");
}

#[tokio::test]
async fn the_canary_finds_a_leak_where_there_is_one() {
    let plan = Plan { policy: Policy::Everybody, limit: Limit::Statements(2_000), faults: false, ..Plan::small(2) };
    let report = plan.run().await;
    assert!(report.violations().iter().any(|violation| violation.kind == Kind::ForeignRow), "{report}");
}

/// Alice, whose connection sets values that begin with `alice/1/`.
fn alice() -> Who {
    Who { subject: "alice".to_owned(), prefix: "alice/1/".to_owned(), cancels: false, faults: false }
}

/// A statement of hers that returns one row, while her setting is `alice/1/7`.
fn statement() -> Statement {
    Statement {
        nonce: "alice/1/8".to_owned(),
        label: "alice/1/8".to_owned(),
        rows: Some(1),
        marker: Marker::Exactly(Some("alice/1/7".to_owned())),
        ..Statement::command("SELECT …", "SELECT")
    }
}

/// A row's columns, as they have to be.
const ROW: [&str; 7] = ["alice/1/8", "alice", "authenticated", "alice/1/7", "alice/1/8", "alice", "alice#x"];

fn row(columns: &[&str]) -> Message {
    let sized = |column: &&str| [&(column.len() as u32).to_be_bytes()[..], column.as_bytes()].concat();
    let columns: Vec<u8> = columns.iter().flat_map(sized).collect();
    Message { tag: b'D', body: [&[0, 7][..], &columns].concat() }
}

fn done() -> Message {
    Message { tag: b'C', body: b"SELECT 1\0".to_vec() }
}

fn ready() -> Message {
    Message { tag: b'Z', body: b"I".to_vec() }
}

fn error(sqlstate: &str) -> Message {
    Message { tag: b'E', body: format!("SFATAL\0C{sqlstate}\0Mplanted\0\0").into_bytes() }
}

fn judge(who: &Who, answer: &[Message], shaken: bool) -> Result<Outcome, Violation> {
    check(who, &Batch { way: Way::Simple, statements: vec![statement()] }, answer, shaken)
}

#[test]
fn the_judge_accepts_what_was_asked_for() {
    let outcome = judge(&alice(), &[row(&ROW), done(), ready()], false).expect("no violation");
    assert_eq!((outcome.rows, outcome.status), (1, Some(b'I')));
}

#[test]
fn the_judge_sees_each_column_that_is_not_the_clients() {
    for (column, value, kind) in [
        (0, "alice/1/9", Kind::MixedAnswer),
        (0, "alice/2/8", Kind::MixedAnswer),
        (1, "bob", Kind::WrongSubject),
        (1, "", Kind::WrongSubject),
        (2, "pgusher_authenticated", Kind::WrongRole),
        (3, "bob/1/7", Kind::WrongState),
        (3, "alice/1/6", Kind::WrongState),
        (3, "", Kind::WrongState),
        (4, "alice/1/7", Kind::MixedAnswer),
        (5, "bob", Kind::ForeignRow),
        (6, "bob#x", Kind::ForeignRow),
        (6, "alice2#x", Kind::ForeignRow),
    ] {
        let mut columns = ROW;
        columns[column] = value;
        let violation = judge(&alice(), &[row(&columns), done(), ready()], false).expect_err(value);
        assert_eq!(violation.kind, kind, "{}", violation.text);
    }
}

#[test]
fn a_fault_excuses_a_lost_setting_but_no_foreign_one_and_no_foreign_row() {
    let seen = |column: usize, value| {
        let mut columns = ROW;
        columns[column] = value;
        judge(&alice(), &[row(&columns), done(), ready()], true).map_err(|violation| violation.kind)
    };
    assert!(seen(3, "").is_ok() && seen(3, "alice/1/6").is_ok());
    assert_eq!(seen(3, "alice/2/7"), Err(Kind::WrongState));
    assert_eq!(seen(0, "alice/1/9"), Err(Kind::MixedAnswer));
    assert_eq!(seen(1, "bob"), Err(Kind::WrongSubject));
    assert_eq!(seen(5, "bob"), Err(Kind::ForeignRow));
}

#[test]
fn the_judge_sees_answers_that_are_missing_or_too_many_or_another_statements() {
    let other = Message { tag: b'C', body: b"UPDATE 1\0".to_vec() };
    let unknown = Message { tag: b'W', body: Vec::new() };
    for answer in [
        &[ready()][..],
        &[done(), ready()],
        &[row(&ROW), row(&ROW), done(), ready()],
        &[row(&ROW), done(), done(), ready()],
        &[row(&ROW), done(), row(&ROW), ready()],
        &[row(&ROW), other, ready()],
        &[row(&ROW[..6]), done(), ready()],
        &[unknown, row(&ROW), done(), ready()],
    ] {
        let violation = judge(&alice(), answer, false).expect_err("not an answer to this");
        assert_eq!(violation.kind, Kind::MixedAnswer, "{answer:?}: {}", violation.text);
    }
}

#[test]
fn errors_have_to_be_explained_by_a_fault_or_the_clients_own_cancel() {
    let seen = |cancels, faults, shaken, sqlstate| {
        let who = Who { cancels, faults, ..alice() };
        judge(&who, &[error(sqlstate), ready()], shaken).map_err(|violation| violation.kind)
    };
    let unexpected = Err(Kind::UnexpectedError);
    assert_eq!(seen(false, true, true, "57014"), unexpected, "another's cancel");
    assert!(seen(true, true, false, "57014").is_ok());
    assert_eq!(seen(true, false, false, "57P01"), unexpected, "nobody terminates anything");
    assert!(seen(false, true, false, "57P01").is_ok());
    assert_eq!(seen(true, true, false, "25P02"), unexpected, "nothing failed before");
    assert!(seen(false, true, true, "25P02").is_ok());
    for never in ["42P05", "42P07", "26000"] {
        assert_eq!(seen(true, true, false, never), unexpected, "{never}: another's statement or table");
    }
}

#[test]
fn a_notification_for_somebody_else_is_seen() {
    let heard = |channel: &str| {
        let body = [&[0, 0, 0, 9][..], channel.as_bytes(), b"\0word\0"].concat();
        judge(&alice(), &[Message { tag: b'A', body }, row(&ROW), done(), ready()], false)
    };
    assert_eq!(heard("alice/1/").expect("her own").notifications.len(), 1);
    assert_eq!(heard("bob/1/").expect_err("not hers").kind, Kind::WrongState);
}

#[test]
fn what_is_sent_is_what_is_judged() {
    let batch = Batch::simple(vec![statement(), statement()]);
    let flight = pgusher_tests::canary::flight::Flight(vec![batch]);
    assert_eq!(flight.bytes(), message(b'Q', "SELECT …; SELECT …\0".as_bytes()));
    assert_eq!(flight.len(), 2);
}
