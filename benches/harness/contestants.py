"""Who is measured: the server itself, a bare relay, PgBouncer and pgusher, all in front of the same Postgres.

`pgusher demo` brings the Postgres, a token and a configuration. All connect to that Postgres over loopback TCP without
TLS. Everything ends with the `ExitStack` that it was started on.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

CONTESTANTS = ["direct", "relay", "pgbouncer", "pgusher"]
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 60
RELAY_SOURCE = Path(__file__).parent.parent / "relay.c"

PGBOUNCER_INI = """
[databases]
* = host=127.0.0.1 port={server_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = session
default_pool_size = 100
max_client_conn = 1000
server_tls_sslmode = disable
"""


@dataclass
class Contestant:
    """Something a client can connect to, and the process whose CPU it costs (none for the server itself)."""

    name: str
    login: dict[str, str]
    pid: int | None = None

    def environment(self) -> dict[str, str]:
        """The environment of a libpq program that is to connect here."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return ours | self.login | {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far, those that have ended included. See proc(5)."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        utime, stime = int(fields[11]), int(fields[12])
        return (utime + stime) / TICKS_PER_SECOND


def start_all(stack: ExitStack, pgusher: Path, directory: Path) -> list[Contestant]:
    """Starts every contestant; the first is the server itself, logged in to as the owner of the database."""
    environment = start_demo(stack, pgusher, directory)
    direct = Contestant("direct", login_of_url(environment["OWNER_URL"]))
    return [
        direct,
        start_relay(stack, directory, direct),
        start_pgbouncer(stack, directory, direct),
        start_pgusher(stack, directory, pgusher, environment),
    ]


def start_demo(stack: ExitStack, pgusher: Path, directory: Path) -> dict[str, str]:
    env_file = directory / "demo.env"
    command = [pgusher, "demo", "--ports", "0,0,0", "--env-file", env_file]
    start(stack, directory / "demo.log", command, env_file.exists)
    words = shlex.split(env_file.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)


def start_pgusher(stack: ExitStack, directory: Path, pgusher: Path, environment: dict[str, str]) -> Contestant:
    """Not the demo's own proxy: that one shares its process with an issuer, and goes to Postgres by a Unix socket."""
    port = free_port()
    settings = [f"listen.postgres.0=127.0.0.1:{port}", "upstream.host=127.0.0.1", "upstream.sslmode=disable"]
    command = [pgusher, "serve", "--config", environment["CONFIG"]]
    for setting in settings:
        command += ["--set", setting]
    serve = start(stack, directory / "pgusher.log", command, lambda: accepts(port))
    login = {name: environment[name] for name in ("PGUSER", "PGDATABASE")}
    login |= {"PGHOST": "127.0.0.1", "PGPORT": port, "PGPASSWORD": environment["ALICE"]}
    return Contestant("pgusher", login, serve.pid)


def start_relay(stack: ExitStack, directory: Path, server: Contestant) -> Contestant:
    program, port = directory / "relay", free_port()
    subprocess.run(["cc", "-O2", "-o", program, RELAY_SOURCE], check=True)
    relay = start(stack, directory / "relay.log", [program, port, server.login["PGPORT"]], lambda: accepts(port))
    return Contestant("relay", server.login | {"PGHOST": "127.0.0.1", "PGPORT": port}, relay.pid)


def start_pgbouncer(stack: ExitStack, directory: Path, server: Contestant) -> Contestant:
    """PgBouncer asks for a password in clear, as pgusher does for a token. It refuses to run as root."""
    ini, users, port = directory / "pgbouncer.ini", directory / "users.txt", free_port()
    login = server.login
    users.write_text(f'"{login["PGUSER"]}" "{login["PGPASSWORD"]}"\n')
    ini.write_text(PGBOUNCER_INI.format(port=port, server_port=login["PGPORT"], users=users))
    unprivileged = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    command, log = [find_pgbouncer(), ini], directory / "pgbouncer.log"
    pgbouncer = start(stack, log, command, lambda: accepts(port), **unprivileged)
    return Contestant("pgbouncer", login | {"PGHOST": "127.0.0.1", "PGPORT": port}, pgbouncer.pid)


def find_pgbouncer() -> str:
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("PgBouncer is missing: apt-get install pgbouncer")
    return program


def login_of_url(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "127.0.0.1",
        "PGPORT": str(parts.port or 5432),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.lstrip("/"),
    }


def start(stack: ExitStack, log: Path, command: list, ready: Callable[[], bool], **options) -> subprocess.Popen:
    """Starts a server and waits until it is ready. It gets a session of its own, so that Ctrl-C reaches only us and
    everything ends in order."""
    output = stack.enter_context(log.open("w"))
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    process = subprocess.Popen(list(map(str, command)), **streams, start_new_session=True, **options)
    stack.callback(stop, process)
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{command[0]} did not get ready:\n{log.read_text()}")
        time.sleep(0.05)
    return process


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def accepts(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])
