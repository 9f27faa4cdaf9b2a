"""One client's connection through the gate: its two ends, and the turns between them."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Mapping

from attrs import evolve

from lastseat.harness.gate import messages, upstream
from lastseat.harness.gate.cancelling import as_cancelled, cleans_up
from lastseat.harness.gate.ends import Ends
from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    Garbled,
    GateEvent,
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

    Whatever leaves for either side is on the record before: see ``Ends``. So a server's FATAL is
    the end of the connection when it is read, not when the server's stream ends a moment later.
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
        self._ends = Ends(client, number, report)
        self._ends.open(client=Pipe(sock, loop, came=self._client_said, ended=self._client_ended))
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
        return self._ends.with_server

    @property
    def closed(self) -> bool:
        """Has the client hung up, or was it refused?"""
        return not self._ends.with_client

    @property
    def left_alone(self) -> bool:
        """Is the server at work for a client that has gone?"""
        return self.closed and self._flight is not None

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

    def substitute(self, *instead: str, leading: int = 0) -> None:
        """Give the server other statements in the place of the first held turn.

        The client is shown the error that the first of them raises and the transaction status
        after the last, as if its own turn had met that error. So many ``leading`` ones are the
        client's own, and answered before the error.
        """
        self._launch(*instead, leading=leading)

    def garble_request(self) -> None:
        """The first held turn never arrives; the server gets bytes that it cannot read."""
        self._ends.pass_on(self._ends.passed("server", "garbage"), GARBAGE)

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
        self._fatal = says or self._fatal
        self._cut(_raw(says), reset=reset)

    def _cut(self, says: bytes, *, reset: bool) -> None:
        self._end_server("client" if self.closed else "gate", says, last=not reset)
        if reset:
            self._ends.reset_client()
        else:
            self._ends.hang_up()

    def forsake(self) -> None:
        """The client waits no longer for what is held: it is lost with the connection, as where
        the client hangs up at once.

        Not where all that is held cleans up, for which not every driver waits; nor what is stuck.
        """
        if self.held and not self.withheld and not cleans_up(self.held[0]):
            self._end_server("client")
            self._ends.hang_up()

    def cancel_held(self) -> bool:
        """The first held turn is answered as if it had been cancelled while the server worked.

        False where none is held, or a cancellation has no effect on it.
        """
        waits = self.held and self.alive and self._flight is None and not self.withheld
        instead = as_cancelled(self.held[0]) if waits and not self.failed_until_sync else ()
        if instead:
            self.substitute(*instead)
        return bool(instead)

    def advance(self) -> None:
        """Let the first held turns through that nobody needs to decide about."""
        while self.held and self._flight is None and self.alive and not self.withheld:
            if self.held[0].statements and not self._passes(self.client):
                return
            self._launch()

    def close(self) -> None:
        """Drop all ends without a word; for the end of a run."""
        self._end_server("gate")
        self._ends.leave_client()

    # How it begins.

    def open(self, version: int, parameters: Mapping[str, str], said: bytes = b"") -> None:
        """Open the client's session at the server; it may have ``said`` more already."""
        try:
            session = upstream.connect(self._upstream, parameters, version)
        except CannotConnect as refused:
            raw = refused.raw or messages.error("FATAL", "08006", str(refused))
            self._ends.tell(Refused(self.client, self.number, str(refused), refused.error), raw)
            self._ends.leave_client()
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
        refused = Refused(self.client, self.number, str(said or "hung up"), said)
        self._ends.tell(refused, _raw(said))
        if reception.then is Then.RESET:
            self._ends.reset_client()
        else:
            self._ends.leave_client()

    def _welcome(self, session: Session) -> None:
        self.backend_pid = session.backend_pid
        self._handed_out(session.key)
        self._ends.tell(Opened(self.client, self.number, session.backend_pid), session.greeting)
        self._ends.open(
            server=Pipe(session.sock, self._loop, came=self._server_said, ended=self._server_ended)
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
                    self._ends.pass_on(self._ends.passed("server", "farewell"), message.raw)
                self._client_ended()
                return
            if self._flight is not None and self._flight.takes(message):
                self._ends.pass_on(self._ends.passed("server", "part of a COPY"), message.raw)
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
        self.cut(says=ServerError("FATAL", "08P01", reason))

    def _client_ended(self) -> None:
        self._ended_by = self._ended_by or "client"
        unfinished = self._cutter.rest()
        if unfinished is not None:
            # Executed or not: the client has said it, and may have meant it to count.
            self._report(Arrived(self.client, self.number, unfinished))
            self.held.append(unfinished)
        if self.withheld:
            self._ends.leave_client()
            return
        self._drop_held()
        self._ends.leave_client()
        self._end_server("client")

    # To and from the server.

    def _launch(
        self,
        *instead: str,
        leading: int = 0,
        treatment: Treatment | None = None,
        behind: str | None = None,
    ) -> None:
        assert self._flight is None, "one turn at a time"
        turn = self.held.popleft()
        skipped = self.failed_until_sync and turn.ends_with in "HS"
        self._flight = Flight(
            turn,
            instead=instead,
            leading=leading,
            behind=behind,
            treatment=treatment,
            skipped=skipped,
        )
        self._ends.pass_on(Sent(self.client, self.number, turn), self._flight.next_request())
        if self._flight.done:  # nothing is to be answered: Flush alone, or skipped
            self._answered(self._flight)

    def _server_said(self, data: bytes) -> None:
        self._server_bytes += data
        try:
            for message in messages.cut(self._server_bytes):
                self._from_server(message)
                if not self.alive:  # there is nothing behind its last word
                    break
        except (BadFraming, ValueError):  # a client could make no more of it than we
            self._server_ended()

    def _from_server(self, message: Message) -> None:
        if message.kind == "N" and self.finishing:  # it warns us, and not the client
            self.finishing = False
            return
        flight = self._flight
        if flight is not None:
            flight.feed(message)
        if self._is_last_word(message):
            self._fatal = messages.read_error(message.payload)
            self._server_ended(b"" if flight is not None else message.raw)
            return
        if flight is None:  # said at any time
            self._ends.tell(self._ends.passed("client", f"message {message.kind}"), message.raw)
            return
        if message.kind == "G":  # the client sends its rows only when it has read this
            self._ends.tell(self._ends.passed("client", "readiness for a COPY"), _joined(flight))
        if not flight.answered:
            return
        if flight.done:
            self._answered(flight)
            self.advance()
        else:
            self._ends.pass_on(self._ends.passed("server", "rest of a turn"), flight.next_request())

    def _is_last_word(self, message: Message) -> bool:
        """Whether the server ends the session with this, as the client is told."""
        lost = self._flight is not None and self._flight.treatment is not None
        ends = message.kind == "E" and messages.read_error(message.payload).severity != "ERROR"
        return ends and not lost

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
            self._ends.tell(answered, _joined(flight))
            return
        whole = flight.take_shown()
        shown = list(treatment.shown(whole))
        told = any(message.kind == "E" and message.raw in shown for message in whole)
        answered = evolve(answered, told=told)
        if treatment.then in {Then.CLOSE, Then.RESET}:
            self._report(answered)
            self._cut(b"".join(shown), reset=treatment.then is Then.RESET)
            return
        self._silent = treatment.then is Then.SILENCE
        self._ends.tell(answered, b"".join(shown))

    def _server_ended(self, said: bytes = b"") -> None:
        if self._flight is not None and self._flight.treatment is None:
            said = _joined(self._flight) + said
        self._end_server("server", said)
        self._ends.hang_up()

    # The ends.

    def _end_server(self, by: str, says: bytes = b"", *, last: bool = False) -> None:
        """Let go of the server; the client is told this, if it is told anything."""
        if not self.alive:
            return
        self._ended_by = self._ended_by or by
        self._drop_held()
        turn, self._flight = self.in_flight, None
        broken = Broken(self.client, self.number, self.backend_pid, by, turn, self._fatal)
        self._ends.leave_server(broken, says, last=last)

    def _drop_held(self) -> None:
        while self.held:
            turn = self.held.popleft()
            self._report(Undelivered(self.client, self.number, turn, self._ended_by))


def _raw(error: ServerError | None) -> bytes:
    """The message of an error that ends the connection; none where there is none."""
    if error is None:
        return b""
    return messages.error(error.severity, error.sqlstate, error.message)


def _joined(flight: Flight) -> bytes:
    """What the client is to read of an answer now."""
    return b"".join(message.raw for message in flight.take_shown())
