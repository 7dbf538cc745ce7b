"""Where the suites come from. All of it goes into a cache beside this harness, once; nothing is installed into the
system but Postgres itself, and no list of the system's packages is changed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .stage import BINARIES, ROOT

CACHE = Path(__file__).resolve().parents[1] / ".cache"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def postgres_tests() -> Path:
    """`src/test` of the Postgres that is installed, with `regress.so` built beside its source."""
    if not (BINARIES / "postgres").exists():
        subprocess.run([ROOT / "tests/drivers/install.sh", "postgres"], check=True)
    if not (BINARIES / "postgres").exists():
        raise SystemExit("PostgreSQL 15 is missing: this suite belongs to Debian's postgresql-15")
    query = ["dpkg-query", "--show", "--showformat=${Version}", "postgresql-15"]
    version = subprocess.check_output(query, text=True)
    home = CACHE / f"postgresql-{version}"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        unpack_postgres(home, version)
        (home / "ready").touch()
    return home / "test"


def unpack_postgres(home: Path, version: str) -> None:
    say(f"fetching the source of postgresql-15 {version}")
    apt = private_apt(home)
    run([*apt, "source", "--download-only", f"postgresql-15={version}"], cwd=home)
    [tarball] = home.glob("*.orig.tar.*")
    run(["tar", "--extract", "--file", tarball, "--wildcards", "--strip-components=2", "*/src/test/regress/*"],
        cwd=home)
    tarball.unlink()
    # The headers only, unpacked: installed, their package would bring a second compiler with it.
    run([*apt, "download", f"postgresql-server-dev-15={version}"], cwd=home)
    [package] = home.glob("postgresql-server-dev-15_*.deb")
    run(["dpkg-deb", "--extract", package, home / "headers"])
    include = home / "headers/usr/include/postgresql/15/server"
    regress = home / "test/regress"
    run(["cc", "-O2", "-w", "-shared", "-fPIC", "-I", include, "-o", regress / "regress.so", regress / "regress.c"])


def private_apt(home: Path) -> list:
    """apt with a list of sources of its own: the system's, with source packages too."""
    lines = [f"{kind} {place}" for place in archives() for kind in ("deb", "deb-src")]
    sources, state = home / "sources.list", home / "apt"
    sources.write_text("\n".join(lines) + "\n")
    (state / "lists/partial").mkdir(parents=True)
    (state / "cache/archives/partial").mkdir(parents=True)
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": 3,
    }
    apt = ["apt-get", "-qq"]
    for name, value in options.items():
        apt += ["-o", f"{name}={value}"]
    run([*apt, "update"])
    return apt


def archives() -> list[str]:
    """The system's archives of Debian, as the end of a line of sources.list."""
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    query = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    found = subprocess.check_output([*query, "Origin: Debian"], text=True)
    if not found and os.geteuid() == 0:
        run(["apt-get", "-qq", "update"])
        found = subprocess.check_output([*query, "Origin: Debian"], text=True)
    if not found:
        raise SystemExit("apt knows no archive of Debian: run apt-get update first")
    return sorted({signed + line for line in found.splitlines()})


def python_environment(name: str, packages: list[str]) -> Path:
    """The Python of a virtual environment with these packages."""
    home = CACHE / name / "venv"
    wanted, installed = "\n".join(packages), home / "installed"
    if not installed.exists() or installed.read_text() != wanted:
        say(f"installing {' '.join(packages)}")
        run([sys.executable, "-m", "venv", "--clear", home])
        run([home / "bin/pip", "--quiet", "--disable-pip-version-check", "install", *packages])
        installed.write_text(wanted)
    return home / "bin/python"


def sdist(python: Path, package: str, version: str) -> Path:
    """The unpacked source distribution of a package. What pip needs to look into it is in `python`'s environment."""
    home = CACHE / f"{package}-{version}"
    unpacked = home / f"{package}-{version}"
    if not unpacked.exists():
        say(f"fetching the source distribution of {package} {version}")
        home.mkdir(parents=True, exist_ok=True)
        run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps",
             "--no-build-isolation", "--no-binary", ":all:", "--dest", home, f"{package}=={version}"])
        run(["tar", "--extract", "--file", f"{package}-{version}.tar.gz"], cwd=home)
    return unpacked


def checkout(name: str, url: str, tag: str) -> Path:
    """The files of a tag of a repository."""
    home = CACHE / f"{name}-{tag}" / "checkout"
    if not home.exists():
        say(f"cloning {url} at {tag}")
        partial = home.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        run(["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--depth=1", "--branch", tag, url, partial])
        partial.rename(home)
    return home


def run(command: list, **options) -> None:
    subprocess.run(list(map(str, command)), check=True, **options)


def say(what: str) -> None:
    print(f"{what} …", file=sys.stderr)
