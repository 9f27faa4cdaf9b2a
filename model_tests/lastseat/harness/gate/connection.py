"""One client's connection through the gate: its two ends, and the turns between them."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping

from attrs import evolve

from lastseat.harness.gate import messages, upstream
from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    Cancelled,
    Garbled,
    GateEvent,
    HungUp,
    Ignored,
    Opened,
    Refused,
    Sent,
    Undelivered,
    Withheld,
)
from lastseat.harness.gate.flight import Flight
from lastseat.harness.gate.messages import BadFraming, Message, ServerError
from lastseat.harness.gate.pipe import Pipe
from lastseat.harness.gate.treatment import GARBAGE, LOST, Reception, Then, Treatment
from lastseat.harness.gate.turns import Cutter, Turn
from lastseat.harness.gate.upstream import CannotConnect, Session, Upstream
from lastseat.harness.loop import Loop


class Connection:
    """Holds the client's turns until they are released, one at a time.

    ``held``: turns that the client has sent and the server has not seen. ``status``: the server's
    last transaction status. ``backend_pid``: 0 until the server has taken the connection.
    ``failed_until_sync``: a batch has failed, and nothing of it is executed any more.
    ``withheld``: the held turns are stuck in the network, and move only by ``deliver`` or ``drop``.
    ``outwaited``: the client is to give up before the server answers.
    ``finishing``: the server was told not to wait for a standby, and answers that with a warning.

    The end of the client's stream counts as its leaving: what it sent before and nobody has
    released does not reach the server any more, as if the network had lost it; but what is withheld
    may still arrive.
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
        handed_out: Callable[[bytes], None] = lambda _: None,
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
        self._handed_out = handed_out
        self._client: Pipe | None = Pipe(
            sock, loop, came=self._client_said, ended=self._client_ended
        )
        self._server: Pipe | None = None
        self._cancelling: Pipe | None = None
        self._client_bytes = bytearray()
        self._server_bytes = bytearray()
        self._deaf = False
        self._silent = False
        self.withheld = False
        self.outwaited = False
        self.finishing = False
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

    @property
    def left_alone(self) -> bool:
        """Is the server at work for a client that has gone?"""
        return self._client is None and self._flight is not None

    @property
    def spoken_on(self) -> bool:
        """Has the client said more, behind what is withheld?"""
        return self.withheld and len(self.held) > 1

    def release(self, treatment: Treatment | None = None, *, behind: str | None = None) -> None:
        """Pass the first held turn on; ``treatment`` is what becomes of its answer.

        Before it, the server is given the statement ``behind`` which it stands, and of which the
        client sees nothing. Only while nothing is in flight; so with ``substitute``.
        """
        self._launch(treatment=treatment, behind=behind)
        self.advance()

    def substitute(self, *instead: str) -> None:
        """Give the server other statements in the place of the first held turn.

        The client is shown the error that the first of them raises and the transaction status
        after the last, as if its own turn had met that error.
        """
        self._launch(*instead)

    def garble_request(self) -> None:
        """The first held turn never arrives; the server gets bytes that it cannot read."""
        self._to_server(GARBAGE)

    def withhold(self) -> None:
        """The held turns stay where they are, even when the client gives up."""
        self.withheld = True
        for turn in self.held:
            self._report(Withheld(self.client, self.number, turn))

    def deliver(self) -> None:
        """The first of the withheld turns arrives at last; if the client has gone, as its end."""
        self.withheld = False
        self._launch(treatment=LOST if self.closed else None)

    def drop(self) -> None:
        """The withheld turns are lost for good, and so is the connection."""
        self.withheld = False
        self.cut()

    def cut(self, *, reset: bool = False, says: ServerError | None = None) -> None:
        """End the connection on both sides, and go on reading what the client had still sent.

        After a ``reset`` there is nothing more to read: the client can send no more. ``says`` are
        the last words that it hears.
        """
        if says is not None:
            self._fatal = says
            raw = messages.error(says.severity, says.sqlstate, says.message)
            self._to_client(raw, last=not reset)
        self._end_server("client" if self.closed else "gate")
        if reset:
            self._reset()
        else:
            self._hang_up()

    def advance(self) -> None:
        """Let the first held turns through that nobody needs to decide about."""
        while self.held and self._flight is None and self.alive and not self.withheld:
            if self.held[0].statements and not self._passes(self.client):
                return
            self._launch()

    def close(self) -> None:
        """Drop all ends without a word; for the end of a run."""
        self._end_server("gate")
        self._end_client()

    # How it begins.

    def open(self, version: int, parameters: Mapping[str, str], said: bytes = b"") -> None:
        """Open the client's session at the server; it may have ``said`` more already."""
        try:
            session = upstream.connect(self._upstream, parameters, version)
        except CannotConnect as refused:
            self._report(Refused(self.client, self.number, str(refused), refused.error))
            self._to_client(refused.raw or messages.error("FATAL", "08006", str(refused)))
            self._end_client()
            return
        self._welcome(session)
        if said:
            self._client_said(said)

    def receive(self, reception: Reception) -> None:
        """The client gets no session."""
        self._deaf = True
        if reception.then is Then.SILENCE:
            self._report(Ignored(self.client, self.number))
            return
        said = reception.says
        self._report(Refused(self.client, self.number, str(said or "hung up"), said))
        if said is not None:
            self._to_client(messages.error(said.severity, said.sqlstate, said.message))
        if reception.then is Then.RESET:
            self._reset()
        else:
            self._end_client()

    def cancel(self, key: bytes) -> None:
        """Pass a CancelRequest on. The server's hanging up tells the client that it was handled."""
        self._deaf = True
        try:
            sock = upstream.cancel(self._upstream, key)
        except OSError:  # as where there is no server: the connection ends without an answer
            self._end_client()
            return
        pid = int.from_bytes(key[:4], "big")
        self._report(Cancelled(self.client, self.number, pid))
        self._cancelling = Pipe(sock, self._loop, came=lambda _: None, ended=self.close)

    def _welcome(self, session: Session) -> None:
        self.backend_pid = session.backend_pid
        self._handed_out(session.key)
        self._report(Opened(self.client, self.number, session.backend_pid))
        self._to_client(session.greeting)
        self._server = Pipe(
            session.sock, self._loop, came=self._server_said, ended=self._server_ended
        )
        if session.more:
            self._server_said(session.more)

    # From the client.

    def _client_said(self, data: bytes) -> None:
        if self._deaf:
            return
        self._client_bytes += data
        try:
            self._read_turns()
        except BadFraming as error:
            self._not_understood(str(error))

    def _read_turns(self) -> None:
        for message in messages.cut(self._client_bytes, messages.FRONTEND):
            if message.kind == "X":
                if not self.withheld:
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
        if self._silent and self.alive:  # what is dead in one direction is dead in the other
            self.cut()
        if not self.alive:
            self._report(Undelivered(self.client, self.number, turn, self._ended_by))
            return
        self.held.append(turn)
        if self.withheld:
            self._report(Withheld(self.client, self.number, turn))
        self.advance()

    def _not_understood(self, reason: str) -> None:
        """The server would end a session that it cannot read, and so do we."""
        self._deaf = True
        self._report(Garbled(self.client, self.number, reason))
        raw = messages.error("FATAL", "08P01", reason)
        self._to_client(raw)
        self._fatal = messages.read_error(raw[5:])
        self.cut()

    def _client_ended(self) -> None:
        if self._fatal is not None:  # the server has said its last word: the client heeds it
            self._end_server("server")
        self._ended_by = self._ended_by or "client"
        unfinished = self._cutter.rest()
        if unfinished is not None:
            # Executed or not: the client has said it, and may have meant it to count.
            self._report(Arrived(self.client, self.number, unfinished))
            self.held.append(unfinished)
        if self.withheld:
            self._end_client()
            return
        self._drop_held()
        self._end_client()
        self._end_server("client")

    # To and from the server.

    def _launch(
        self, *instead: str, treatment: Treatment | None = None, behind: str | None = None
    ) -> None:
        assert self._flight is None, "one turn at a time"
        turn = self.held.popleft()
        skipped = self.failed_until_sync and turn.ends_with in "HS"
        self._flight = Flight(
            turn, instead=instead, behind=behind, treatment=treatment, skipped=skipped
        )
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
        if message.kind == "N" and self.finishing:  # it warns us, and not the client
            self.finishing = False
            return
        flight = self._flight
        if flight is None:  # said at any time, or the last word before the end
            self._to_client(message.raw)
            return
        flight.feed(message)
        if message.kind == "G":  # the client sends its rows only when it has read this
            self._show(flight)
        if not flight.answered:
            return
        if flight.done:
            self._answered(flight)
            self.advance()
        else:
            self._to_server(flight.next_request())

    def _note_fatal(self, error: ServerError) -> None:
        lost = self._flight is not None and self._flight.treatment is not None
        if error.severity != "ERROR" and not lost:
            self._fatal = error

    def _answered(self, flight: Flight) -> None:
        answer = flight.answer()
        self.status = answer.status or self.status
        self.finishing = self.outwaited = False
        self.failed_until_sync = flight.failed_until_sync or (
            self.failed_until_sync and flight.turn.ends_with != "S"
        )
        self._flight = None
        treatment = flight.treatment
        answered = Answered(
            self.client,
            self.number,
            flight.turn,
            answer,
            delivered=treatment is None or treatment.whole,
            substituted=flight.substituted,
        )
        if treatment is None:
            self._report(answered)
            self._show(flight)
            return
        whole = flight.take_shown()
        shown = list(treatment.shown(whole))
        told = any(message.kind == "E" and message.raw in shown for message in whole)
        self._report(evolve(answered, told=told))
        self._to_client(b"".join(shown), last=treatment.then is Then.CLOSE)
        self._go_on(treatment.then)

    def _show(self, flight: Flight) -> None:
        self._to_client(b"".join(message.raw for message in flight.take_shown()))

    def _go_on(self, then: Then) -> None:
        if then is Then.SILENCE:
            self._silent = True
        elif then is not Then.GO_ON:
            self.cut(reset=then is Then.RESET)

    def _server_ended(self) -> None:
        if self._flight is not None and self._flight.treatment is None:
            self._show(self._flight)
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

    def _reset(self) -> None:
        if self._client is not None:
            self._client.reset()
            self._end_client()

    def _end_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
            self._report(HungUp(self.client, self.number))

    def _to_server(self, data: bytes) -> None:
        if self._server is not None:
            self._server.send(data)

    def _to_client(self, data: bytes, *, last: bool = False) -> None:
        if self._client is not None:
            self._client.send(data, last=last)
