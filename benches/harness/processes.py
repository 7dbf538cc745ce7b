"""Servers as child processes: started until they are ready, stopped when their `ExitStack` ends."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

READY_SECONDS = 60
SOURCES = Path(__file__).parent.parent
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def start(stack: ExitStack, log: Path, command: list, ready: Callable[[], bool], **options) -> subprocess.Popen:
    """Starts a server and waits until it is ready. It gets a session of its own, so that Ctrl-C reaches only us and
    everything ends in order."""
    output = stack.enter_context(log.open("w"))
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    process = subprocess.Popen(list(map(str, command)), **streams, start_new_session=True, **options)
    stack.callback(stop, process)
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{command[0]} did not get ready:\n{log.read_text()}")
        time.sleep(0.05)
    return process


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def compiled(name: str, directory: Path) -> Path:
    """A program of one C file beside this harness."""
    program = directory / name
    if not program.exists():
        subprocess.run(["cc", "-O2", "-o", program, SOURCES / f"{name}.c"], check=True)
    return program


def account_of(path: Path) -> dict[str, int]:
    """Options of a process that root starts as the owner of `path`; others can start it only as themselves."""
    if os.geteuid() != 0:
        return {}
    owner = path.stat()
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far, those that have ended included. See proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    utime, stime = int(fields[11]), int(fields[12])
    return (utime + stime) / TICKS_PER_SECOND


def accepts(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])
