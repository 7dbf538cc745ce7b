"""The list of differences that tests/regress.md publishes.

A section `## Differences: SUITE in session mode` has a line for each test that ends in another way through the proxy in
this mode, `## Differences: SUITE in both modes` one for each that does in either, and `## Not run: SUITE` one for each
that is left out of both runs: "* `test`: reason". Those of `## May differ: SUITE in transaction mode` need not. `*` in
a test's name stands for anything.
"""

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "regress.md"
HEADING = re.compile(r"^#+ (.*)$")
ENTRY = re.compile(r"^\* `(.+?)`: \S")


def published(suite: str, pool_mode: str) -> list[str]:
    """The tests that are expected to differ."""
    return entries(f"Differences: {suite} in both modes") + entries(f"Differences: {suite} in {pool_mode} mode")


def may_differ(suite: str, pool_mode: str) -> list[str]:
    """The tests that differ in some runs."""
    return entries(f"May differ: {suite} in {pool_mode} mode")


def not_run(suite: str) -> list[str]:
    """The tests that neither run has."""
    return entries(f"Not run: {suite}")


def entries(wanted: str) -> list[str]:
    found, heading = [], ""
    for line in DOCUMENT.read_text().splitlines():
        if match := HEADING.match(line):
            heading = match[1]
        elif heading == wanted and (match := ENTRY.match(line)):
            found.append(match[1])
    return found


def compare(patterns: list[str], optional: list[str], differing: list[str]) -> tuple[list[str], list[str]]:
    """The tests that differ and are not published, and what is published and does not differ though it has to."""
    unpublished = [test for test in differing if not any(stands_for(one, test) for one in [*patterns, *optional])]
    outdated = [pattern for pattern in patterns if not any(stands_for(pattern, test) for test in differing)]
    return unpublished, outdated


def stands_for(pattern: str, test: str) -> bool:
    """Not `fnmatch`: names of tests have brackets."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), test) is not None
