"""The way into the gate: a port lets in the client that was given its password, and no other.

Every user of the machine can connect to a port on 127.0.0.1, and so can a scanner, a browser, or a
client that has mistaken the number. Until a connection has shown the password of the port's URL, it
is a *visitor*: nothing of it is reported, numbered or passed on, and what it may cost is bounded.

The password is asked for in clear text, which every driver answers by itself. It crosses the
loopback only, where nobody but root can read along, and it is good for nothing but this port.
A CancelRequest carries no password; it is passed on if its key is one that was handed out here.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import resource
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from attrs import Factory, define, field, frozen

from lastseat.harness.gate import messages
from lastseat.harness.gate.messages import BadFraming
from lastseat.harness.loop import Loop

HOST = "127.0.0.1"
VISIT_SECONDS = 60.0
"""How long a visitor may take, as PostgreSQL's own authentication_timeout."""

MOST_BYTES = 20_000
"""What a visitor may send: a start-up packet and a password, each with room to spare."""

_BACKLOG = 64
_ENCRYPTION = frozenset({messages.SSL_REQUEST, messages.GSSENC_REQUEST})
_ASK = messages.message("R", (3).to_bytes(4, "big"))  # AuthenticationCleartextPassword
_WRONG = messages.error(
    "FATAL", "28P01", "this port admits one client of lastseat, by the password in its URL"
)


@frozen
class Admitted:
    """A visitor that has shown the password: its socket, and how it wants its session."""

    sock: socket.socket
    version: int
    parameters: Mapping[str, str]
    said: bytes
    """What it has sent behind the password."""


def _most_visitors() -> int:
    """An eighth of the files that this process may have open, which it needs for other things."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 256 if soft == resource.RLIM_INFINITY else max(8, min(256, soft // 8))


@define
class Lobby:
    """All visitors of a gate, so that their number is bounded, however many ports it has."""

    most: int = Factory(_most_visitors)
    _visitors: list[Visitor] = field(factory=list, init=False)
    """The oldest first."""

    def receive(self, visitor: Visitor) -> None:
        """One more; where there is no room, another must leave."""
        if len(self._visitors) >= self.most:
            self.make_room()
        self._visitors.append(visitor)

    def make_room(self) -> bool:
        """Turn one visitor away; was there any? Those that have begun to speak PostgreSQL's
        protocol are the last to go: a client of ours does so at once, idle connections never."""
        idle = next((v for v in self._visitors if not v.asked), None)
        visitor = idle or next(iter(self._visitors), None)
        if visitor is not None:
            visitor.leave()
        return visitor is not None

    def forget(self, visitor: Visitor) -> None:
        """It has left, or was let in."""
        self._visitors.remove(visitor)

    def expire(self) -> None:
        """Turn away who has taken too long."""
        while self._visitors and self._visitors[0].since < time.monotonic() - VISIT_SECONDS:
            self._visitors[0].leave()

    def close(self) -> None:
        while self._visitors:
            self._visitors[0].leave()


@define(eq=False)
class Entrance:
    """One client's port. ``admit`` is called with each connection that has shown the password,
    ``cancel`` with the socket and the key of each CancelRequest."""

    loop: Loop
    lobby: Lobby
    admit: Callable[[Admitted], None]
    cancel: Callable[[socket.socket, bytes], None]
    turned_away: int = field(default=0, init=False)
    """How many asked for a session as PostgreSQL's clients do, and did not show the password."""
    let_in: int = field(default=0, init=False)
    """How many showed it."""
    _keys: set[bytes] = field(factory=set, init=False)
    """What a CancelRequest must show: a process id and its secret."""
    _password: str = field(factory=lambda: secrets.token_hex(16), init=False, repr=False)
    _port: socket.socket = field(
        factory=lambda: socket.create_server((HOST, 0), backlog=_BACKLOG), init=False
    )

    def __attrs_post_init__(self) -> None:
        self._port.setblocking(False)
        self.loop.watch(self._port, self._accept, news=False)

    def url(self, user: str, dbname: str) -> str:
        """What the client is to connect to."""
        _, number = self._port.getsockname()
        name, database = quote(user, safe=""), quote(dbname, safe="")
        return f"postgresql://{name}:{self._password}@{HOST}:{number}/{database}?sslmode=disable"

    def hand_out(self, key: bytes) -> None:
        """The client was told this key, and may cancel with it."""
        if key:
            self._keys.add(key)

    def knows(self, key: bytes) -> bool:
        """Whether the client was told this key."""
        return key in self._keys

    def recognises(self, password: bytes) -> bool:
        """Whether this is the password of the URL."""
        return hmac.compare_digest(password, self._password.encode())

    def close(self) -> None:
        """Take no more connections; those that were let in stay."""
        self.loop.forget(self._port)
        self._port.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._port.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it was there, and has gone again
            return
        except OSError as error:
            # The process has all the files open that it may have: one for another.
            if error.errno not in {errno.EMFILE, errno.ENFILE} or not self.lobby.make_room():
                raise
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lobby.receive(Visitor(sock, self))


@define(eq=False)
class Visitor:
    """A connection that has not shown the password yet."""

    _sock: socket.socket
    _entrance: Entrance
    since: float = field(factory=time.monotonic, init=False)
    asked: bool = field(default=False, init=False)
    """Whether it was asked for the password: it has said what session it wants."""
    _said: bytearray = field(factory=bytearray, init=False)
    _taken: int = field(default=0, init=False)
    _start_up: tuple[int, bytes] = field(default=(0, b""), init=False)

    def __attrs_post_init__(self) -> None:
        self._entrance.loop.watch(self._sock, self._readable, news=False)

    def leave(self) -> None:
        """Turn it away."""
        self._entrance.turned_away += self.asked
        self._hand_over()
        self._sock.close()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(MOST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._said += data
        self._taken += len(data)
        if not data or self._taken > MOST_BYTES:
            self.leave()
            return
        try:
            if self.asked or self._starts_up():
                self._shows_password()
        except BadFraming:
            self.leave()

    def _starts_up(self) -> bool:
        """Whether it has come so far that it is asked for the password."""
        while (packet := messages.cut_startup(self._said)) is not None:
            code, payload = packet
            if code in _ENCRYPTION:
                self._say(b"N")
            elif code == messages.CANCEL_REQUEST:
                self._cancels(payload)
                return False
            elif code >> 16 == messages.PROTOCOL_3_0 >> 16:
                self._start_up, self.asked = packet, True
                self._say(_ASK)
                return True
            else:
                raise BadFraming(f"first packet of the unknown kind {code}")
        return False

    def _cancels(self, key: bytes) -> None:
        if not self._entrance.knows(key):
            self.leave()
            return
        self._hand_over()
        self._entrance.cancel(self._sock, key)

    def _shows_password(self) -> None:
        answer = messages.cut_first(self._said, _PASSWORD)
        if answer is None:
            return
        if not self._entrance.recognises(answer.payload.removesuffix(b"\0")):
            self._say(_WRONG)
            self.leave()
            return
        self._hand_over()
        self._entrance.let_in += 1
        version, payload = self._start_up
        parameters = messages.read_parameters(payload)
        self._entrance.admit(Admitted(self._sock, version, parameters, bytes(self._said)))

    def _say(self, words: bytes) -> None:
        with contextlib.suppress(OSError):  # where it has gone, its end will show
            self._sock.send(words)

    def _hand_over(self) -> None:
        self._entrance.loop.forget(self._sock)
        self._entrance.lobby.forget(self)


_PASSWORD = frozenset("p")
