use crate::effect::effects;

/// What pools of drivers send when somebody leaves.
const NPGSQL: &str = "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();\
    DISCARD SEQUENCES;DISCARD TEMP";
const DEADPOOL: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES;";

fn releases(text: &str) -> String {
    effects(text.as_bytes()).releases.to_string()
}

#[test]
fn what_gives_up_all_of_a_kind_gives_up_its_reason() {
    for (text, expected) in [
        ("UNLISTEN *", "listen"),
        ("CLOSE ALL", "cursor with hold"),
        ("DEALLOCATE ALL", "prepare"),
        ("deallocate prepare all", "prepare"),
        ("RESET ALL", "set_config"),
        ("DISCARD SEQUENCES", "nextval, currval"),
        ("DISCARD TEMPORARY", "temporary object"),
        ("SET SESSION AUTHORIZATION DEFAULT", "role"),
        ("RESET SESSION AUTHORIZATION; RESET ROLE; DISCARD PLANS", "role"),
        ("SELECT pg_advisory_unlock_all()", "advisory lock"),
        ("select PG_CATALOG . pg_advisory_unlock_all ( ) ;;", "advisory lock"),
        (
            "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
            "listen, cursor with hold, advisory lock, set_config",
        ),
    ] {
        assert_eq!(releases(text), expected, "{text}");
    }
    for of_drivers in [NPGSQL, DEADPOOL] {
        assert_eq!(
            releases(of_drivers),
            "listen, temporary object, cursor with hold, advisory lock, set_config, nextval, currval, role"
        );
        assert!(effects(of_drivers.as_bytes()).pins.is_empty());
    }
    assert!(
        releases("DISCARD ALL").starts_with("listen, ") && releases("DISCARD ALL").ends_with(", unclear statement")
    );
}

#[test]
fn what_may_give_up_less_gives_up_nothing() {
    for text in [
        "UNLISTEN jobs",
        "CLOSE c",
        "DEALLOCATE p",
        "RESET work_mem",
        "UNLISTEN *; ROLLBACK",
        "BEGIN; UNLISTEN *; COMMIT",
        "SELECT pg_advisory_unlock_all() WHERE false",
        "SELECT pg_advisory_unlock(1)",
        "SELECT mine.pg_advisory_unlock_all()",
        "SELECT pg_advisory_unlock_all(), 1",
        "EXPLAIN SELECT pg_advisory_unlock_all()",
        "SELECT 'UNLISTEN *'",
        "-- UNLISTEN *",
    ] {
        assert_eq!(releases(text), "", "{text}");
    }
}
