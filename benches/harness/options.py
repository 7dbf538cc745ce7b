"""The options that the scripts have in common, and the setup that follows from them."""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness.contestants import SESSION_POOL_SIZE, Setup, start_demo

ROOT = Path(__file__).resolve().parent.parent.parent


def add_setup_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool-mode", choices=["session", "transaction"], default="session", help="of the poolers")
    parser.add_argument("--pool-size", type=int, help="servers of a pooler (default: 16, and in session mode enough)")
    parser.add_argument("--upstream", choices=["tcp", "unix"], default="tcp", help="how the server is reached")
    add_pgusher_option(parser)


def add_pgusher_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pgusher", type=Path, help="the binary to measure (default: a release build of this tree)")


def prepare(stack: ExitStack, options: argparse.Namespace) -> Setup:
    """A Postgres that is running, and how the contestants are to be set up in front of it."""
    pgusher = options.pgusher or build()
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benches.")))
    directory.chmod(0o755)  # PgBouncer reads its configuration as another user
    size = options.pool_size or (16 if options.pool_mode == "transaction" else SESSION_POOL_SIZE)
    setup = Setup(pgusher.absolute(), directory, options.pool_mode, size, options.upstream)
    start_demo(stack, setup)
    return setup


def build() -> Path:
    subprocess.run(["cargo", "build", "--release", "--package", "pgusher"], cwd=ROOT, check=True)
    metadata = subprocess.check_output(["cargo", "metadata", "--no-deps", "--format-version=1"], cwd=ROOT)
    return Path(json.loads(metadata)["target_directory"]) / "release" / "pgusher"


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def names_of(known: list[str]) -> Callable[[str], list[str]]:
    """A type of option: some of the `known`, separated by commas."""

    def names(text: str) -> list[str]:
        wanted = text.split(",")
        if unknown := set(wanted) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
        return wanted

    return names
