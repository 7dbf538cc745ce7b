#!/usr/bin/env bash
# pgbench -S in its three protocols, then a script that fails on a row of somebody else.
# Reads PGHOST PGPORT PGDATABASE PGUSER TOKEN SUB, and OWNER_URL to make its tables.
set -euo pipefail
export PGPASSWORD=$TOKEN

readonly clients=4 transactions=100
readonly all_processed="actually processed: $((clients * transactions))/$((clients * transactions))$"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

make_tables() {
    local owner=(psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$OWNER_URL")
    if [[ -z $("${owner[@]}" -c "SELECT to_regclass('pgbench_accounts')") ]]; then
        pgbench --initialize --quiet "$OWNER_URL" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
    fi
    "${owner[@]}" --set=role="$PGUSER" <<<'GRANT SELECT ON pgbench_accounts, pgbench_branches TO :"role"'
}

# Divides by zero, which ends the client, unless there are rows and all are this subject's.
write_own_rows_script() {
    printf 'SELECT 1 / coalesce(bool_and(user_id = %s), false)::int FROM todos;\n' \
        "'${SUB//\'/\'\'}'" >"$work/own_rows.sql"
}

run() { # PROTOCOL SCRIPT-OPTION
    if ! pgbench --no-vacuum --client="$clients" --transactions="$transactions" \
        --protocol="$1" "$2" >"$work/log" 2>&1 || ! grep -q "$all_processed" "$work/log"; then
        printf 'pgbench: %s\n' "$*" >&2
        cat "$work/log" >&2
        exit 1
    fi
}

make_tables
write_own_rows_script
for protocol in simple extended prepared; do
    run "$protocol" --select-only
    run "$protocol" --file="$work/own_rows.sql"
done
echo 'ok pgbench'
