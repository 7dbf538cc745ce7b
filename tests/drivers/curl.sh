#!/usr/bin/env bash
# curl, in clear and under TLS by HTTP/1.1 and HTTP/2, with a token and a query and nothing else: role and database are
# the configuration's. Reads HTTP_ADDRESS HTTPS_PORT CA ALICE.
set -euo pipefail

readonly CLEAR="http://$HTTP_ADDRESS/sql"
readonly SECURE="https://localhost:$HTTPS_PORT/sql"
readonly WHO='{"query": "SELECT auth.user_id() AS me, $1::int AS number", "params": [7]}'
readonly ALICES='[{"me":"alice","number":7}]'

main() {
    same "$ALICES" "$(rows "$CLEAR" "$WHO")"
    same "$ALICES" "$(rows "$SECURE" "$WHO" --http1.1)"
    same "$ALICES" "$(rows "$SECURE" "$WHO" --http2)"
    same "$ALICES" "$(rows "$SECURE" "$WHO" --compressed)"
    same '1.1 2' "$(version --http1.1) $(version --http2)"
    has_its_own_rows_alone
    streams_lines
    is_refused
    echo 'ok curl'
}

# A request of alice's: the URL, the body, and options of curl.
ask() {
    curl --silent --show-error --cacert "$CA" --header "Authorization: Bearer $ALICE" --data "$2" "${@:3}" "$1"
}

rows() { ask "$@" --fail-with-body | sed 's/.*"rows":\(.*\),"command":.*/\1/'; }

version() { ask "$SECURE" "$WHO" --output /dev/null --write-out '%{http_version}' "$1"; }

has_its_own_rows_alone() {
    same '[{"user_id":"alice"}]' "$(rows "$CLEAR" '{"query": "SELECT DISTINCT user_id FROM todos"}')"
}

# More rows than an answer may have that is not streamed.
streams_lines() {
    local query='{"query": "SELECT n, repeat('"'x'"', 1000) AS x FROM generate_series(1, 20000) AS n"}'
    same 507 "$(ask "$CLEAR" "$query" --output /dev/null --write-out '%{http_code}')"
    local lines
    lines=$(ask "$SECURE" "$query" --http2 --header 'Accept: application/x-ndjson' | grep --count '"x":"xxx')
    same 20000 "$lines"
}

is_refused() {
    local status='%{http_code} %{header_json}'
    local refusal
    refusal=$(curl --silent --data "$WHO" --output /dev/null --write-out "$status" "$CLEAR" | tr -d '\n ')
    [[ $refusal == '401{'*'"www-authenticate":["Bearer"]'* ]] || same 401 "$refusal"
    same 403 "$(ask "$CLEAR" "$WHO" --header 'pgusher-role: postgres' --output /dev/null --write-out '%{http_code}')"
    same 400 "$(ask "$CLEAR" '{"query": "SELECT"' --output /dev/null --write-out '%{http_code}')"
    same 42601 "$(ask "$CLEAR" '{"query": "SELEKT"}' | sed 's/.*"code":"\([^"]*\)".*/\1/')"
}

same() {
    [[ $1 == "$2" ]] || { printf 'expected %s\n     got %s\n' "$1" "$2" >&2 && exit 1; }
}

main
