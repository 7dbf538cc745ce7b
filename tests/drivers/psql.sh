#!/usr/bin/env bash
# psql, libpq's own client: the password comes from PGPASSWORD, each check is one session.
# Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB.
set -euo pipefail
export PGPASSWORD=$TOKEN

session() { psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }

expect() { # WHAT EXPECTED ACTUAL
    [[ $3 == "$2" ]] || { printf 'psql: %s: expected "%s", got "%s"\n' "$@" >&2; exit 1; }
}

sees_only_its_own_rows() {
    expect 'rows by a prepared statement' "$SUB" "$(session <<'SQL'
PREPARE owners(bigint) AS SELECT DISTINCT user_id FROM todos WHERE id > $1;
EXECUTE owners(0);
SQL
)"
}

runs_a_transaction() {
    local before
    before=$(session -c 'SELECT count(*) FROM todos')
    expect 'rows before, within and after a rollback' "$before $((before + 1)) $before" "$(session <<'SQL' | paste -sd ' '
SELECT count(*) FROM todos;
BEGIN;
INSERT INTO todos (task) VALUES ('psql');
SELECT count(*) FROM todos;
ROLLBACK;
SELECT count(*) FROM todos;
SQL
)"
}

is_refused_a_row_of_another() {
    expect 'SQLSTATE of a forbidden insert, and a query after it' '42501 alive' "$(session 2>/dev/null <<'SQL' | paste -sd ' '
\set ON_ERROR_STOP off
INSERT INTO todos (user_id, task) VALUES ('somebody else', 'psql');
\echo :LAST_ERROR_SQLSTATE
SELECT 'alive';
SQL
)"
}

# The notice tells that the statement is running; Ctrl-C makes psql send a cancel request.
cancels_a_query() {
    coproc NAP {
        exec psql --no-psqlrc --quiet --set=VERBOSITY=sqlstate 2>&1 \
            -c "DO \$\$ BEGIN RAISE NOTICE 'asleep'; PERFORM pg_sleep(60); END \$\$"
    }
    local pid=$NAP_PID output notice
    exec {output}<&"${NAP[0]}"
    read -r -u "$output" notice
    expect 'the notice of a running query' 'NOTICE:  00000' "$notice"
    kill -INT "$pid"
    expect 'a cancelled query' $'Cancel request sent\nERROR:  57014' "$(cat <&"$output")"
}

copies_out_and_in() {
    expect 'owners of the rows copied out' "$SUB" \
        "$(session -c '\copy (SELECT user_id FROM todos) TO pstdout' | sort --unique)"
    expect 'rows copied in' 10000 "$(seq 10000 | session \
        -c 'CREATE TEMPORARY TABLE pocket (number int)' \
        -c '\copy pocket FROM pstdin' \
        -c 'SELECT count(DISTINCT number) FROM pocket')"
}

sees_only_its_own_rows
runs_a_transaction
is_refused_a_row_of_another
cancels_a_query
copies_out_and_in
echo 'ok psql'
