"""A throw-away Postgres with a pgusher in front of it.

One role is served, `suite`, and it is the cluster's first superuser: suites create roles, load C functions and own what
initdb made. The same role logs in to the server itself with a password, and through pgusher with a token. Every
database has the schema `auth`, also those that a suite creates, because `template1` has it. Everything ends with the
`ExitStack` that it was started on.
"""

import base64
import hashlib
import hmac
import json
import os
import pwd
import secrets
import shutil
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from harness.processes import free_port, start

ROOT = Path(__file__).resolve().parents[3]
BINARIES = Path("/usr/lib/postgresql/15/bin")
ROLE, LOGIN = "suite", "pgusher_suite"
ISSUER, AUDIENCE = "https://issuer.test", "suites"
TOKEN_SECONDS = 24 * 3600
# Suites that run twenty sessions at once, and tests that open a hundred.
MAX_CONNECTIONS, POOL_SIZE = 250, 200

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": MAX_CONNECTIONS,
    "max_prepared_transactions": 10,
    "fsync": "off",
    "synchronous_commit": "on",
}

PROXY_TOML = """
[listen]
postgres = ["127.0.0.1:{port}"]

[upstream]
host = "127.0.0.1"
port = {server_port}

[claims]
secret_file = "claims.secret"

[[role]]
name = "{role}"
login = "{login}"
password_file = "login.password"

[[provider]]
name = "suites"
issuer = "{issuer}"
secret_file = "issuer.secret"
audience = ["{audience}"]
roles = ["{role}"]

[pool]
pool_mode = "{pool_mode}"
default_pool_size = {pool_size}

[safety]
allow = ["role-superuser", "role-bypassrls", "role-createrole", "role-replication"]

[log]
format = "text"
"""

# SET SESSION AUTHORIZATION, which the regression tests are full of, asks whether the login is a superuser.
ROLES_SQL = """
ALTER ROLE {role} PASSWORD '{password}';
CREATE ROLE {login} LOGIN NOINHERIT SUPERUSER PASSWORD '{password}';
GRANT {role} TO {login};
"""

KEY_SQL = """
INSERT INTO auth.keys (kid, ipad, opad) VALUES ('{kid}', '\\x{ipad}', '\\x{opad}');
GRANT EXECUTE ON FUNCTION auth.pgusher_init TO {role};
"""


@dataclass
class Proxy:
    """How to start pgusher."""

    program: Path
    pool_mode: str
    settings: list[str] = field(default_factory=list)


@dataclass
class Target:
    """Something that a suite can be pointed at, and the server behind it."""

    name: str
    port: str
    password: str
    server: "Server"

    def environment(self, database: str) -> dict[str, str]:
        """The environment of a libpq program that is to connect here."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        login = {"PGHOST": "127.0.0.1", "PGPORT": self.port, "PGUSER": ROLE, "PGPASSWORD": self.password}
        return ours | login | {"PGDATABASE": database, "PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}


class Account:
    """Who runs Postgres: it refuses to be root."""

    def __init__(self) -> None:
        self.entry = pwd.getpwnam("postgres") if os.geteuid() == 0 else None

    def options(self) -> dict:
        """What makes `subprocess` run a program as this account."""
        if self.entry is None:
            return {}
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": [], "cwd": "/"}

    def own(self, path: Path) -> None:
        """Hands over a directory and all that is in it."""
        if self.entry is not None:
            for one in [path, *path.rglob("*")]:
                os.chown(one, self.entry.pw_uid, self.entry.pw_gid, follow_symlinks=False)


class Server:
    """A private Postgres."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.account, self.port, self.directory = Account(), free_port(), directory
        self.password, self.claims_key = secrets.token_hex(16), secrets.token_bytes(32)
        data = directory / "data"
        data.mkdir(parents=True, mode=0o700)
        self.account.own(directory)
        initdb = [BINARIES / "initdb", "-D", data, f"--username={ROLE}", "--auth-local=trust", "--encoding=UTF8"]
        initdb += ["--auth-host=scram-sha-256", "--no-locale", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **self.account.options())
        command = [BINARIES / "postgres", "-D", data, "-p", self.port, "-k", directory]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        start(stack, directory / "postgres.log", command, lambda: is_ready(directory, self.port), **self.account.options())
        self.sql(ROLES_SQL.format(role=ROLE, login=LOGIN, password=self.password))
        for database in ("postgres", "template1"):
            self.sql((ROOT / "crates/sql/sql/auth.sql").read_text(), database)
            self.sql(self.key_sql(), database)

    def sql(self, script: str, database: str = "postgres") -> None:
        """Runs a script past the proxy, in one transaction if it has more than one statement."""
        command = [BINARIES / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-h", self.directory, "-p", self.port]
        command += ["-U", ROLE, "-d", database, "-c", script]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self.account.options())

    def key_sql(self) -> str:
        kid = hashlib.sha256(b"pgusher kid v1" + self.claims_key).hexdigest()[:16]
        block = self.claims_key.ljust(64, b"\0")
        ipad, opad = (bytes(byte ^ pad for byte in block).hex() for pad in (0x36, 0x5C))
        return KEY_SQL.format(kid=kid, ipad=ipad, opad=opad, role=ROLE)


def start_direct(stack: ExitStack, directory: Path) -> Target:
    """A server, and how to log in to it without a proxy."""
    server = Server(stack, directory / "postgres")
    return Target("direct", server.port, server.password, server)


def start_proxied(stack: ExitStack, directory: Path, proxy: Proxy) -> Target:
    """Another such server, and how to log in to it through pgusher."""
    server, port = Server(stack, directory / "postgres"), free_port()
    home, issuer_secret = directory / "pgusher", secrets.token_hex(32).encode()
    home.mkdir(mode=0o700)
    write_private(home / "claims.secret", server.claims_key.hex().encode())
    write_private(home / "login.password", server.password.encode())
    write_private(home / "issuer.secret", issuer_secret)
    names = {"role": ROLE, "login": LOGIN, "issuer": ISSUER, "audience": AUDIENCE, "pool_size": POOL_SIZE}
    configuration = PROXY_TOML.format(port=port, server_port=server.port, pool_mode=proxy.pool_mode, **names)
    write_private(home / "proxy.toml", configuration.encode())
    command = [proxy.program, "serve", "--config", home / "proxy.toml"]
    for setting in proxy.settings:
        command += ["--set", setting]
    start(stack, directory / "pgusher.log", command, lambda: is_ready("127.0.0.1", port))
    return Target(f"pgusher, {proxy.pool_mode} mode", port, mint(issuer_secret), server)


def is_ready(host: Path | str, port: str) -> bool:
    """Whether somebody who comes now would be let in. To listen is not enough: pgusher does before it has looked at all
    that it is to serve, and ends where that is not safe."""
    command = [BINARIES / "pg_isready", "-q", "-t", "1", "-h", host, "-p", port]
    return subprocess.run(command, check=False).returncode == 0


def mint(secret: bytes) -> str:
    """A token for the role that is served, signed with the issuer's secret."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "suite", "iat": now, "exp": now + TOKEN_SECONDS}
    signed = b".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return b".".join([signed, base64url(hmac.digest(secret, signed, "sha256"))]).decode()


def base64url(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def copy_tree(source: Path, destination: Path, account: Account) -> None:
    """A copy that the account may read and write."""
    shutil.copytree(source, destination)
    account.own(destination)
