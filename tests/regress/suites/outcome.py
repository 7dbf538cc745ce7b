"""What a suite said of a test, and how two runs are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """`status` is the suite's own word. `detail` is what was wrong, where that is the same in runs that fail alike."""

    status: str
    detail: str = ""


MISSING = Outcome("missing")


def differences(direct: dict[str, Outcome], proxied: dict[str, Outcome]) -> dict[str, str]:
    """The tests that end in another way through the proxy, and how."""
    found = {}
    for test in sorted({*direct, *proxied}):
        was, is_ = direct.get(test, MISSING), proxied.get(test, MISSING)
        if was.status != is_.status:
            found[test] = f"{was.status} → {is_.status}"
        elif was != is_:
            found[test] = f"{was.status} in another way"
    return found
