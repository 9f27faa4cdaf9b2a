"""A small proxy between an implementation and its server: counts turns, and breaks them.

It works in lock-step, which suffices for clients that wait for each answer: read one turn of the
client (up to Query or Sync), do with it what the plan says, read the server's answer (up to
ReadyForQuery), pass it on.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable

from psycopg.conninfo import conninfo_to_dict, make_conninfo

Action = Callable[["Link"], None]
TURN_ENDS = (b"Q", b"S")


class HungUp(Exception):
    """One side has closed."""


class Link:
    """One connection through the proxy, at the moment of one turn."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.pid = 0
        self.turn = b""
        self.answer = b""

    def forward(self) -> None:
        """Send the turn to the server and read its answer."""
        self.server.sendall(self.turn)
        self.answer = b""
        while True:
            kind, message = read_message(self.server)
            self.answer += message
            if kind == b"K":
                self.pid = struct.unpack_from("!i", message, 5)[0]
            if kind == b"Z":
                return

    def deliver(self) -> None:
        self.client.sendall(self.answer)

    def hang_up(self) -> None:
        raise HungUp


def through(link: Link) -> None:
    link.forward()
    link.deliver()


def lose_request(link: Link) -> None:
    link.hang_up()


def lose_answer(link: Link) -> None:
    link.forward()
    link.hang_up()


def cut_answer(keep: int) -> Action:
    """Deliver the first ``keep`` messages of the answer and half of the next one."""

    def action(link: Link) -> None:
        link.forward()
        cut = 0
        for _ in range(keep):
            cut += 1 + struct.unpack_from("!i", link.answer, cut + 1)[0]
        link.client.sendall(link.answer[: cut + 3])
        link.hang_up()

    return action


def keep_silent(link: Link) -> None:
    """The server does its work; the client hears nothing until it gives up."""
    link.forward()
    link.client.recv(1)
    link.hang_up()


def before(callback: Callable[[int], object]) -> Action:
    """Call back with the backend's pid, then let the turn through."""

    def action(link: Link) -> None:
        callback(link.pid)
        through(link)

    return action


def instead(sql: str) -> Action:
    """Send another statement in the turn's place, so that the server itself answers."""

    def action(link: Link) -> None:
        link.turn = b"Q" + struct.pack("!i", len(sql) + 5) + sql.encode() + b"\0"
        through(link)

    return action


def answer(*messages: tuple[bytes, bytes], then_hang_up: bool = False) -> Action:
    """Answer in the server's place, which never sees the turn."""

    def action(link: Link) -> None:
        for kind, body in messages:
            link.client.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        if then_hang_up:
            link.hang_up()

    return action


def error(severity: str, sqlstate: str) -> tuple[bytes, bytes]:
    fields = (b"S" + severity.encode(), b"V" + severity.encode(), b"C" + sqlstate.encode())
    return b"E", b"\0".join((*fields, b"Mmade up for a test")) + b"\0\0"


class Wire:
    """The proxy; ``dsn`` is what the implementation is given."""

    def __init__(self, upstream: str) -> None:
        self._upstream = conninfo_to_dict(upstream)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.dsn = make_conninfo(
            upstream,
            host="127.0.0.1",
            port=self._listener.getsockname()[1],
            sslmode="disable",
            gssencmode="disable",
        )
        self.turns: list[str] = []
        """The first word of each statement that was sent, in order."""
        self.connections = 0
        self._plan: dict[str, Action] = {}
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def at(self, verb: str, action: Action) -> None:
        """Do ``action`` at the next turn that begins with ``verb``."""
        self._plan[verb] = action

    def plan_is_done(self) -> bool:
        return not self._plan

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for half in list(self._open):
            with contextlib.suppress(OSError):
                half.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, self._connect() as server:
            self._open |= {client, server}
            with contextlib.suppress(HungUp, OSError):
                link = Link(client, server)
                link.turn = read_message(client, typed=False)[1]
                self._plan.pop("CONNECT", through)(link)
                while True:
                    self._one_turn(link)
            self._open -= {client, server}

    def _one_turn(self, link: Link) -> None:
        link.turn, text = b"", b""
        kind = b""
        while kind not in TURN_ENDS:
            kind, message = read_message(link.client)
            link.turn += message
            if kind == b"Q":
                text = message[5:]
            elif kind == b"P":
                text = message[5:].partition(b"\0")[2]
            elif kind == b"X":
                link.server.sendall(message)
                link.hang_up()
        verb = re.findall(r"[A-Za-z]+", text.decode())[0].upper()
        self.turns.append(verb)
        self._plan.pop(verb, through)(link)

    def _connect(self) -> socket.socket:
        host, port = str(self._upstream["host"]), self._upstream["port"]
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, int(str(port))))


def read_message(source: socket.socket, typed: bool = True) -> tuple[bytes, bytes]:
    """One message's kind, and all of its bytes."""
    head = _exactly(source, 5 if typed else 4)
    length = struct.unpack("!i", head[-4:])[0]
    return head[:1], head + _exactly(source, length - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = source.recv(count - len(data))
        if not chunk:
            raise HungUp
        data += chunk
    return data
