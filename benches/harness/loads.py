"""What is measured: `pgbench -S` over three protocols, connections by the second, and COPY in both directions; crowd.py
has the loads of clients that are not all the same.

A load runs once against one contestant and returns a `Sample`. The tables are made by the owner of the database, over a
direct connection, and the role that pgusher serves is granted what the loads need.
"""

import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.contestants import CONTESTANTS, Contestant, keeps_prepared_statements

SCALE = 10
MAX_SECONDS = 600  # of a run that nobody ends
PROGRESS = re.compile(r"progress: (?P<time>[\d.]+) s, (?P<tps>[\d.]+) tps, lat (?P<latency>[\d.]+|NaN) ms")
ROW_BYTES = 105  # of bench_out, as text: near a row of pgbench_accounts

COPY_TABLES = """
CREATE UNLOGGED TABLE bench_out (id int, filler text);
CREATE UNLOGGED TABLE bench_in (LIKE bench_out);
INSERT INTO bench_out SELECT id, repeat(md5(id::text), 3) FROM generate_series(1, {rows}) AS id;
GRANT SELECT ON bench_out TO {role};
GRANT INSERT ON bench_in TO {role};
"""


@dataclass
class Sample:
    """One run: transactions (logins, MB) per second, milliseconds per transaction, and the contestant's own CPU: µs per
    transaction (login), or ms per GB. Where memory is measured, KiB for each client."""

    rate: float
    latency: float
    cpu: float
    memory: float = 0.0


@dataclass
class Load:
    """A way to use a database, measured for each number of clients against each of the contestants that it is for."""

    name: str
    clients: list[int]
    run: Callable[[Contestant, int], Sample]
    measures: str = "statements"  # or "copy" or "memory": the table that it belongs to
    contestants: list[str] = field(default_factory=lambda: CONTESTANTS)


def pgbench_loads(clients: list[int], seconds: int, pool_mode: str) -> list[Load]:
    """`pgbench -S` in each protocol, and with a login for each transaction."""

    def pgbench(*options: str):
        return lambda contestant, count: run_pgbench(contestant, count, seconds, [*options, "-j", "1"])

    def prepared(contestant: Contestant, count: int) -> Sample:
        with ExitStack() as stack:
            if contestant.name == "pgbouncer" and prepares_in_session_mode(pool_mode):
                contestant = contestant.another(stack, session=True)
                # Servers log in at their clients' first statements; the run that counts finds them there.
                pgbench("-M", "prepared")(contestant, count)
            return pgbench("-M", "prepared")(contestant, count)

    def connect(contestant: Contestant, count: int) -> Sample:
        """A thread of pgbench waits for each login, so it takes one per client to log in concurrently; and its
        latency leaves the login out."""
        sample = run_pgbench(contestant, count, seconds, ["-C", "-j", str(count)])
        return replace(sample, latency=count * 1e3 / sample.rate)

    return [
        Load("simple", clients, pgbench("-M", "simple")),
        Load("extended", clients, pgbench("-M", "extended")),
        Load("prepared", clients, prepared),
        Load("connect", clients, connect),
    ]


def prepares_in_session_mode(pool_mode: str) -> bool:
    """Whether PgBouncer has to: it is too old for prepared statements in transaction mode."""
    return pool_mode == "transaction" and not keeps_prepared_statements()


def copy_loads(direct: Contestant, data: Path) -> list[Load]:
    """`data` is where COPY in reads from; `direct` empties its table afterwards."""
    return [
        Load("copy-out", [1], lambda contestant, _: copy_out(contestant, data), "copy"),
        Load("copy-in", [1], lambda contestant, _: copy_in(contestant, data, direct), "copy"),
    ]


def create_pgbench_tables(direct: Contestant, role: str) -> None:
    run(direct, ["pgbench", "--initialize", "--quiet", "--scale", str(SCALE)])
    psql(direct, f"GRANT SELECT ON pgbench_accounts, pgbench_branches TO {role}")


def create_copy_tables(direct: Contestant, role: str, copy_mb: int, data: Path) -> None:
    """The tables and the file that COPY in reads."""
    psql(direct, COPY_TABLES.format(rows=copy_mb * 1_000_000 // ROW_BYTES, role=role))
    psql(direct, "VACUUM (ANALYZE) bench_out")
    psql(direct, f"\\copy bench_out to '{data}'")


def run_pgbench(contestant: Contestant, clients: int, seconds: int, options: list[str]) -> Sample:
    command = ["pgbench", "-n", "-S", "-c", str(clients), "-T", str(MAX_SECONDS), "-P", "1", "--progress-timestamp"]
    return run_reporting(contestant, [*command, *options], seconds)


def run_reporting(contestant: Contestant, command: list[str], seconds: int) -> Sample:
    """Measures between the first and the last of so many progress reports, so that neither logins nor the first second
    count. pgbench counts its logins into the length of a run; so we end it, by the signal that its own timer sends."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=contestant.environment(), **streams) as process:
        reports, other = [], []
        for line in process.stderr:
            if report := PROGRESS.match(line):
                reports.append((contestant.cpu_seconds(), *map(float, report.groups())))
                if len(reports) == seconds + 1:
                    process.send_signal(signal.SIGALRM)
            else:
                other.append(line)
    if process.returncode != 0 or len(reports) <= seconds:
        raise SystemExit(f"{command[0]} against {contestant.name} failed:\n{''.join(other)}")
    return between(reports[: seconds + 1])


def between(reports: list[tuple[float, float, float, float]]) -> Sample:
    """From reports of (CPU seconds so far, time, TPS since the last report, latency since then)."""
    (first_cpu, first_time, _, _), (last_cpu, last_time, _, _) = reports[0], reports[-1]
    transactions = weighted_latency = 0.0
    for (_, before, _, _), (_, time, tps, latency) in zip(reports, reports[1:]):
        count = tps * (time - before)
        transactions += count
        weighted_latency += count * latency if count else 0.0
    return Sample(
        rate=transactions / (last_time - first_time),
        latency=weighted_latency / transactions,
        cpu=(last_cpu - first_cpu) / transactions * 1e6,
    )


def copy_out(contestant: Contestant, data: Path) -> Sample:
    return timed(contestant, "\\copy bench_out to '/dev/null'", data.stat().st_size)


def copy_in(contestant: Contestant, data: Path, direct: Contestant) -> Sample:
    sample = timed(contestant, f"\\copy bench_in from '{data}'", data.stat().st_size)
    psql(direct, "TRUNCATE bench_in")
    return sample


def timed(contestant: Contestant, copy: str, size: int) -> Sample:
    cpu = contestant.cpu_seconds()
    output = psql(contestant, f"\\timing on\n{copy}")
    milliseconds = float(re.search(r"^Time: ([\d.]+) ms", output, re.MULTILINE)[1])
    spent = contestant.cpu_seconds() - cpu
    return Sample(rate=size / 1e3 / milliseconds, latency=milliseconds, cpu=spent * 1e3 / (size / 1e9))


def psql(contestant: Contestant, script: str) -> str:
    return run(contestant, ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"], script)


def run(contestant: Contestant, command: list[str], script: str = "") -> str:
    done = subprocess.run(command, env=contestant.environment(), input=script, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} against {contestant.name} failed:\n{done.stderr}")
    return done.stdout
