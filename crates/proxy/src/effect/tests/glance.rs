//! A first look must not call harmless what has effects, whatever hides it.

use super::super::glance::is_harmless;
use super::super::{Effects, Reader};

/// What texts are made of here: every word that means something, and what may stand around it.
const PIECES: [&str; 77] = [
    "set",
    "SET_CONFIG",
    "set_config(",
    "setval",
    "select",
    "from",
    "t",
    "1",
    "1e5",
    "$1",
    "$$",
    "$a$",
    "$",
    "'",
    "''",
    "\"",
    "e'",
    "E'\\'",
    "u&'",
    "U&\"",
    "\\",
    "&",
    "--",
    "\n",
    "/*",
    "*/",
    "(",
    ")",
    ",",
    ";",
    ".",
    "::",
    " ",
    " ",
    " ",
    "reset",
    "discard",
    "all",
    "deallocate",
    "listen",
    "load",
    "prepare",
    "transaction",
    "declare",
    "hold",
    "with",
    "create",
    "temp",
    "temporary",
    "pg_temp",
    "pg_temp_3",
    "pg_settings",
    "update",
    "into",
    "do",
    "execute",
    "explain",
    "alter",
    "function",
    "language",
    "plpgsql",
    "as",
    "begin",
    "nextval(",
    "currval",
    "setseed(",
    "dblink_connect(",
    "dblink_connect_u(",
    "query_to_xml(",
    "ts_stat(",
    "pg_advisory_lock(",
    "pg_try_advisory_lock_shared(",
    "true",
    "false",
    "\u{e9}",
    "_x",
    "x$y",
];

fn read(text: &[u8]) -> Effects {
    let mut reader = Reader::default();
    reader.read(text);
    reader.finish()
}

#[test]
fn what_is_called_harmless_has_no_effects() {
    // Numbers that are the same in every run, as good as random: Knuth's MMIX generator.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut harmless = 0;
    for _ in 0..200_000 {
        let length = 1 + random(6);
        let text: String = (0..length).map(|_| PIECES[random(PIECES.len())]).collect();
        if is_harmless(text.as_bytes()) {
            harmless += 1;
            assert_eq!(read(text.as_bytes()), Effects::default(), "{text:?}");
        }
    }
    assert!(harmless > 10_000, "the look is worth something: {harmless}");
}

#[test]
fn ordinary_statements_are_harmless() {
    for text in [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;",
        "select id, task from todos where user_id = $1 and not is_complete order by id limit 10",
        "insert into todos (user_id, task) values ($1, 'it''s late') returning id",
        "WITH x AS (SELECT 1) DELETE FROM t USING x WHERE \"t\".\"id\" = 1",
        "BEGIN",
        "COMMIT",
        "",
    ] {
        assert!(is_harmless(text.as_bytes()), "{text}");
    }
}
