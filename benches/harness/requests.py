"""One query, asked for in several ways: over HTTP and by the Postgres protocol through the same pgusher, and past it.

The query is that of `pgbench -S`, and the rows asked for are as random. HTTP clients are played by wrk with sql.lua,
all others by pgbench.
"""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.contestants import BY_HAND_LOGIN, BY_HAND_PASSWORD, Contestant, Setup, direct
from harness.crowd import BY_HAND_ROLE, claims_of
from harness.loads import MAX_SECONDS, SCALE, Sample, run_reporting
from harness.processes import SOURCES

WARM_UP_SECONDS = 1
RESULT = re.compile(r"^result requests=(\d+) failed=(\d+) duration=(\d+) latency=([\d.]+)$", re.MULTILINE)

# The driver names itself in the connection string.
DRIVER = "pkg%3Anpm%2F%2540neondatabase%2Fserverless%401.2.0"

ASK = f"""
\\set aid random(1, 100000 * {SCALE})
{{before}}
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
{{after}}
"""
QUERY = ASK.format(before="", after="")

# What PostgREST does for a request.
BY_HAND = ASK.format(
    before=f"BEGIN;\nSET LOCAL ROLE {BY_HAND_ROLE};\nSELECT set_config('request.jwt.claims', :claims, true);",
    after="COMMIT;",
)


@dataclass
class Way:
    """One of the ways to ask, and who is asked; it runs with a number of clients."""

    name: str
    asked: Contestant
    run: Callable[[Contestant, int], Sample]


class Requests:
    """The ways to ask, of clients that all have one identity. `pgusher` listens for HTTP at `http_port`."""

    def __init__(self, setup: Setup, pgusher: Contestant, http_port: str, seconds: int):
        self.pgusher, self.seconds = pgusher, seconds
        self.url = f"http://127.0.0.1:{http_port}/sql"
        role, database = pgusher.login["PGUSER"], pgusher.login["PGDATABASE"]
        self.connection_string = f"postgresql://{role}@localhost/{database}?application_name={DRIVER}"
        self.directory = setup.directory
        self.direct = direct(setup)
        by_hand = {"PGUSER": BY_HAND_LOGIN, "PGPASSWORD": BY_HAND_PASSWORD}
        self.by_hand = Contestant("direct", self.direct.login | by_hand)

    def ways(self) -> list[Way]:
        claims = claims_of(self.pgusher.login["PGPASSWORD"])

        def pgbench(script: str, *options: str):
            return lambda contestant, count: self.pgbench(contestant, count, script, ["-j", "1", *options])

        def connect(contestant: Contestant, count: int) -> Sample:
            """A thread for each client, and a latency with the login in it: see pgbench_loads."""
            sample = self.pgbench(contestant, count, QUERY, ["-C", "-j", str(count), "-M", "extended"])
            return replace(sample, latency=count * 1e3 / sample.rate)

        prepared = ["-M", "prepared"]
        by_hand = pgbench(BY_HAND, *prepared, "-D", f"claims={claims}")
        return [
            Way("http", self.pgusher, self.http),
            Way("tcp", self.pgusher, pgbench(QUERY, *prepared)),
            Way("connect", self.pgusher, connect),
            Way("by-hand", self.by_hand, by_hand),
            Way("direct", self.direct, pgbench(QUERY, *prepared)),
        ]

    def pgbench(self, contestant: Contestant, count: int, script: str, options: list[str]) -> Sample:
        file = self.directory / "requests.sql"
        file.write_text(script)
        command = ["pgbench", "-n", "-f", str(file), "-c", str(count), "-T", str(MAX_SECONDS)]
        return run_reporting(contestant, [*command, "-P", "1", "--progress-timestamp", *options], self.seconds)

    def http(self, pgusher: Contestant, count: int) -> Sample:
        self.wrk(count, WARM_UP_SECONDS)
        cpu = pgusher.cpu_seconds()
        requests, microseconds, latency = self.wrk(count, self.seconds)
        cpu = pgusher.cpu_seconds() - cpu
        return Sample(requests / microseconds * 1e6, latency / 1e3, cpu / requests * 1e6)

    def wrk(self, count: int, seconds: int) -> tuple[int, int, float]:
        """How many requests were answered in how many microseconds, and the mean of theirs."""
        shape = ["-t", "1", "-c", str(count), "-d", f"{seconds}s"]
        command = [find_wrk(), *shape, "-s", str(SOURCES / "sql.lua"), self.url]
        who = {"TOKEN": self.pgusher.login["PGPASSWORD"], "CONNECTION_STRING": self.connection_string}
        output = subprocess.run(command, env=os.environ | who, text=True, capture_output=True)
        result = RESULT.search(output.stdout)
        if output.returncode != 0 or not result or int(result[2]) or not int(result[1]):
            raise SystemExit(f"wrk failed, or not all answers were 200:\n{output.stdout}{output.stderr}\n{self.ask()}")
        return int(result[1]), int(result[3]), float(result[4])

    def check(self) -> None:
        """That a request gets its row; wrk looks at statuses only."""
        answer = self.ask()
        if '"rows":[["0"]]' not in answer:
            raise SystemExit(f"instead of a row with a balance of 0: {answer}")

    def ask(self) -> str:
        """The answer to one request, as it is."""
        body = {"query": "SELECT abalance FROM pgbench_accounts WHERE aid = $1", "params": ["1"]}
        headers = {"Authorization": f"Bearer {self.pgusher.login['PGPASSWORD']}"}
        headers |= {"Neon-Connection-String": self.connection_string}
        headers |= {"Neon-Raw-Text-Output": "true", "Neon-Array-Mode": "true"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, json.dumps(body).encode(), headers)) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as refusal:
            return f"{refusal.code}: {refusal.read().decode()}"


def find_wrk() -> str:
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    return program
