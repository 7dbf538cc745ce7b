"""Clients that take turns: one sends its statement when another has its answer, which no load generator does.

In front of one server each turn then changes whose server it is. They speak the simple protocol and log in with a
password in clear. What they cost themselves doesn't matter: only the server's and the proxy's CPU is measured.
"""

import socket
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from harness.contestants import Contestant
from harness.processes import cpu_seconds

WARM_UP = 200  # turns of each client before those that count
CLEARTEXT_PASSWORD = struct.pack("!I", 3)


@dataclass
class Cost:
    """CPU µs per statement."""

    server: float
    proxy: float


@dataclass
class Turn:
    """Who takes part: a token, and the answer that its owner must get."""

    token: str
    answer: str


class Client:
    """A connection, logged in."""

    def __init__(self, stack: ExitStack, proxy: Contestant, token: str):
        login = proxy.login
        self.socket = stack.enter_context(socket.create_connection((login["PGHOST"], int(login["PGPORT"]))))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = stack.enter_context(self.socket.makefile("rb"))
        self.password = token
        words = ["user", login["PGUSER"], "database", login["PGDATABASE"], ""]
        self.send(b"", struct.pack("!I", 3 << 16) + "\0".join(words).encode() + b"\0")
        self.answer()

    def ask(self, statement: str) -> list[str]:
        """The first column of the rows."""
        self.send(b"Q", statement.encode() + b"\0")
        return self.answer()

    def send(self, tag: bytes, body: bytes) -> None:
        self.socket.sendall(tag + struct.pack("!I", len(body) + 4) + body)

    def answer(self) -> list[str]:
        rows = []
        while True:
            tag, body = self.receive()
            if tag == b"D":
                (length,) = struct.unpack("!i", body[2:6])
                rows.append(body[6 : 6 + length].decode() if length >= 0 else "NULL")
            elif tag == b"R" and body == CLEARTEXT_PASSWORD:
                self.send(b"p", self.password.encode() + b"\0")
            elif tag == b"E":
                raise SystemExit(f"refused: {body.decode().split(chr(0))}")
            elif tag == b"Z":
                return rows

    def receive(self) -> tuple[bytes, bytes]:
        head = self.received.read(5)
        if len(head) < 5:
            raise SystemExit("a connection was closed")
        tag, length = struct.unpack("!cI", head)
        return tag, self.received.read(length - 4)


def take_turns(proxy: Contestant, turns: Sequence[Turn], statement: str, seconds: float) -> Cost:
    """Costs of `statement` by clients in turns, all on the one server that `proxy` has."""
    with ExitStack() as stack:
        clients = [(Client(stack, proxy, turn.token), turn.answer) for turn in turns]
        backend = the_backend(clients)
        for _ in range(WARM_UP):
            go_round(clients, statement)
        server, ours, rounds = cpu_seconds(backend), proxy.cpu_seconds(), 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            go_round(clients, statement)
            rounds += 1
        server, ours = cpu_seconds(backend) - server, proxy.cpu_seconds() - ours
        if the_backend(clients) != backend:
            raise SystemExit("the server was replaced by another")
    statements = rounds * len(clients)
    return Cost(server / statements * 1e6, ours / statements * 1e6)


def go_round(clients: list[tuple[Client, str]], statement: str) -> None:
    for client, expected in clients:
        if (rows := client.ask(statement)) != [expected]:
            raise SystemExit(f"{statement}: {rows} instead of {expected}")


def the_backend(clients: list[tuple[Client, str]]) -> int:
    """The process of the server that they share."""
    backends = {client.ask("SELECT pg_backend_pid()")[0] for client, _ in clients}
    if len(backends) != 1:
        raise SystemExit(f"the clients had {len(backends)} servers")
    return int(backends.pop())
