#!/usr/bin/env bash
# Installs what the tests run with: Debian packages where they are missing, Python's drivers into
# .venv, Node.js's into node_modules. `install.sh postgres` stops after Postgres and its psql, and
# `install.sh demo` after what the demo's application needs. Asks nothing, and does nothing twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

main() {
    install_missing missing_postgres
    [[ ${1:-} != postgres ]] || return 0
    install_missing missing_node
    check_node
    install_node_packages ../../examples/todos
    [[ ${1:-} != demo ]] || return 0
    install_missing missing_for_drivers
    install_python_drivers
    install_node_packages .
}

install_missing() {
    local missing
    mapfile -t missing < <("$1")
    [[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
}

# Debian's names of what is not there.
missing_postgres() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || has postgres || echo postgresql
    # Debian's wrappers are there before what they wrap.
    runs psql || echo postgresql-client
}

missing_node() {
    has node || echo nodejs
    has npm || echo npm
}

missing_for_drivers() {
    runs pgbench || echo postgresql
    # Running a source file takes the compiler, which a JRE leaves out.
    { has java && java --list-modules | grep '^jdk.compiler' >/dev/null; } || echo default-jdk-headless
    [[ -e /usr/share/java/postgresql.jar ]] || echo libpostgresql-jdbc-java
    has chromium || echo chromium
    has curl || echo curl
    { has python3 && python3 -c 'import ensurepip, venv' 2>/dev/null; } || echo python3-venv
}

install_packages() {
    if ! has apt-get; then
        fail "this system has no apt-get: please install what Debian calls $*"
    elif ((EUID == 0)); then
        local root=(env)
    elif has sudo && sudo --non-interactive true 2>/dev/null; then
        local root=(sudo --non-interactive env)
    else
        fail "not permitted to install packages: please run 'apt-get install $*' as root"
    fi
    root+=(DEBIAN_FRONTEND=noninteractive apt-get -qq)
    "${root[@]}" update
    "${root[@]}" install --yes --no-install-recommends "$@"
}

install_python_drivers() {
    .venv/bin/python -c '' 2>/dev/null || python3 -m venv --clear .venv
    .venv/bin/pip --quiet --disable-pip-version-check install --requirement requirements.txt
}

# Debian 12 has an older one, and this does not replace what is installed.
check_node() {
    node -e 'const [major, minor] = process.versions.node.split("."); process.exit(major * 100 + +minor < 2019 ? 1 : 0)' ||
        fail "Node.js $(node --version) is too old: please install 20.19 or newer"
}

# `npm ci` starts from nothing each time, so it runs only when its list is newer than its work.
install_node_packages() {
    [[ $1/node_modules/.package-lock.json -nt $1/package-lock.json ]] ||
        (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

runs() { "$1" --version >/dev/null 2>&1; }

has() { command -v "$1" >/dev/null; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

main "$@"
