use super::pins;

/// One text a line, its causes behind `=>`.
fn check(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (text, expected) = line.rsplit_once("=>").unwrap();
        assert_eq!(pins(text), expected.trim(), "{text}");
    }
}

/// None of these pins.
fn check_free(texts: &str) {
    for text in texts.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert_eq!(pins(text), "", "{text}");
    }
}

#[test]
fn what_outlives_the_transaction_pins() {
    check(
        r#"
        LISTEN jobs                                                 => listen
        /* hi */ listen "Jobs";                                     => listen
        SELECT 1; LISTEN a                                          => listen
        CREATE TEMP TABLE t (a int)                                 => temporary object
        create temporary table t as select 1                        => temporary object
        CREATE LOCAL TEMP TABLE t ()                                => temporary object
        CREATE GLOBAL TEMPORARY TABLE t ()                          => temporary object
        CREATE OR REPLACE TEMP VIEW v AS SELECT 1                   => temporary object
        CREATE TEMP SEQUENCE s                                      => temporary object
        CREATE TEMP TABLE t () ON COMMIT DELETE ROWS                => temporary object
        CREATE TEMP TABLE t AS SELECT (a ON COMMIT DROP)            => temporary object
        CREATE TEMP TABLE t () ON COMMIT DROP; CREATE TEMP TABLE u () => temporary object
        CREATE/**/TEMP TABLE t ()                                   => temporary object
        EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1             => temporary object
        SELECT * INTO TEMP x FROM y                                 => temporary object
        SELECT * INTO TEMPORARY TABLE x FROM y                      => temporary object
        SELECT * INTO LOCAL TEMP x FROM y                           => temporary object
        CREATE TABLE pg_temp.t (a int)                              => temporary object
        CREATE TABLE "pg_temp".t (a int)                            => temporary object
        SELECT * FROM PG_TEMP_3.t                                   => temporary object
        SET search_path = pg_temp, public                           => temporary object, setting
        SET search_path = 'PG_TEMP'                                 => setting
        SET LOCAL search_path = 'pg_temp'                           => setting
        SET idle_session_timeout = '10min'                          => setting
        PREPARE p AS SELECT 1                                       => prepare
        PREPARE p (int) AS SELECT $1                                => prepare
        PREPARE transaction AS SELECT 1                             => prepare
        PREPARE "transaction" AS SELECT 1                           => prepare
        DECLARE c CURSOR WITH HOLD FOR SELECT 1                     => cursor with hold
        DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT 1              => cursor with hold
        LOAD 'auto_explain'                                         => load
        LOAD E'auto_explain'                                        => load
        "#,
    );
}

#[test]
fn what_is_dropped_with_its_transaction_is_free() {
    check_free(
        "CREATE TEMP TABLE t (a int) ON COMMIT DROP
        create local temporary table if not exists t (like u including all) on /* */ commit drop;
        CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1
        BEGIN; CREATE TEMP TABLE t () ON COMMIT DROP; COPY t FROM STDIN; COMMIT
        DO $$ BEGIN CREATE TEMP TABLE t () ON COMMIT DROP; END $$",
    );
}

#[test]
fn functions_that_leave_something_pin() {
    check(
        r#"
        SELECT pg_advisory_lock(1)                                  => advisory lock
        SELECT pg_advisory_lock_shared(1, 2)                        => advisory lock
        SELECT pg_try_advisory_lock(1)                              => advisory lock
        SELECT pg_catalog . pg_try_advisory_lock_shared /* */ (1)   => advisory lock
        SELECT PG_ADVISORY_LOCK (1)                                 => advisory lock
        SELECT "pg_advisory_lock"(1)                                => advisory lock
        SELECT nextval('s')                                         => nextval
        SELECT setval('s', 1)                                       => nextval
        SELECT currval('s'), lastval()                              => currval
        SELECT setseed(0.5)                                         => random seed
        PREPARE l AS SELECT pg_advisory_lock(11)                    => prepare, advisory lock, unclear statement
        DECLARE c CURSOR FOR SELECT nextval('s')                    => nextval, unclear statement
        PREPARE p AS SELECT set_config('a.b', '1', false)           => prepare, set_config, unclear statement
        DO $$DECLARE i int := 1; BEGIN PERFORM nextval('s'); END$$  => nextval
        SELECT dblink_connect('c', 'host=x')                        => dblink
        SELECT public.dblink_connect_u('c', 'host=x')               => dblink
        SELECT query_to_xml('SELECT 1', true, true, '')             => unclear statement
        SELECT ts_rewrite('a'::tsquery, f || g), ts_stat($1)        => unclear statement
        DO $$BEGIN PERFORM query_to_xmlschema(a, b, c, d); END$$    => unclear statement
        UPDATE pg_settings SET setting = 'x' WHERE name = 'y'       => setting
        UPDATE pg_catalog.pg_settings SET setting = 'x'             => setting
        "#,
    );
    check_free(
        r#"
        SELECT pg_advisory_xact_lock(1)
        SELECT pg_try_advisory_xact_lock(1)
        SELECT pg_advisory_unlock(1)
        SELECT pg_advisory_unlock_all()
        SELECT nextval FROM t
        SELECT "NEXTVAL"(1)
        SELECT a AS setval, (1)
        SELECT 'nextval(1)'
        SELECT dblink('host=x', 'SELECT 1')
        SELECT table_to_xml('t', true, true, ''), to_tsquery('ts_stat(1)'), ts_rank(a, b), ts_stat
        SELECT * FROM pg_settings
        "#,
    );
}

#[test]
fn set_config_pins_unless_its_last_argument_is_true() {
    check_free(
        r#"
        SELECT set_config('request.jwt.claims', '{"a":"b,c)","d":"it''s"}', true)
        SELECT pg_catalog.set_config('a.b', 'c', TRUE), "set_config"('a.b', 'c', 't')
        select set_config('search_path', $1, true), set_config($2, $3, true), set_config('role', $5, true)
        SELECT set_config('a.b', coalesce(f(1, (2)), 'x'), /* local */ true)
        SELECT set_config('a.b', set_config('c.d', 'e', true), true)
        SELECT set_config('a.b', $q$),false)$q$, 'on')
        SELECT 1 WHERE 'set_config(1, 2, false)' = ''
        SELECT set_config FROM t
        "#,
    );
    check(
        r#"
        SELECT set_config('a.b', 'c', false), 1                     => set_config
        SELECT set_config('a.b', 'c', false) FROM t                 => set_config
        SELECT set_config('a.b', 'c', false); SELECT 1              => set_config
        SELECT set_config('a' || '.b', 'c', false)                  => set_config, setting
        SELECT set_config('a.b', $1, false)                         => set_config
        SELECT set_config(E'\x72ole', 'admin', false)               => set_config, setting
        SELECT set_config('search_path', $1, false)                 => set_config, setting
        SELECT set_config('a.b', 'c', false), set_config($1, $2, false) => set_config, setting
        SELECT other.set_config('a.b', 'c', false)                  => set_config
        SELECT set_config('role', 'admin', false)                   => set_config, setting
        SELECT set_config('pgusher.claims', '', false)              => set_config, setting
        SELECT set_config('standard_conforming_strings', 'off', false) => set_config, setting
        SELECT set_config('search_path', 'a, pg_temp', false)       => set_config, setting
        SELECT set_config('idle_session_timeout', '1ms', false)     => set_config, setting
        SELECT SET_CONFIG('a.b', 'c', $1)                           => set_config
        SELECT "set_config"('a.b', 'c', 'f')                        => set_config, setting
        SELECT set_config('a.b', 'c', not true)                     => set_config
        SELECT set_config('a.b', 'c', true and false)               => set_config
        SELECT set_config('a.b', 'c', 1 = 1)                        => set_config
        SELECT set_config('a.b', 'c', f(true))                      => set_config
        SELECT set_config('a.b', 'c', E'\x66')                      => set_config
        SELECT set_config('a.b', 'c', "true")                       => set_config
        SELECT set_config('a.b', set_config('c.d', 'e', false), true) => set_config
        SELECT set_config('a.b', set_config('c.d', 'e', true), false) => set_config
        "#,
    );
    assert_eq!(pins("SELECT set_config -- why\n ('a', 'b', 0)"), "set_config");
    let deep = "set_config('a', ".repeat(9) + "'b'" + &", true)".repeat(9);
    assert_eq!(pins(&deep), "set_config, setting");
}

#[test]
fn who_one_is_pins() {
    check(
        r#"
        SET ROLE admin                                              => role
        SET ROLE 'admin'                                            => role
        SET SESSION ROLE admin                                      => role
        SET role = admin                                            => role
        SET "Role" TO DEFAULT                                       => role
        SET SESSION AUTHORIZATION x                                 => role
        SET session_authorization TO x                              => role
        SET request.jwt.claims = '{}'                               => claims
        SET SESSION "Request".jwt.claim.sub TO 'x'                  => claims
        SET pgusher.x = 'y'                                         => claims
        "#,
    );
    check_free(
        "SET LOCAL ROLE admin
        SET LOCAL SESSION AUTHORIZATION x
        RESET ROLE
        RESET SESSION AUTHORIZATION
        SET SESSION AUTHORIZATION DEFAULT
        SET SESSION SESSION AUTHORIZATION DEFAULT
        SET LOCAL request.jwt.claims = '{}'
        RESET pg_session_jwt.jwk",
    );
}

#[test]
fn what_cannot_be_replayed_or_told_pins() {
    check(
        r#"
        SET work_mem FROM CURRENT                                   => setting
        SET standard_conforming_strings = off                       => setting
        SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, DEFERRABLE => setting
        SET seed = 0.5                                              => random seed
        SET a.b                                                     => unclear statement
        SET U&"work\005fmem" = '1MB'                                => unclear statement
        SELECT U&"set\005fconfig"('a', 'b', false)                  => unclear statement
        SELECT E'é\\', nextval('s')                                 => nextval, unclear statement
        "#,
    );
    let long = format!("SET a.b = '{}'", "x".repeat(5000));
    assert_eq!(pins(&long), "setting");
    assert_eq!(pins(&long.replace("SET", "SET LOCAL")), "");
    assert_eq!(pins(&format!("SELECT ${0}$ x ${0}$", "t".repeat(70))), "unclear statement");
}

#[test]
fn bodies_are_looked_into() {
    check(
        r#"
        DO $$ BEGIN PERFORM set_config('a.b', 'c', false); END $$   => set_config, setting
        DO LANGUAGE plpgsql $x$BEGIN SET a.b = 1; END$x$            => setting
        DO 'BEGIN SET ROLE x; END'                                  => role
        DO $$BEGIN IF a THEN LISTEN x; END IF; END$$                => listen
        DO $$BEGIN IF a THEN b(); ELSE LOAD 'x'; END IF; END$$      => load
        DO $$BEGIN LOOP CREATE TEMP TABLE t(); END LOOP; END$$      => temporary object
        DO $$BEGIN EXECUTE 'CREATE TEMP TABLE t()'; END$$           => temporary object
        DO $$BEGIN EXECUTE format('LISTEN %I', x); END$$            => listen
        DO 'BEGIN EXECUTE ''SET a.b = ''''c''''''; END'             => setting
        DO E'BEGIN EXECUTE \'PREPARE p AS SELECT 1\'; END'          => prepare
        DO E'BEGIN PERFORM \156extval(1); END'                      => unclear statement
        DO $$BEGIN EXECUTE q; END$$                                 => unclear statement
        DO $$BEGIN RETURN QUERY EXECUTE 'SELECT nextval(1)'; END$$  => nextval
        DO $$BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'; END$$ => cursor with hold
        DO $$BEGIN DEALLOCATE ALL; END$$                            => prepare
        DO $$BEGIN RESET a.b; END$$                                 => setting
        DO LANGUAGE plpython3u $$plpy.execute("LISTEN a")$$         => unclear statement
        CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT setval(''s'', 1)' => nextval
        CREATE OR REPLACE PROCEDURE p() AS $$BEGIN SET a.b = 1; END$$ LANGUAGE plpgsql => setting
        CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1' => temporary object
        DO $a$BEGIN DO $b$BEGIN DO $c$BEGIN DO $d$BEGIN DO $e$ $e$ END$d$ END$c$ END$b$ END$a$ => unclear statement
        "#,
    );
    check_free(
        r#"
        DO $$ BEGIN UPDATE t SET x = 1; SET LOCAL a.b = 1; PERFORM set_config('a.b', 'c', true); END $$
        DO $$BEGIN EXECUTE 'ALTER TABLE t ADD a int'; RAISE NOTICE 'LISTEN a'; GRANT EXECUTE ON FUNCTION f TO x; END$$
        DO $$BEGIN -- SET a = 1; LISTEN b
        DO $$BEGIN INSERT INTO t VALUES ('SET x = 1') ON CONFLICT DO UPDATE SET a = 1; END$$
        CREATE FUNCTION f(a text DEFAULT 'load') RETURNS int SET search_path = pg_catalog, pg_temp AS 'SELECT 1'
        CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END
        ALTER FUNCTION f() SET search_path = pg_catalog, pg_temp
        CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()
        "#,
    );
}

#[test]
fn ordinary_statements_do_not_pin() {
    check_free(
        r#"
        SELECT 1
        BEGIN; UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 2; END;
        SELECT "u"."id" AS "listen" FROM "public"."users" AS "u" WHERE ("u"."id" = $1 AND 1=1) LIMIT $2 OFFSET $3
        INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = excluded.a RETURNING *
        INSERT INTO temp (a) SELECT 1
        MERGE INTO temp USING s ON true WHEN MATCHED THEN UPDATE SET a = 1
        SELECT a INTO t FROM b
        CREATE TABLE temp (temp int, load int, listen text)
        CREATE TABLE t (id serial PRIMARY KEY)
        WITH prepare AS (SELECT 1), set AS (SELECT 2) SELECT * FROM prepare, set
        PREPARE TRANSACTION 'x'
        DECLARE c CURSOR FOR SELECT 1
        DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1
        SELECT 'LISTEN a; SET b = 1; CREATE TEMP TABLE t()'
        SELECT 'it''s; LISTEN a', E'\'; LISTEN b', $x$'; LISTEN c$x$, "a""; LISTEN d"
        SELECT 'a\'; /* LISTEN; /* nested */ ; LISTEN a */ SELECT B'1', X'f', N'x', U&'\0041; LISTEN'
        SELECT E'a\\'; SELECT '; LISTEN a'
        SELECT 1 -- ; LISTEN a
        SELECT a$b$c; SELECT $1$2, 1e5, 0x1f, 1_000 FROM a$b$c
        SELECT $$;LISTEN a$$, $é$ ; LISTEN a $e$ $é$
        COMMENT ON TABLE t IS 'LISTEN'
        CREATE RULE r AS ON INSERT TO t DO (SELECT 1; LISTEN a)
        COPY t FROM STDIN
        UNLISTEN *; NOTIFY a; CLOSE c; COMMIT
        ALTER SYSTEM SET work_mem = 1; ALTER ROLE r SET a.b = 1; ALTER DATABASE d RESET ALL
        EXPLAIN ANALYZE SELECT 1
        SELECT E'a' 'b'
        "#,
    );
    assert_eq!(pins("SELECT E'a'\n'\\'; LISTEN x'"), "");
    assert_eq!(pins("SELECT 1 -- it's\n; LISTEN a"), "listen");
    assert_eq!(pins(""), "");
}
