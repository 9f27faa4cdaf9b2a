"""One client's connection through the gate: a pair of sockets and the turns between them."""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Callable

from lastseat.harness.gate import messages, upstream
from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    GateEvent,
    HungUp,
    Opened,
    Refused,
    Sent,
    Undelivered,
)
from lastseat.harness.gate.messages import Message, ServerError
from lastseat.harness.gate.turns import Cutter, Gathering, Turn
from lastseat.harness.gate.upstream import CannotConnect, Session, Upstream
from lastseat.harness.loop import Loop

_SEND_PATIENCE = 10.0  # seconds until a peer that reads nothing counts as gone
_AT_ANY_TIME = frozenset("NSA")  # notice, parameter status, notification: no answer to a turn
_REFUSED_POLITELY = frozenset({messages.SSL_REQUEST, messages.GSSENC_REQUEST})


class Connection:
    """Holds the client's turns until they are released, one at a time.

    ``held``: turns that the client has sent and the server has not seen. ``in_flight``: the turn
    that the server is working on. ``status``: the server's last transaction status.
    """

    def __init__(
        self,
        number: int,
        client: str,
        sock: socket.socket,
        *,
        loop: Loop,
        server: Upstream,
        report: Callable[[GateEvent], None],
        passes: Callable[[str], bool],
    ) -> None:
        self.number = number
        self.client = client
        self.backend_pid = 0
        self.held: deque[Turn] = deque()
        self.in_flight: Turn | None = None
        self.status = "I"
        self._loop = loop
        self._server = server
        self._report = report
        self._passes = passes
        self._client_sock: socket.socket | None = sock
        self._server_sock: socket.socket | None = None
        self._client_bytes = bytearray()
        self._server_bytes = bytearray()
        self._cutter = Cutter()
        self._gathering: Gathering | None = None
        self._lose_answer = False
        self._instead: deque[bytes] = deque()
        self._substituted = False
        self._copying = False
        self._hung_up = False
        self._last_error: ServerError | None = None
        sock.setblocking(False)
        loop.watch(sock, self._client_ready)

    # What the decider may do.

    @property
    def alive(self) -> bool:
        """Can turns still reach the server on this connection?"""
        return self._server_sock is not None

    @property
    def closed(self) -> bool:
        """Has the client hung up, or was it refused?"""
        return self._client_sock is None

    def release(self, *, lose_answer: bool = False) -> None:
        """Pass the first held turn on; with ``lose_answer`` cut the client off when it is done."""
        self._lose_answer = lose_answer
        self._begin(self.held.popleft())
        self._to_server(self._gathering.turn.raw if self._gathering else b"")

    def substitute(self, *instead: str) -> None:
        """Give the server other statements in the place of the first held turn.

        The client is shown the error that the first of them raises and the transaction status
        after the last, as if its own turn had met that error.
        """
        self._begin(self.held.popleft())
        self._substituted = True
        self._instead.extend(messages.query(sql) for sql in instead)
        self._to_server(self._instead.popleft())

    def lose_request(self) -> None:
        """The first held turn never arrives: the connection dies under it."""
        self.cut()

    def cut(self) -> None:
        """End the connection on both sides, and go on reading what the client had still sent."""
        for turn in self.held:
            self._report(Undelivered(self.client, self.number, turn))
        self.held.clear()
        self._end_server("gate")
        self._hang_up()

    def close(self) -> None:
        """Drop both sockets without a word; for the end of a run."""
        self._end_server("gate")
        self._end_client()

    # From the client.

    def _client_ready(self) -> None:
        data = _receive(self._client_sock)
        if data is None:
            return
        if not data:
            self._client_gone()
            return
        self._client_bytes += data
        if self._server_sock is None and self.backend_pid == 0:
            self._start_up()
        else:
            self._read_turns()

    def _start_up(self) -> None:
        while (packet := messages.cut_startup(self._client_bytes)) is not None:
            code, payload = packet
            if code in _REFUSED_POLITELY:
                self._to_client(b"N")
            elif code == messages.CANCEL_REQUEST:
                upstream.cancel(self._server, payload)
                self._end_client()
                return
            else:
                self._open(payload)
                self._read_turns()
                return

    def _open(self, payload: bytes) -> None:
        try:
            session = upstream.connect(self._server, messages.read_parameters(payload))
        except CannotConnect as error:
            self._report(Refused(self.client, self.number, str(error)))
            self._to_client(error.raw or messages.error("FATAL", "08006", str(error)))
            self._end_client()
            return
        self._welcome(session)

    def _welcome(self, session: Session) -> None:
        self._server_sock = session.sock
        self.backend_pid = session.backend_pid
        session.sock.setblocking(False)
        self._loop.watch(session.sock, self._server_ready)
        self._report(Opened(self.client, self.number, session.backend_pid))
        self._to_client(session.greeting)

    def _read_turns(self) -> None:
        for message in messages.cut(self._client_bytes):
            if message.kind == "X":
                self._to_server(message.raw)
                self._client_gone()
                return
            if self._copying and message.kind in "dcf":
                self._to_server(message.raw)
                continue
            turn = self._cutter.feed(message)
            if turn is not None:
                self._arrived(turn)

    def _arrived(self, turn: Turn) -> None:
        self._report(Arrived(self.client, self.number, turn))
        if not self.alive:
            self._report(Undelivered(self.client, self.number, turn))
            return
        self.held.append(turn)
        self.advance()

    def advance(self) -> None:
        """Let the first held turns through that nobody needs to decide about."""
        while self.held and self.in_flight is None and self.alive:
            if self.held[0].statements and not self._passes(self.client):
                return
            self.release()

    def _client_gone(self) -> None:
        self._end_client()
        for turn in self.held:
            self._report(Undelivered(self.client, self.number, turn))
        self.held.clear()
        self._end_server("client")

    # To and from the server.

    def _begin(self, turn: Turn) -> None:
        self.in_flight = turn
        self._substituted = False
        self._gathering = Gathering(turn)
        self._report(Sent(self.client, self.number, turn))

    def _server_ready(self) -> None:
        data = _receive(self._server_sock)
        if data is None:
            return
        if not data:
            self._server_gone()
            return
        self._server_bytes += data
        for message in messages.cut(self._server_bytes):
            self._from_server(message)

    def _from_server(self, message: Message) -> None:
        if message.kind == "E":
            self._last_error = messages.read_error(message.payload)
        if self._gathering is None or message.kind in _AT_ANY_TIME:
            self._to_client(message.raw)
            return
        done = self._gathering.feed(message)
        if message.kind == "G":  # the client sends its rows only when it has read this
            self._copying = True
            self._to_client(bytes(self._gathering.raw))
            self._gathering.raw.clear()
        if not done:
            return
        if self._instead:
            self._drop_ready()
            self._to_server(self._instead.popleft())
            return
        self._answered(self._gathering)

    def _drop_ready(self) -> None:
        """Between two substitutes: keep the error for the client, not the status after it."""
        assert self._gathering is not None
        kept = [m for m in messages.cut(bytearray(self._gathering.raw)) if m.kind == "E"]
        self._gathering.raw[:] = b"".join(m.raw for m in kept)

    def _answered(self, gathering: Gathering) -> None:
        answer = gathering.answer()
        self.status = answer.status or self.status
        self.in_flight = self._gathering = None
        self._copying = False
        shown = _shown(gathering.raw) if self._substituted else bytes(gathering.raw)
        lost = self._lose_answer
        self._report(
            Answered(
                self.client,
                self.number,
                gathering.turn,
                answer,
                delivered=not lost,
                substituted=self._substituted,
            )
        )
        if lost:
            self.cut()
            return
        self._to_client(shown)
        self.advance()

    def _server_gone(self) -> None:
        if self._gathering is not None and not self._lose_answer:
            self._to_client(bytes(self._gathering.raw))
        for turn in self.held:
            self._report(Undelivered(self.client, self.number, turn))
        self.held.clear()
        self._end_server("server")
        self._hang_up()

    def _end_server(self, by: str) -> None:
        if self._server_sock is None:
            return
        self._loop.forget(self._server_sock)
        self._server_sock.close()
        self._server_sock = None
        turn, self.in_flight, self._gathering = self.in_flight, None, None
        self._report(Broken(self.client, self.number, self.backend_pid, by, turn, self._last_error))

    def _to_server(self, data: bytes) -> None:
        if self._server_sock is not None and not _send(self._server_sock, data):
            self._server_gone()

    def _to_client(self, data: bytes) -> None:
        if self._client_sock is None or self._hung_up or not data:
            return
        if not _send(self._client_sock, data):
            self._client_gone()

    def _hang_up(self) -> None:
        """Say nothing more to the client, but listen on: its last words tell what it had sent."""
        if self._client_sock is not None:
            self._hung_up = True
            try:
                self._client_sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._end_client()

    def _end_client(self) -> None:
        if self._client_sock is not None:
            self._loop.forget(self._client_sock)
            self._client_sock.close()
            self._client_sock = None
            self._report(HungUp(self.client, self.number))


def _shown(raw: bytearray) -> bytes:
    """Of a substituted turn's answers: the first error, and the last ReadyForQuery."""
    found = list(messages.cut(bytearray(raw)))
    errors = [m.raw for m in found if m.kind == "E"][:1]
    return b"".join(errors + [m.raw for m in found if m.kind == "Z"][-1:])


def _receive(sock: socket.socket | None) -> bytes | None:
    """What has come; empty at the end of the stream; None if there is nothing yet."""
    if sock is None:
        return None
    received = bytearray()
    while True:
        try:
            data = sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return bytes(received) or None
        except OSError:
            return bytes(received)
        received += data
        if not data or not isinstance(sock, ssl.SSLSocket):
            return bytes(received)


def _send(sock: socket.socket, data: bytes) -> bool:
    """Send all of it; False if the peer is gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            if not select.select([], [sock], [], _SEND_PATIENCE)[1]:
                return False
        except OSError:
            return False
    return True
