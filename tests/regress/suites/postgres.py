"""PostgreSQL's own regression suite, run by its own driver against a server that is there already."""

import re
import subprocess
from pathlib import Path

from .outcome import Outcome
from .sources import postgres_tests
from .stage import BINARIES, ROLE, Target, copy_tree

DRIVER = BINARIES.parent / "lib/pgxs/src/test/regress/pg_regress"
DATABASE = "regression"
# "test boolean ... ok 45 ms", "     char ... FAILED 61 ms"; of a parallel group without the word.
RESULT = re.compile(r"^(?:test|    ) (\S+) +\.\.\. (ok|FAILED|failed \(ignored\))", re.MULTILINE)
# "diff -U3 /…/expected/oid.out /…/results/oid.out"
DIFF = re.compile(r"^diff -U3 \S+ \S+/results/(\S+)\.out\n--- .*\n\+\+\+ .*\n", re.MULTILINE)
# What the driver sets up in a database of its own making.
DATABASE_SQL = """
ALTER DATABASE regression SET lc_messages TO 'C';
ALTER DATABASE regression SET lc_monetary TO 'C';
ALTER DATABASE regression SET lc_numeric TO 'C';
ALTER DATABASE regression SET lc_time TO 'C';
ALTER DATABASE regression SET bytea_output TO 'hex';
ALTER DATABASE regression SET timezone_abbreviations TO 'Default';
"""


class Postgres:
    """`src/test/regress`, in parallel, as `make installcheck-parallel` runs it."""

    name = "postgres"
    def __init__(self) -> None:
        self.tests = postgres_tests()

    def version(self) -> str:
        return subprocess.check_output([BINARIES / "postgres", "--version"], text=True).strip()

    def run(self, target: Target, directory: Path) -> dict[str, Outcome]:
        """Runs the suite; what it leaves behind is in `directory`."""
        server, inputs, outputs = target.server, directory / "inputs", directory / "outputs"
        # The server reads from the one and writes into the other, and may not be able to enter the cache.
        copy_tree(self.tests / "regress", inputs, server.account)
        outputs.mkdir()
        server.account.own(outputs)
        link_modules(inputs)
        server.sql(f"CREATE DATABASE {DATABASE}")
        server.sql(DATABASE_SQL)
        command = [DRIVER, "--use-existing", f"--dbname={DATABASE}", f"--bindir={BINARIES}"]
        command += [f"--inputdir={inputs}", f"--outputdir={outputs}", f"--dlpath={inputs}"]
        command += [f"--schedule={inputs}/parallel_schedule", "--max-concurrent-tests=20"]
        command += ["--host=127.0.0.1", f"--port={target.port}", f"--user={ROLE}"]
        environment = target.environment(DATABASE) | {"LC_ALL": "C"}
        # The driver names the database itself.
        del environment["PGDATABASE"]
        with (directory / "output.log").open("w") as log:
            options = {"stdout": log, "stderr": log, "env": environment, "stdin": subprocess.DEVNULL}
            subprocess.run(command, **options | server.account.options())
        return outcomes(directory / "output.log", outputs / "regression.diffs")


def link_modules(inputs: Path) -> None:
    """The suite looks for two of the contributed modules beside its own."""
    for module in ("refint.so", "autoinc.so"):
        (inputs / module).symlink_to(BINARIES.parent / "lib" / module)


def outcomes(output: Path, diffs: Path) -> dict[str, Outcome]:
    found = dict(RESULT.findall(output.read_text()))
    if not found:
        raise SystemExit(f"no test was run:\n{output.read_text()}")
    details = {}
    if diffs.exists():
        parts = DIFF.split(diffs.read_text(errors="replace"))
        details = dict(zip(parts[1::2], parts[2::2]))
    return {test: Outcome(status, details.get(test, "")) for test, status in found.items()}
