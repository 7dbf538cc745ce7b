//! Random statements. What they do depends on the session and the tables of their own database alone: no time, no
//! numbers of processes or objects.

use pgusher_tests::Random;

/// What makes the database what a trace finds, whatever was before. The superuser runs it.
pub(super) const RESTORE: &str = "TRUNCATE items; INSERT INTO items VALUES (1, 'one'), (2, 'two'), (3, 'three'); \
     SELECT setval('numbers', 100); SELECT lo_unlink(oid) FROM pg_largeobject_metadata; \
     TRUNCATE shapes; ALTER TABLE shapes DROP COLUMN IF EXISTS m; ALTER TABLE shapes ALTER n TYPE int";

/// What the database of each side has.
pub(super) const TABLES: &str = "
    CREATE TABLE items (id int, name text, UNIQUE (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE others (id int, name text);
    CREATE TABLE shapes (n int);
    GRANT ALL ON shapes TO authenticated;
    CREATE SEQUENCE numbers;
    CREATE SEQUENCE numbers_of_others;
    ALTER SEQUENCE numbers_of_others OWNER TO authenticated;
    ALTER TABLE others OWNER TO authenticated;
    GRANT CREATE ON SCHEMA public TO authenticated;
    ALTER TABLE items OWNER TO authenticated;
    ALTER SEQUENCE numbers OWNER TO authenticated;";

/// Settings, and values for them; the first four are reported.
pub(super) const SETTINGS: [(&str, [&str; 2]); 12] = [
    ("application_name", ["one", "two"]),
    ("TimeZone", ["Asia/Tokyo", "UTC"]),
    ("DateStyle", ["German", "SQL, MDY"]),
    ("IntervalStyle", ["iso_8601", "postgres_verbose"]),
    ("search_path", ["pg_catalog", "public, pg_temp"]),
    ("statement_timeout", ["1h", "2h"]),
    ("work_mem", ["1MB", "2MB"]),
    ("bytea_output", ["escape", "hex"]),
    ("extra_float_digits", ["0", "1"]),
    ("client_min_messages", ["warning", "error"]),
    ("default_transaction_isolation", ["serializable", "repeatable read"]),
    ("lock_timeout", ["1h", "nonsense"]),
];

const TRANSACTIONS: [&str; 13] = [
    "BEGIN",
    "BEGIN",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "START TRANSACTION",
    "COMMIT",
    "COMMIT",
    "END",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
];

const QUERIES: [&str; 12] = [
    "SELECT id, name FROM items ORDER BY id, name",
    "SELECT count(*) FROM items",
    "SELECT generate_series(1, 4)",
    "SELECT 1 AS one, NULL AS nothing, 'text' AS text",
    "SELECT",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT '2001-02-03 04:05:06+00'::timestamptz, '1 day 2 hours'::interval",
    "SELECT '\\x00ff'::bytea, 0.1::float8 + 0.2",
    "SELECT nextval('numbers')",
    "SELECT currval('numbers')",
    "SELECT id FROM items WHERE id > 9 ORDER BY id",
    "",
];

const CHANGES: [&str; 6] = [
    "INSERT INTO items VALUES (10, 'ten')",
    "INSERT INTO items VALUES (1, 'one again')",
    "UPDATE items SET name = name || '!' WHERE id < 3",
    "DELETE FROM items WHERE id = 2 RETURNING id",
    "COPY (SELECT id, name FROM items ORDER BY id, name) TO STDOUT",
    "SET CONSTRAINTS ALL IMMEDIATE",
];

const FAILURES: [&str; 8] = [
    "SELECT 1 / 0",
    "SELECT nothing",
    "SELECT FROM nowhere",
    "SELEC",
    "DO $$ BEGIN RAISE NOTICE 'look'; RAISE WARNING 'careful'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION 'and out' USING ERRCODE = 'P1234', HINT = 'none'; END $$",
    "SELECT lo_get(1)",
    "SET nonsense TO nonsense TO",
];

const STATE: [&str; 27] = [
    "CREATE TEMP TABLE pocket (n int)",
    "CREATE TEMP TABLE pocket (n int) ON COMMIT DROP",
    "CREATE TEMP TABLE IF NOT EXISTS pocket AS SELECT 1 AS n",
    "INSERT INTO pocket VALUES (7)",
    "SELECT n FROM pocket",
    "DROP TABLE pocket",
    "DECLARE cursor CURSOR FOR SELECT generate_series(1, 9)",
    "DECLARE cursor CURSOR WITH HOLD FOR SELECT generate_series(11, 19)",
    "FETCH 2 FROM cursor",
    "MOVE 1 FROM cursor",
    "CLOSE cursor",
    "CLOSE ALL",
    "PREPARE sql_a AS SELECT 'by SQL'",
    "PREPARE sql_b (int) AS SELECT $1 + 1",
    "EXECUTE sql_a",
    "EXECUTE sql_b (1)",
    "DEALLOCATE sql_a",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "LISTEN doors",
    "NOTIFY doors, 'open'",
    "UNLISTEN *",
    "SELECT pg_advisory_lock(7)",
    "SELECT pg_advisory_unlock(7)",
    "SELECT pg_advisory_unlock_all()",
    "SELECT pg_advisory_xact_lock(8)",
    "SELECT lo_create(4343)",
];

const RESETS: [&str; 5] = ["RESET ALL", "DISCARD ALL", "DISCARD PLANS", "DISCARD TEMP", "DISCARD SEQUENCES"];

const ROLES: [&str; 5] = [
    "SET ROLE NONE",
    "SET ROLE authenticated",
    "SET role TO DEFAULT",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SELECT current_user, session_user",
];

const READS_ONLY: [&str; 5] = [
    "BEGIN READ ONLY",
    "SET TRANSACTION READ ONLY",
    "SET default_transaction_read_only = on",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SHOW transaction_read_only",
];

/// What a trace's statements are chosen from besides what all are. These do not go together: the proxy sets the claims
/// again after any RESET, which cannot be done by the login role, nor, once sequences are discarded, by a session that only
/// reads; it ends such a session, and Postgres does not.
#[derive(Clone, Copy)]
pub(super) enum Sql {
    /// Resets and discards.
    Resets,
    /// Transactions that only read.
    Reads,
    /// Changes of the role.
    Roles,
}

impl Sql {
    /// One of the three.
    pub(super) fn choose(random: &mut Random) -> Self {
        *random.pick(&[Self::Resets, Self::Reads, Self::Roles])
    }

    /// A statement.
    pub(super) fn any(self, random: &mut Random) -> String {
        let list: &[&str] = match random.below(20) {
            0..4 => &TRANSACTIONS,
            4..8 => &QUERIES,
            8..10 => &CHANGES,
            10 => &FAILURES,
            11..14 => &STATE,
            14 | 15 => match self {
                Self::Resets => &RESETS,
                Self::Reads => &READS_ONLY,
                Self::Roles => &ROLES,
            },
            _ => return self.setting(random),
        };
        (*random.pick(list)).to_owned()
    }

    /// Something about a setting.
    fn setting(self, random: &mut Random) -> String {
        let (name, values) = random.pick(&SETTINGS);
        let value: &&str = random.pick(values);
        let value = literal(value);
        // A list of names is not one name.
        let value = if *name == "search_path" { value.replace('\'', "") } else { value };
        match random.below(8) {
            0..3 => format!("SET {name} = {value}"),
            3 => format!("SET LOCAL {name} = {value}"),
            4 if !matches!(self, Self::Roles) => format!("RESET {name}"),
            4 | 5 => format!("SET {name} TO DEFAULT"),
            6 => format!("SELECT set_config({}, {}, false)", literal(name), literal(values[0])),
            _ => format!("SHOW {name}"),
        }
    }
}

/// A statement with one parameter.
pub(super) fn with_parameter(random: &mut Random) -> String {
    let list = [
        "SELECT $1::int + 1",
        "SELECT id, name FROM items WHERE id = $1 ORDER BY name",
        "INSERT INTO items VALUES ($1, 'bound')",
    ];
    (*random.pick(&list)).to_owned()
}

/// A statement to be prepared, most often about the table that others alter.
pub(super) fn to_prepare(random: &mut Random) -> String {
    let list = [
        "SELECT * FROM shapes ORDER BY n",
        "SELECT n FROM shapes WHERE n = $1",
        "INSERT INTO shapes (n) VALUES ($1) RETURNING *",
        "WITH all_shapes AS (SELECT * FROM shapes) SELECT count(*) FROM all_shapes",
        "UPDATE shapes SET n = n + 1",
        "SELECT $1::int + 1",
        "SELECT id, name FROM items WHERE id = $1 ORDER BY name",
        "INSERT INTO items VALUES ($1, 'bound')",
    ];
    (*random.pick(&list)).to_owned()
}

/// The same statement with the schema of its tables.
pub(super) fn in_schema(sql: &str) -> String {
    sql.replace(" items", " public.items").replace(" shapes", " public.shapes")
}

/// What the superuser does to that table.
pub(super) fn alteration(random: &mut Random) -> &'static str {
    let list: [&'static str; 4] = [
        "ALTER TABLE shapes ADD IF NOT EXISTS m text",
        "ALTER TABLE shapes DROP IF EXISTS m",
        "ALTER TABLE shapes ALTER n TYPE bigint",
        "ALTER TABLE shapes ALTER n TYPE int",
    ];
    random.pick::<&'static str>(&list)
}

/// A text in quotes.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
