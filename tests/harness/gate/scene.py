"""A gate before the real server, driven by the test; what talks to it runs in threads."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from lastseat.harness.asking import Asking
from lastseat.harness.faults import Circumstances, Constraint, Database, Place
from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import GateEvent
from lastseat.harness.gate.gate import Gate
from lastseat.harness.gate.isolation import Level
from lastseat.harness.gate.messages import PROTOCOL_3_0, cut, cut_first, message, startup
from lastseat.harness.gate.upstream import Upstream
from lastseat.harness.loop import Loop

PATIENCE = 20.0
KNOWN = Database(known=frozenset({"repeat", "generate_series", "values"}))
E = TypeVar("E", bound=GateEvent)


class Talk:
    """A function in a thread; the loop notices its end."""

    def __init__(self, loop: Loop, function: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self._loop = loop
        self._function = function
        self._ended, self._end = os.pipe()
        loop.watch(self, self._notice)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._ended

    def _run(self) -> None:
        try:
            self.result = self._function()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            os.close(self._end)

    def _notice(self) -> None:
        self._loop.forget(self)
        os.close(self._ended)
        self._thread.join()
        self.done = True


class Scene:
    """The gate on one database, and everything that it has reported so far."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.events: list[GateEvent] = []
        self.loop = Loop()
        self.gate = Gate(self.loop, Upstream.parse(dsn))
        self._talks: list[Talk] = []
        self._raws: list[Raw] = []
        self._asking: Asking | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.close()
        for raw in self._raws:
            raw.close()
        for talk in self._talks:
            self.until(lambda talk=talk: talk.done)
        self.loop.close()
        if self._asking is not None:
            self._asking.close()

    @property
    def backends(self) -> Backends:
        self._asking = self._asking or Asking(self.dsn)
        return Backends(self._asking)

    def talk(self, function: Callable[..., Any], *args: Any) -> Talk:
        """Run this beside the loop."""
        talk = Talk(self.loop, lambda: function(*args))
        self._talks.append(talk)
        return talk

    def until(self, condition: Callable[[], Any]) -> Any:
        """Run the loop until this is true; what it was."""
        end = time.monotonic() + PATIENCE
        while True:
            self.events += self.gate.drain()
            found = condition()
            if found:
                return found
            assert time.monotonic() < end, f"it never came about; events: {self.events}"
            # News come as events of the loop; the bound is for conditions about something else.
            self.loop.poll(0.05)

    def held(self, client: str = "alice") -> Connection:
        """The client's connection on which a turn waits, once there is one."""
        return self.until(
            lambda: next((c for c in self.gate.of(client) if c.held and not c.in_flight), None)
        )

    def finish(self, talk: Talk) -> Any:
        """Let the talk come to its end, releasing nothing; its result, or what it raised."""
        self.until(lambda: talk.done)
        if talk.error is not None:
            raise talk.error
        return talk.result

    def release_all(self, talk: Talk, client: str = "alice") -> list[str]:
        """Release turn after turn until the talk has ended; what they were."""
        turns = []
        while True:
            waiting = self.until(
                lambda: (
                    talk.done
                    or next((c for c in self.gate.of(client) if c.held and not c.in_flight), None)
                )
            )
            if talk.done:
                return turns
            turns.append(str(waiting.held[0]))
            waiting.release()

    def place(
        self,
        connection: Connection,
        *,
        hasty: bool = True,
        violated: Callable[[str], Constraint | None] = lambda _: None,
        where: Circumstances | None = None,
    ) -> Place:
        """Where a fault may strike, in the middle of what somebody does on this connection."""
        return Place(
            connection.client,
            self.gate,
            self.backends,
            connection,
            busy=True,
            begins=False,
            hasty=hasty,
            violated=violated,
            where=where or Circumstances(KNOWN, Level.SERIALIZABLE, lambda: True),
        )

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind so far."""
        self.events += self.gate.drain()
        return [event for event in self.events if isinstance(event, kind)]

    def raw(self, client: str = "alice") -> Raw:
        """A client without a driver, on a connection that has just been made: still a visitor."""
        raw = Raw(self, self.gate.admit(client))
        self._raws.append(raw)
        return raw

    def raw_ready(self, client: str = "alice", **parameters: str) -> Raw:
        """The same, started up."""
        raw = self.raw(client)
        raw.log_in(**parameters)
        raw.until("Z")
        return raw


class Raw:
    """Sends bytes, and reads messages, while the loop runs."""

    def __init__(self, scene: Scene, url: str) -> None:
        self._scene = scene
        at = urlsplit(url)
        self.password = at.password or ""
        self.sock = socket.create_connection((at.hostname, at.port))
        self.data = bytearray()
        self.ended = False
        scene.loop.watch(self.sock, self._receive)

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def log_in(self, version: int = PROTOCOL_3_0, **parameters: str) -> None:
        """Start up, and show the password; the greeting, or a refusal, comes next."""
        self.ask_in(version, **parameters)
        self.show(self.password)

    def ask_in(self, version: int = PROTOCOL_3_0, **parameters: str) -> None:
        """Start up, until it is asked for the password."""
        self.send(startup({"user": "x", "database": "x", **parameters}, version))
        assert self.until("R") == "R"

    def show(self, password: str) -> None:
        """Answer by this password."""
        self.send(message("p", password.encode() + b"\0"))

    def _receive(self) -> None:
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            data = b""
        self.data += data
        if not data:
            self.ended = True
            self._scene.loop.forget(self.sock)

    def bytes(self, count: int) -> bytes:
        """The next bytes, outside of any message."""
        self._scene.until(lambda: len(self.data) >= count)
        taken = bytes(self.data[:count])
        del self.data[:count]
        return taken

    def until(self, kind: str) -> str:
        """Read up to the next message of this kind, and not further; the kinds of all of them."""
        found = ""

        def there() -> bool:
            nonlocal found
            while not found.endswith(kind) and (part := cut_first(self.data)) is not None:
                found += part.kind
            return found.endswith(kind)

        self._scene.until(there)
        return found

    def to_the_end(self) -> str:
        """Read to the end of the stream; the kinds of the messages."""
        self._scene.until(lambda: self.ended)
        return "".join(m.kind for m in cut(self.data))

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            self._scene.loop.forget(self.sock)
        self.sock.close()


# What a client says.


def query(sql: str) -> bytes:
    return message("Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "") -> bytes:
    return message("P", f"{name}\0{sql}\0".encode() + b"\0\0")


def bind(name: str = "", *parameters: str) -> bytes:
    """Bind to the unnamed portal, all in text."""
    values = b"".join(struct.pack("!i", len(p.encode())) + p.encode() for p in parameters)
    head = b"\0" + name.encode() + b"\0" + struct.pack("!hh", 0, len(parameters))
    return message("B", head + values + struct.pack("!h", 0))


def describe() -> bytes:
    return message("D", b"P\0")


def execute(limit: int = 0) -> bytes:
    return message("E", b"\0" + struct.pack("!i", limit))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")


def extended(sql: str, *parameters: str) -> bytes:
    """Parse, Bind, Execute."""
    return parse(sql) + bind("", *parameters) + execute()
