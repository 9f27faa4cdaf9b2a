"""One client's connection through the gate: its two ends, and the turns between them."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from lastseat.harness.gate import messages, upstream
from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    Cancelled,
    Garbled,
    GateEvent,
    HungUp,
    Opened,
    Refused,
    Sent,
    Undelivered,
)
from lastseat.harness.gate.flight import Flight
from lastseat.harness.gate.messages import BadFraming, Message, ServerError
from lastseat.harness.gate.pipe import Pipe
from lastseat.harness.gate.turns import Cutter, Turn
from lastseat.harness.gate.upstream import CannotConnect, Session, Upstream
from lastseat.harness.loop import Loop

_REFUSED_POLITELY = frozenset({messages.SSL_REQUEST, messages.GSSENC_REQUEST})


class Connection:
    """Holds the client's turns until they are released, one at a time.

    ``held``: turns that the client has sent and the server has not seen. ``status``: the server's
    last transaction status. ``backend_pid``: 0 until the server has taken the connection.
    ``failed_until_sync``: a batch has failed, and nothing of it is executed any more.

    The end of the client's stream counts as its leaving: what it sent before and nobody has
    released does not reach the server any more, as if the network had lost it.
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
        self.status = "I"
        self._loop = loop
        self._upstream = server
        self._report = report
        self._passes = passes
        self._client: Pipe | None = Pipe(
            sock, loop, came=self._client_said, ended=self._client_ended
        )
        self._server: Pipe | None = None
        self._cancelling: Pipe | None = None
        self._client_bytes = bytearray()
        self._server_bytes = bytearray()
        self._opened = False
        self._garbled = False
        self._cutter = Cutter()
        self._flight: Flight | None = None
        self.failed_until_sync = False
        self._ended_by = ""
        self._fatal: ServerError | None = None

    # What the decider may see and do.

    @property
    def in_flight(self) -> Turn | None:
        """The turn that the server is working on."""
        return self._flight.turn if self._flight is not None else None

    @property
    def alive(self) -> bool:
        """Can turns still reach the server on this connection?"""
        return self._server is not None

    @property
    def closed(self) -> bool:
        """Has the client hung up, or was it refused?"""
        return self._client is None

    def release(self, *, lose_answer: bool = False) -> None:
        """Pass the first held turn on; with ``lose_answer`` cut the client off when it is done.

        Only while nothing is in flight; so with ``substitute``.
        """
        self._launch(lose_answer=lose_answer)
        self.advance()

    def substitute(self, *instead: str) -> None:
        """Give the server other statements in the place of the first held turn.

        The client is shown the error that the first of them raises and the transaction status
        after the last, as if its own turn had met that error.
        """
        self._launch(*instead)

    def lose_request(self) -> None:
        """The first held turn never arrives: the connection dies under it."""
        self.cut()

    def cut(self) -> None:
        """End the connection on both sides, and go on reading what the client had still sent."""
        self._end_server("gate")
        self._hang_up()

    def advance(self) -> None:
        """Let the first held turns through that nobody needs to decide about."""
        while self.held and self._flight is None and self.alive:
            if self.held[0].statements and not self._passes(self.client):
                return
            self._launch()

    def close(self) -> None:
        """Drop all ends without a word; for the end of a run."""
        self._end_server("gate")
        self._end_client()

    # From the client.

    def _client_said(self, data: bytes) -> None:
        if self._garbled:
            return
        self._client_bytes += data
        try:
            if not self._opened:
                self._start_up()
            if self._opened:
                self._read_turns()
        except BadFraming as error:
            self._not_understood(str(error))

    def _start_up(self) -> None:
        while (packet := messages.cut_startup(self._client_bytes)) is not None:
            code, payload = packet
            if code in _REFUSED_POLITELY:
                self._to_client(b"N")
            elif code == messages.CANCEL_REQUEST:
                self._cancel(payload)
                return
            else:
                self._open(code, payload)
                return

    def _cancel(self, payload: bytes) -> None:
        """Pass the request on. The server's hanging up tells the client that it was handled."""
        try:
            sock = upstream.cancel(self._upstream, payload)
        except OSError:  # as where there is no server: the connection ends without an answer
            self._end_client()
            return
        pid = int.from_bytes(payload[:4], "big")
        self._report(Cancelled(self.client, self.number, pid))
        self._cancelling = Pipe(sock, self._loop, came=lambda _: None, ended=self.close)

    def _open(self, version: int, payload: bytes) -> None:
        try:
            session = upstream.connect(self._upstream, messages.read_parameters(payload), version)
        except CannotConnect as refused:
            self._report(Refused(self.client, self.number, str(refused), refused.error))
            self._to_client(refused.raw or messages.error("FATAL", "08006", str(refused)))
            self._end_client()
            return
        self._welcome(session)

    def _welcome(self, session: Session) -> None:
        self._opened = True
        self.backend_pid = session.backend_pid
        self._report(Opened(self.client, self.number, session.backend_pid))
        self._to_client(session.greeting)
        self._server = Pipe(
            session.sock, self._loop, came=self._server_said, ended=self._server_ended
        )
        if session.more:
            self._server_said(session.more)

    def _read_turns(self) -> None:
        for message in messages.cut(self._client_bytes, messages.FRONTEND):
            if message.kind == "X":
                self._to_server(message.raw)
                self._client_ended()
                return
            if self._flight is not None and self._flight.takes(message):
                self._to_server(message.raw)
                continue
            turn = self._cutter.feed(message)
            if turn is not None:
                self._arrived(turn)

    def _arrived(self, turn: Turn) -> None:
        self._report(Arrived(self.client, self.number, turn))
        if not self.alive:
            self._report(Undelivered(self.client, self.number, turn, self._ended_by))
            return
        self.held.append(turn)
        self.advance()

    def _not_understood(self, reason: str) -> None:
        """The server would end a session that it cannot read, and so do we."""
        self._garbled = True
        self._report(Garbled(self.client, self.number, reason))
        if self._opened:
            raw = messages.error("FATAL", "08P01", reason)
            self._to_client(raw)
            self._fatal = messages.read_error(raw[5:])
        self.cut()

    def _client_ended(self) -> None:
        self._ended_by = self._ended_by or "client"
        unfinished = self._cutter.rest()
        if unfinished is not None:
            # Executed or not: the client has said it, and may have meant it to count.
            self._report(Arrived(self.client, self.number, unfinished))
            self.held.append(unfinished)
        self._drop_held()
        self._end_client()
        self._end_server("client")

    # To and from the server.

    def _launch(self, *instead: str, lose_answer: bool = False) -> None:
        assert self._flight is None, "one turn at a time"
        turn = self.held.popleft()
        skipped = self.failed_until_sync and turn.ends_with in "HS"
        self._flight = Flight(turn, instead=instead, lose_answer=lose_answer, skipped=skipped)
        self._report(Sent(self.client, self.number, turn))
        self._to_server(self._flight.next_request())
        if self._flight.done:  # nothing is to be answered: Flush alone, or skipped
            self._answered(self._flight)

    def _server_said(self, data: bytes) -> None:
        self._server_bytes += data
        try:
            for message in messages.cut(self._server_bytes):
                self._from_server(message)
        except (BadFraming, ValueError):  # a client could make no more of it than we
            self._server_ended()

    def _from_server(self, message: Message) -> None:
        if message.kind == "E":
            self._note_fatal(messages.read_error(message.payload))
        flight = self._flight
        if flight is None:  # said at any time, or the last word before the end
            self._to_client(message.raw)
            return
        flight.feed(message)
        if message.kind == "G":  # the client sends its rows only when it has read this
            self._to_client(flight.take_shown())
        if flight.done:
            self._answered(flight)
            self.advance()
        elif flight.answered:
            self._to_server(flight.next_request())

    def _note_fatal(self, error: ServerError) -> None:
        lost = self._flight is not None and self._flight.lose_answer
        if error.severity != "ERROR" and not lost:
            self._fatal = error

    def _answered(self, flight: Flight) -> None:
        answer = flight.answer()
        self.status = answer.status or self.status
        self.failed_until_sync = flight.failed_until_sync or (
            self.failed_until_sync and flight.turn.ends_with != "S"
        )
        self._flight = None
        self._report(
            Answered(
                self.client,
                self.number,
                flight.turn,
                answer,
                delivered=not flight.lose_answer,
                substituted=flight.substituted,
            )
        )
        if flight.lose_answer:
            self.cut()
        else:
            self._to_client(flight.take_shown())

    def _server_ended(self) -> None:
        if self._flight is not None and not self._flight.lose_answer:
            self._to_client(self._flight.take_shown())
        self._end_server("server")
        self._hang_up()

    # The ends.

    def _end_server(self, by: str) -> None:
        if self._cancelling is not None:
            self._cancelling.close()
            self._cancelling = None
        if self._server is None:
            return
        self._ended_by = self._ended_by or by
        self._drop_held()
        self._server.close()
        self._server = None
        turn, self._flight = self.in_flight, None
        self._report(Broken(self.client, self.number, self.backend_pid, by, turn, self._fatal))

    def _drop_held(self) -> None:
        while self.held:
            turn = self.held.popleft()
            self._report(Undelivered(self.client, self.number, turn, self._ended_by))

    def _hang_up(self) -> None:
        """Say nothing more to the client, but listen on: its last words tell what it had sent."""
        if self._client is not None:
            self._client.finish()

    def _end_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
            self._report(HungUp(self.client, self.number))

    def _to_server(self, data: bytes) -> None:
        if self._server is not None:
            self._server.send(data)

    def _to_client(self, data: bytes) -> None:
        if self._client is not None:
            self._client.send(data)
