use super::changes;

fn check(table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(changes(text), [*expected], "{text}");
    }
}

#[test]
fn every_spelling_of_a_setting_is_known_by_one_name() {
    check(&[
        ("SET work_mem = '1MB'", "set work_mem: SET work_mem = '1MB'"),
        (" /* a */ set Session \"Work_Mem\" to 5 ; -- b", "set work_mem: set Session \"Work_Mem\" to 5"),
        ("SET sort_mem = 5", "set work_mem: SET sort_mem = 5"),
        ("SET a . B.c = d, 'e;f', -1 -- g", "set a.b.c: SET a . B.c = d, 'e;f', -1"),
        ("SET TIME ZONE 'Europe/Rome'", "set timezone: SET TIME ZONE 'Europe/Rome'"),
        ("SET SESSION TIME ZONE -7", "set timezone: SET SESSION TIME ZONE -7"),
        ("SET TIME ZONE INTERVAL '1' HOUR", "set timezone: SET TIME ZONE INTERVAL '1' HOUR"),
        ("SET TimeZone TO UTC", "set timezone: SET TimeZone TO UTC"),
        ("SET NAMES 'utf8'", "set client_encoding: SET NAMES 'utf8'"),
        ("SET SCHEMA 'a'", "set search_path: SET SCHEMA 'a'"),
        ("SET XML OPTION DOCUMENT", "set xmloption: SET XML OPTION DOCUMENT"),
        (
            "SET standard_conforming_strings = on",
            "set standard_conforming_strings: SET standard_conforming_strings = on",
        ),
        ("SET local.a = 1", "set local.a: SET local.a = 1"),
        ("SET names.a = 1", "set names.a: SET names.a = 1"),
    ]);
}

#[test]
fn characteristics_are_known_by_what_they_set() {
    for (modes, name) in [
        ("ISOLATION LEVEL REPEATABLE READ", "default_transaction_isolation"),
        ("isolation level serializable", "default_transaction_isolation"),
        ("READ ONLY", "default_transaction_read_only"),
        ("NOT DEFERRABLE", "default_transaction_deferrable"),
    ] {
        let text = format!("SET SESSION CHARACTERISTICS AS TRANSACTION {modes}");
        assert_eq!(changes(&text), [format!("set {name}: {text}")]);
    }
}

#[test]
fn a_reset_is_no_set() {
    check(&[
        ("RESET work_mem", "reset work_mem"),
        ("SET \"A\".b TO DEFAULT", "reset a.b"),
        ("SET TIME ZONE LOCAL", "reset timezone"),
        ("SET TIME ZONE DEFAULT", "reset timezone"),
        ("RESET TIME ZONE", "reset timezone"),
        ("SET NAMES", "reset client_encoding"),
        ("SET NAMES DEFAULT", "reset client_encoding"),
        ("RESET ALL", "reset all"),
        ("DISCARD ALL", "discard all"),
        ("DISCARD PLANS", "discard part"),
        ("DISCARD SEQUENCES", "discard part"),
        ("discard temp", "discard part"),
        ("DISCARD TEMPORARY", "discard part"),
        ("DEALLOCATE ALL", "deallocate all"),
        ("DEALLOCATE PREPARE ALL", "deallocate all"),
        ("DEALLOCATE \"ALL\"", "deallocate ALL"),
        ("DEALLOCATE Foo", "deallocate foo"),
        ("DEALLOCATE PREPARE \"Foo \"\"x\"", "deallocate Foo \"x"),
        ("DEALLOCATE prepare", "deallocate prepare"),
    ]);
}

#[test]
fn what_leaves_nothing_behind_still_counts() {
    for text in [
        "SET LOCAL work_mem = 5",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION TRANSACTION READ ONLY",
        "SET TRANSACTION SNAPSHOT 'x'",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET transaction_read_only = on",
        "RESET TRANSACTION ISOLATION LEVEL",
        "SET ROLE x",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION x",
        "SET request.jwt.claims = 'x'",
        "SET a FROM CURRENT",
        "SET",
    ] {
        assert_eq!(changes(text), ["nothing"], "{text}");
    }
}

#[test]
fn changes_come_in_the_order_of_their_statements() {
    let text = "SET a.b = 1;;SELECT ';'; SET LOCAL c.d = 2; UPDATE t SET x = 1; RESET a.b; DEALLOCATE p";
    assert_eq!(changes(text), ["set a.b: SET a.b = 1", "nothing", "reset a.b", "deallocate p"]);
}

#[test]
fn what_runs_within_a_body_has_no_tag() {
    assert!(changes("DO $$BEGIN SET a.b = 1; SET LOCAL c.d = 2; END$$").is_empty());
}

#[test]
fn changes_beyond_a_bound_are_not_told() {
    assert_eq!(changes(&"RESET a;".repeat(2000)).len(), 1024);
    assert_eq!(super::pins(&"RESET a;".repeat(2000)), "setting");
}

#[test]
fn a_call_of_set_config_and_nothing_else_sets_as_set_does() {
    check(&[
        ("SELECT set_config('TimeZone', 'UTC', false)", "call timezone: SELECT set_config('TimeZone', 'UTC', false)"),
        (
            "select pg_catalog.SET_CONFIG('a.b', 'it''s', FALSE) ; -- c",
            "call a.b: select pg_catalog.SET_CONFIG('a.b', 'it''s', FALSE) ; -- c",
        ),
        ("SELECT set_config('a.b', '', false)\0", "call a.b: SELECT set_config('a.b', '', false)"),
        ("SELECT set_config('sort_mem', '1', false)", "call work_mem: SELECT set_config('sort_mem', '1', false)"),
    ]);
}
