"""Loads of clients that are not all the same: each has an identity of its own. Driven by crowd.c, which logs in with a
password, so they are for the two poolers, who ask for one in clear.

The identities of pgusher's clients are their tokens. PgBouncer's clients do what is done without pgusher: one login,
which in each transaction becomes the role and sets the claims by hand. Both read a row through Row-Level Security, each
from a table of its own with the same rows; the claims are the same, too.
"""

import base64
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from harness.contestants import BY_HAND_LOGIN, BY_HAND_PASSWORD, Contestant, Setup
from harness.loads import Load, Sample, psql, run_reporting
from harness.processes import compiled

POOLERS = ["pgbouncer", "pgusher"]
BY_HAND_ROLE = "bench_by_hand"
ROWS = 100  # for each identity
ROW = 42  # the one that is read

# Who the user is, where claims are signed, and where they are believed.
VERIFIED, BELIEVED = "auth.user_id()", "current_setting('request.jwt.claims', true)::json ->> 'sub'"

TABLES = f"""
CREATE ROLE {BY_HAND_ROLE};
CREATE ROLE {BY_HAND_LOGIN} LOGIN NOINHERIT PASSWORD '{BY_HAND_PASSWORD}';
GRANT {BY_HAND_ROLE} TO {BY_HAND_LOGIN};
GRANT USAGE ON SCHEMA public TO {BY_HAND_ROLE};

CREATE TABLE bench_by_token (user_id text, id int, note text, PRIMARY KEY (user_id, id));
CREATE TABLE bench_by_hand (LIKE bench_by_token INCLUDING ALL);
INSERT INTO bench_by_token
SELECT 'user' || number, id, 'note ' || id || ' of user' || number
  FROM generate_series(0, {{identities}} - 1) AS number, generate_series(1, {ROWS}) AS id;
INSERT INTO bench_by_hand TABLE bench_by_token;

ALTER TABLE bench_by_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE bench_by_hand ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON bench_by_token TO {{role}} USING (user_id = (SELECT {{user_id}}));
CREATE POLICY mine ON bench_by_hand TO {BY_HAND_ROLE} USING (user_id = (SELECT {BELIEVED}));
GRANT SELECT ON bench_by_token TO {{role}};
GRANT SELECT ON bench_by_hand TO {BY_HAND_ROLE};
"""


class Crowd:
    """The identities, made when they are first needed, and the program that plays them."""

    def __init__(self, setup: Setup):
        self.setup = setup
        self.tokens: list[str] = []

    def loads(self, identities: list[int], idle: list[int], seconds: int) -> list[Load]:
        def multi(batch: bool):
            return lambda contestant, count: self.multi_identity(contestant, count, seconds, batch)

        return [
            Load("multi-identity", identities, multi(batch=False), contestants=POOLERS),
            Load("multi-identity-batch", identities, multi(batch=True), contestants=POOLERS),
            Load("idle", idle, lambda *run: self.idle(*run, statements=[]), "memory", POOLERS),
            Load("idle-after-query", idle, lambda *run: self.idle(*run, statements=["SELECT 1"]), "memory", POOLERS),
        ]

    def multi_identity(self, contestant: Contestant, count: int, seconds: int, batch: bool) -> Sample:
        by_hand = contestant.name == "pgbouncer"
        lines = []
        for number, token in enumerate(self.identities(count)):
            statements = by_hand_statements(token) if by_hand else [query("bench_by_token")]
            if batch:
                statements = ["; ".join(statements)]
            login = [BY_HAND_LOGIN, BY_HAND_PASSWORD] if by_hand else [self.setup.demo["PGUSER"], token]
            lines.append([*login, f"note {ROW} of user{number}", *statements])
        return run_reporting(contestant, self.command(contestant, lines, "repeat"), seconds)

    def idle(self, contestant: Contestant, count: int, statements: list[str]) -> Sample:
        """On a process of its own: one that has served before keeps memory that new clients would not show in."""
        with ExitStack() as stack:
            fresh = contestant.another(stack)
            login = [fresh.login["PGUSER"], fresh.login["PGPASSWORD"]]
            tokens = self.identities(count) if fresh.name == "pgusher" else []
            logins = [[login[0], token] for token in tokens] or [login] * count
            command = self.command(fresh, [[*login, "", *statements] for login in logins], "stay")
            kib, cpu, began = fresh.resident_kib(), fresh.cpu_seconds(), time.monotonic()
            crowd = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(crowd.terminate)
            if crowd.stdout.readline() != "in\n":
                raise SystemExit(f"not all of {count} clients got into {fresh.name}")
            seconds = time.monotonic() - began
            kib, cpu = fresh.resident_kib() - kib, fresh.cpu_seconds() - cpu
        return Sample(count / seconds, seconds / count * 1e3, cpu / count * 1e6, kib / count)

    def command(self, contestant: Contestant, lines: list[list[str]], then: str) -> list[str]:
        clients = self.setup.directory / f"{contestant.name}.clients"
        clients.write_text("".join("\t".join(line) + "\n" for line in lines))
        program = compiled("crowd", self.setup.directory)
        return [str(program), contestant.login["PGPORT"], contestant.login["PGDATABASE"], str(clients), then]

    def identities(self, count: int) -> list[str]:
        """The tokens of so many users."""
        missing = range(len(self.tokens), count)
        with ThreadPoolExecutor(max_workers=2) as pool:
            self.tokens += pool.map(self.mint, missing)
        return self.tokens[:count]

    def mint(self, number: int) -> str:
        return mint(self.setup, f"user{number}")


def create_crowd_tables(direct: Contestant, role: str, identities: int, claims: str) -> None:
    user_id = VERIFIED if claims == "signed" else BELIEVED
    psql(direct, TABLES.format(role=role, identities=identities, user_id=user_id))
    psql(direct, "VACUUM (ANALYZE) bench_by_token, bench_by_hand")


def query(table: str) -> str:
    return f"SELECT note FROM {table} WHERE id = {ROW}"


def by_hand_statements(token: str) -> list[str]:
    return [
        "BEGIN",
        f"SET LOCAL ROLE {BY_HAND_ROLE}",
        f"SELECT set_config('request.jwt.claims', '{claims_of(token)}', true)",
        query("bench_by_hand"),
        "COMMIT",
    ]


def mint(setup: Setup, subject: str, **claims: object) -> str:
    """A token of the demo's issuer with further `claims`."""
    command = [setup.pgusher, "token", "mint", "--config", setup.demo["CONFIG"], "--ttl", "24h", "--sub", subject]
    for name, value in claims.items():
        command += ["--claim", f"{name}={json.dumps(value)}"]
    return subprocess.check_output(command, text=True).strip()


def claims_of(token: str) -> str:
    payload = token.split(".")[1]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
