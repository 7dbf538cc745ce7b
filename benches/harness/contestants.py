"""Who is measured: the server itself, a bare relay, PgBouncer and pgusher, all in front of the same Postgres.

`pgusher demo` brings the Postgres, a token and a configuration. Clients connect over loopback TCP without TLS, and all
reach that Postgres in the same way. Everything ends with the `ExitStack` that it was started on.
"""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.processes import accepts, account_of, compiled, cpu_seconds, free_port, start

CONTESTANTS = ["direct", "relay", "pgbouncer", "pgusher"]
SESSION_POOL_SIZE = 300  # servers where each client has its own: more than any load has clients
PREPARED_SINCE = (1, 21)  # PgBouncer's first version with prepared statements in transaction mode

# Who logs in to set identities by hand: PostgREST's pattern, a login that may become the role and nothing else.
BY_HAND_LOGIN, BY_HAND_PASSWORD = "bench_authenticator", "bench"

PGBOUNCER_INI = """
[databases]
* = host={server_host} port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = {pool_mode}
default_pool_size = {pool_size}
max_client_conn = 10000
server_tls_sslmode = disable
"""


@dataclass
class Contestant:
    """Something a client can connect to, and the process whose CPU it costs (none for the server itself)."""

    name: str
    login: dict[str, str]
    pid: int | None = None
    # Another of the same kind, just started; in session mode if so asked.
    another: Callable[..., "Contestant"] | None = None

    def environment(self) -> dict[str, str]:
        """The environment of a libpq program that is to connect here."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return ours | self.login | {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}

    def cpu_seconds(self) -> float:
        return 0.0 if self.pid is None else cpu_seconds(self.pid)

    def resident_kib(self) -> int:
        """The memory that it occupies now: VmRSS."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s*(\d+) kB", status, re.MULTILINE)[1])


@dataclass
class Setup:
    """How all contestants are set up."""

    pgusher: Path
    directory: Path
    pool_mode: str
    pool_size: int
    upstream: str
    demo: dict[str, str] = field(default_factory=dict)  # what the demo wrote for scripts
    wrapper: list[str] = field(default_factory=list)  # a command that runs the proxy's
    settings: dict[str, str] = field(default_factory=dict)  # of pgusher, over the demo's configuration

    def in_session_mode(self) -> "Setup":
        return replace(self, pool_mode="session", pool_size=SESSION_POOL_SIZE)

    def server(self) -> dict[str, str]:
        """Where the server is, and its owner's login."""
        login = login_of_url(self.demo["OWNER_URL"])
        return login if self.upstream == "tcp" else login | {"PGHOST": str(self.socket_directory())}

    def log(self, name: str, port: str) -> Path:
        return self.directory / f"{name}.{port}.log"

    def socket_directory(self) -> Path:
        return Path(configuration(self)["upstream"]["host"])


def start_demo(stack: ExitStack, setup: Setup) -> None:
    env_file = setup.directory / "demo.env"
    command = [setup.pgusher, "demo", "--ports", "0,0,0", "--env-file", env_file]
    start(stack, setup.directory / "demo.log", command, env_file.exists)
    words = shlex.split(env_file.read_text(), comments=True)
    setup.demo = dict(word.split("=", 1) for word in words if "=" in word)
    # What is listened to is for each load to say. HTTP takes a thread, and a process that has only one has cheaper system
    # calls.
    setup.demo = without(setup, "http", "admin").demo


def configuration(setup: Setup) -> dict:
    """What the demo configured pgusher with."""
    return tomllib.loads(Path(setup.demo["CONFIG"]).read_text())


def without(setup: Setup, *keys: str) -> Setup:
    """With a configuration that lacks the lines of these keys. It stands beside the demo's, from where its paths start."""
    config = Path(setup.demo["CONFIG"])
    lines = config.read_text().splitlines(keepends=True)
    other = config.with_name(f"without_{'_'.join(keys)}.toml")
    other.write_text("".join(line for line in lines if line.split(" = ")[0] not in keys))
    return replace(setup, demo=setup.demo | {"CONFIG": str(other)})


def without_secret(setup: Setup) -> Setup:
    """As the modes want it that sign nothing, or with keys of their own."""
    return without(setup, "secret_file")


def in_mode_claims(setup: Setup) -> Setup:
    """With a pgusher that leaves the claims where every session can change them."""
    # A binary from before there was an audit at start has nothing to allow.
    allow = {"safety.allow": "claims-forgeable"} if "safety" in configuration(setup) else {}
    return replace(without_secret(setup), settings={"claims.mode": "claims"} | allow)


def direct(setup: Setup) -> Contestant:
    """The server itself, logged in to as the owner of the database."""
    return Contestant("direct", setup.server())


def start_contestant(stack: ExitStack, setup: Setup, name: str) -> Contestant:
    starts = {"relay": start_relay, "pgbouncer": start_pgbouncer, "pgusher": start_pgusher}
    return starts[name](stack, setup) if name in starts else direct(setup)


def start_pgusher(stack: ExitStack, setup: Setup) -> Contestant:
    """Not the demo's own proxy: that one shares its process with an issuer. Connections queue at its port while it
    audits the database; what that takes is no client's cost, so it is ready when it says so."""
    port, server, demo = free_port(), setup.server(), setup.demo
    settings = {
        "listen.postgres.0": f"127.0.0.1:{port}",
        "upstream.host": server["PGHOST"],
        "upstream.sslmode": "disable",
        "pool.pool_mode": setup.pool_mode,
        "pool.default_pool_size": setup.pool_size,
    }
    command = [*setup.wrapper, setup.pgusher, "serve", "--config", demo["CONFIG"]]
    for key, value in (settings | setup.settings).items():
        command += ["--set", f"{key}={value}"]
    log = setup.log("pgusher", port)
    serve = start(stack, log, command, lambda: '"listening"' in log.read_text())
    login = {name: demo[name] for name in ("PGUSER", "PGDATABASE")}
    login |= {"PGHOST": "127.0.0.1", "PGPORT": port, "PGPASSWORD": demo["ALICE"]}
    return Contestant("pgusher", login, serve.pid, another(start_pgusher, setup))


def start_relay(stack: ExitStack, setup: Setup) -> Contestant:
    program, port, server = compiled("relay", setup.directory), free_port(), setup.server()
    socket = Path(server["PGHOST"]) / f".s.PGSQL.{server['PGPORT']}"
    command = [*setup.wrapper, program, port, server["PGPORT"] if setup.upstream == "tcp" else socket]
    relay = start(stack, setup.log("relay", port), command, lambda: accepts(port))
    return Contestant("relay", server | {"PGHOST": "127.0.0.1", "PGPORT": port}, relay.pid, another(start_relay, setup))


def start_pgbouncer(stack: ExitStack, setup: Setup) -> Contestant:
    """PgBouncer asks for a password in clear, as pgusher does for a token. It refuses to run as root: then it runs as
    the user that Postgres runs as, who may open the server's Unix socket."""
    port, server = free_port(), setup.server()
    ini, users = (setup.directory / f"pgbouncer.{port}.{suffix}" for suffix in ("ini", "users"))
    logins = [(server["PGUSER"], server["PGPASSWORD"]), (BY_HAND_LOGIN, BY_HAND_PASSWORD)]
    users.write_text("".join(f'"{user}" "{password}"\n' for user, password in logins))
    where = {"server_host": server["PGHOST"], "server_port": server["PGPORT"], "port": port, "users": users}
    pool = {"pool_mode": setup.pool_mode, "pool_size": setup.pool_size}
    prepared = "max_prepared_statements = 200\n" if keeps_prepared_statements() else ""
    ini.write_text(PGBOUNCER_INI.format(**where, **pool) + prepared)
    log, account = setup.log("pgbouncer", port), account_of(setup.socket_directory())
    pgbouncer = start(stack, log, [*setup.wrapper, find_pgbouncer(), ini], lambda: accepts(port), **account)
    login = server | {"PGHOST": "127.0.0.1", "PGPORT": port}
    return Contestant("pgbouncer", login, pgbouncer.pid, another(start_pgbouncer, setup))


def another(start_one: Callable[[ExitStack, Setup], Contestant], setup: Setup) -> Callable[..., Contestant]:
    return lambda stack, session=False: start_one(stack, setup.in_session_mode() if session else setup)


def find_pgbouncer() -> str:
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("PgBouncer is missing: apt-get install pgbouncer")
    return program


def pgbouncer_version() -> str:
    return subprocess.check_output([find_pgbouncer(), "--version"], text=True).splitlines()[0]


def keeps_prepared_statements() -> bool:
    """Whether PgBouncer does in transaction mode."""
    major, minor = re.search(r"(\d+)\.(\d+)", pgbouncer_version()).groups()
    return (int(major), int(minor)) >= PREPARED_SINCE


def login_of_url(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "127.0.0.1",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.lstrip("/"),
    }
