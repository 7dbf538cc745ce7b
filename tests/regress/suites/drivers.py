"""The test suites of psycopg 3 and asyncpg, run by pytest against a server that is there already."""

import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from .outcome import Outcome
from .sources import checkout, python_environment, sdist
from .stage import Target

REPORT = "report.xml"
# A test that waits for something which doesn't come is a failed test and no hanging run.
TEST_SECONDS = 60
PYTEST = ["pytest==8.4.2", "pytest-timeout==2.4.0"]


class Driver:
    """A suite that pytest runs; the rest is each driver's own."""

    name = ""
    python: Path
    source: Path
    database = "drivers"
    # What pytest is given besides.
    options: list[str] = []

    def __init__(self, not_run: list[str]) -> None:
        self.not_run = not_run

    def run(self, target: Target, directory: Path) -> dict[str, Outcome]:
        """Runs the suite; what it leaves behind is in `directory`."""
        if self.database != "postgres":
            target.server.sql(f"CREATE DATABASE {self.database}")
        # Without the package that they are for: they are to import the one that is installed.
        shutil.copytree(self.source / "tests", directory / "tests")
        command = [self.python, "-m", "pytest", "-q", f"--junit-xml={REPORT}", f"--timeout={TEST_SECONDS}"]
        # pytest's own tracebacks overflow its stack on asyncpg's.
        command += ["--tb=native", *self.options, *(f"--deselect={test}" for test in self.not_run)]
        with (directory / "output.log").open("w") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            ended = subprocess.run([*command, "tests"], cwd=directory, env=self.environment(target), **streams)
        # 0: all passed, 1: some failed. Everything else is a suite that did not run to its end.
        if ended.returncode not in (0, 1):
            raise SystemExit(f"the suite did not run:\n{(directory / 'output.log').read_text()}")
        return outcomes(directory)

    def environment(self, target: Target) -> dict[str, str]:
        return target.environment(self.database)


class Psycopg(Driver):
    """Its tests are not in its source distribution but in its repository."""

    name = "psycopg"
    release = "3.3.4"
    repository = "https://github.com/psycopg/psycopg"
    packages = [f"psycopg[binary]=={release}", "psycopg-pool==3.3.1", "anyio==4.12.1", *PYTEST]
    # Its own marks for tests that wait, that a busy machine may fail (`proxy` among them: it has to start in time), and
    # that don't come near a server.
    left_out = ["slow", "timing", "flakey", "proxy", "refcount", "mypy", "dns"]
    options = ["-m", " and ".join(f"not {mark}" for mark in left_out)]

    def __init__(self, not_run: list[str], source: Path | None = None) -> None:
        super().__init__(not_run)
        self.python = python_environment(f"psycopg-{self.release}", self.packages)
        self.source = source or checkout("psycopg", self.repository, self.release)

    def environment(self, target: Target) -> dict[str, str]:
        ours = super().environment(target)
        names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
        dsn = " ".join(f"{keyword}={ours.pop(name)}" for name, keyword in names.items())
        return ours | {"PSYCOPG_TEST_DSN": dsn, "PSYCOPG_IMPL": "binary"}


class Asyncpg(Driver):
    """Told where a server is, its tests use that one."""

    name = "asyncpg"
    # Some of its tests name that one, others none, and they have to meet.
    database = "postgres"
    release = "0.32.0"
    # What its tests need, and what pip needs to look into a source distribution.
    packages = [f"asyncpg=={release}", "distro==1.9.0", *PYTEST]
    packages += ["setuptools==80.9.0", "packaging==25.0", "Cython==3.2.4"]

    def __init__(self, not_run: list[str]) -> None:
        super().__init__(not_run)
        self.python = python_environment(f"asyncpg-{self.release}", self.packages)
        self.source = sdist(self.python, "asyncpg", self.release)


def outcomes(directory: Path) -> dict[str, Outcome]:
    """What pytest's report says of each test, by the name that pytest takes for it."""
    found = {}
    for case in ElementTree.parse(directory / REPORT).iter("testcase"):
        verdict = (case.find(status) for status in ("failure", "error", "skipped"))
        status = next((element.get("type") or element.tag for element in verdict if element is not None), "passed")
        found[f"{place(directory, case.get('classname', ''))}::{case.get('name')}"] = Outcome(status)
    return found


def place(directory: Path, classname: str) -> str:
    """`tests.test_pool.TestPool` is the class `TestPool` in `tests/test_pool.py`."""
    parts = classname.split(".") if classname else []
    for end in range(len(parts), 0, -1):
        file = Path(*parts[:end]).with_suffix(".py")
        if (directory / file).exists():
            return "::".join([str(file), *parts[end:]])
    return classname
