"""From what the gate reports to what the model speaks of: evidence, commits and exchanges.

The gate knows connections and turns; the model knows attempts. A statement belongs to the attempt
that its client is running, or ran last; but if it names the bookings of others that run, to those:
a client may persist several attempts in one transaction. What stands between a savepoint and its
end belongs to the attempt that is named there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import Factory, define, field

from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    GateEvent,
    HungUp,
    Ignored,
    Opened,
    Refused,
    Sent,
    Undelivered,
    Withheld,
)
from lastseat.harness.gate.turns import Answer, Turn
from lastseat.harness.judge.ids import Ids
from lastseat.harness.judge.ledger import Ledger
from lastseat.harness.judge.line import Line
from lastseat.spec.events import CommitSent, Phase, Seen, What
from lastseat.spec.visibility import Does, Exchange


@define
class Sight:
    """Reads gate events one by one; collects the exchanges, and yields the events of a history.

    ``tick`` gives the next logical instant; ``wrote`` asks the server whether the open transaction
    of a process has written, and is None if it has ended by now; ``known`` are the server's own
    functions and keywords, ``readers`` the functions of the user's that may not write.
    """

    tick: Callable[[], int]
    wrote: Callable[[int], bool | None]
    known: frozenset[str]
    readers: frozenset[str] = frozenset()
    lost_at: dict[str, list[int]] = Factory(dict)
    commit_sent: set[str] = Factory(set)
    """The attempts whose commit has been handed to a connection."""
    commit_refused: set[str] = Factory(set)
    """Those of them whose last commit the server definitely refused."""
    running: dict[str, str] = Factory(dict)
    """The attempt that a client is running."""
    _ledger: Ledger = field(init=False)
    _last: dict[str, str] = Factory(dict)
    _lines: dict[int, Line] = Factory(dict)
    _unnoticed: dict[int, str] = Factory(dict)
    """Connections that broke and that their client has not closed yet."""
    _owed: set[str] = Factory(set)
    """The clients that closed a connection which had broken, and have not begun an attempt since:
    the loss reaches their next one."""

    def __attrs_post_init__(self) -> None:
        self._ledger = Ledger(self.known, self.readers, self.running)

    def inherit(self, before: Sight) -> None:
        """Begin with what another observer knows of the connections, which outlive its run."""
        for number, line in before._lines.items():
            if line.gone and line.left:
                continue
            mine = self._lines[number] = line.at_rest()
            self._ledger.begin(mine)
            if line.gone:
                self._unnoticed[number] = line.client
        self._owed |= before._owed

    @property
    def exchanges(self) -> list[Exchange]:
        """All of them so far, in their order."""
        return self._ledger.exchanges

    @property
    def prepared(self) -> dict[str, str]:
        """The transactions that were prepared for two-phase commit, by name: whose they are."""
        return {name: prepared.attempt for name, prepared in self._ledger.prepared.items()}

    def invoked(self, client: str, attempt: str, booking: str = "") -> Iterator[Seen]:
        """The client begins an attempt; what broke while it was idle reaches this one."""
        self.running[client] = self._last[client] = attempt
        self._ledger.bookings[attempt] = Ids.of(booking)
        for line in self._of(client):
            line.phase = Phase.CONNECT
            line.unanswered = line.unnoticed = False
            line.given_up = line.left
            line.savepoints.clear()
        lost = sum(owner == client for owner in self._unnoticed.values()) + (client in self._owed)
        self._owed.discard(client)
        for _ in range(lost):
            yield from self._lost(client, None, Phase.CONNECT)

    def gave_up(self, client: str) -> Iterator[Seen | CommitSent]:
        """The client's attempt has failed by the environment: was there an answer to wait for?

        What it has said is said, even if the gate still holds it.
        """
        for line in self._of(client):
            for number, (turn, at) in list(line.arrived.items()):
                yield from self._stuck(line, turn, at)
                del line.arrived[number]
            yield from self._left_waiting(line)

    def emitted(self, client: str) -> None:
        """The client has the answer of its attempt."""
        del self.running[client]
        for number, line in self._lines.items():
            if line.client == client and line.gone and not line.left:
                self._unnoticed[number] = client

    def _of(self, client: str) -> list[Line]:
        return [line for line in self._lines.values() if line.client == client]

    def last_attempt(self, client: str) -> str | None:
        """The attempt that the client runs, or ran last."""
        return self._last.get(client)

    def at_rest(self) -> Iterator[tuple[str, int]]:
        """The connections whose transaction is open although their client runs no attempt."""
        for line in self._lines.values():
            if line.gone or line.left:
                continue
            if line.open and line.client not in self.running and line.client in self._last:
                yield self._last[line.client], line.backend_pid

    def see(self, event: GateEvent) -> Iterator[Seen | CommitSent]:
        """Take one event of the gate; what it means for the attempt that it reached."""
        line = self._line(event.connection, event.client)
        match event:
            case Arrived():
                line.arrived[event.turn.number] = event.turn, self.tick()
            case Sent() | Withheld() | Undelivered():
                yield from self._said(line, event)
            case Answered():
                yield from self._answered(event)
            case Broken():
                yield from self._broken(event)
            case Opened() | Refused() | Ignored():
                yield from self._connecting(line, event)
            case HungUp():
                yield from self._hung_up(line, event)

    def _connecting(self, line: Line, event: Opened | Refused | Ignored) -> Iterator[Seen]:
        match event:
            case Opened():
                line.backend_pid = event.backend_pid
            case Refused():
                yield from self._seen(event.client, What.REFUSED, _state(event), Phase.CONNECT)
            case Ignored():
                line.unanswered = True

    def _hung_up(self, line: Line, event: HungUp) -> Iterator[Seen]:
        yield from self._left_waiting(line)
        line.left = line.given_up = True
        running = event.client in self.running
        if line.unnoticed and running:
            self.lost_at.setdefault(self.running[event.client], []).append(self.tick())
        if self._unnoticed.pop(event.connection, None) is not None:
            if not running:
                self._owed.add(event.client)
            yield from self._lost(event.client, None, Phase.CONNECT)

    def _said(
        self, line: Line, event: Sent | Withheld | Undelivered
    ) -> Iterator[Seen | CommitSent]:
        """A turn counts as said when it is first heard of, wherever it is stuck afterwards."""
        number = event.turn.number
        _, at = line.arrived.pop(number, (None, self.tick()))
        if number in line.withheld:
            stuck = line.withheld.pop(number)
            line.pending = stuck if isinstance(event, Sent) else []
        elif isinstance(event, Withheld):
            yield from self._stuck(line, event.turn, at)
        else:
            yield from self._spoken(line, event.turn, at)
            if isinstance(event, Undelivered):
                line.pending = []
                yield from self._unheard(line, event)

    def _stuck(self, line: Line, turn: Turn, at: int) -> Iterator[CommitSent]:
        """A turn is said while the server works on another one, or on none."""
        at_work, line.pending = line.pending, []
        yield from self._spoken(line, turn, at)
        line.withheld[turn.number], line.pending = line.pending, at_work

    def _unheard(self, line: Line, event: Undelivered) -> Iterator[Seen]:
        if line.gone:
            yield from self._lost(event.client, None, line.phase)
        elif event.by == "client" and event.turn.statements:  # it gave up waiting
            yield from self._seen(event.client, What.DEADLINE, None, line.phase)
        else:
            line.unanswered = True

    def _line(self, connection: int, client: str) -> Line:
        if connection not in self._lines:
            self._lines[connection] = Line(client)
        return self._lines[connection]

    # What the client says.

    def _spoken(self, line: Line, turn: Turn, at: int) -> Iterator[CommitSent]:
        attempt = self._last.get(line.client)
        line.pending.clear()
        line.unsure = False
        for statement in turn.statements:
            if attempt is None:  # before any attempt: the connection is being prepared
                self._ledger.read(line, statement, "", at)
                continue
            exchange = self._ledger.enter(line, statement, attempt, at)
            if exchange.commits and line.writes:
                for writer in sorted(self._ledger.whose(line.writes)):
                    self.commit_sent.add(writer)
                    self.commit_refused.discard(writer)
                    yield CommitSent(self.tick(), writer)
            if exchange.commits or exchange.does is Does.ROLLBACK:
                line.ended = attempt
                line.open = False
                line.writes.clear()
                line.savepoints.clear()
                line.implicit = line.implicit and exchange.does is Does.WRITE
        if turn.ends_with != "H":  # the end of a batch ends the server's own transaction
            line.implicit = False

    # What the server says.

    def _answered(self, event: Answered) -> Iterator[Seen]:
        line = self._line(event.connection, event.client)
        at = self.tick() if event.delivered else None
        for position, index in enumerate(line.pending):
            self._ledger.complete(line, index, position, event.answer, at)
            exchange = self.exchanges[index]
            if exchange.changed == 0 or exchange.sqlstate:
                line.writes.discard(index)
        self._resolve_unsure(line, event.answer)
        self._decide(line, event.answer, at)
        pending = [self.exchanges[index] for index in line.pending]
        line.pending.clear()
        line.unanswered = not event.delivered
        if not pending or not (event.delivered or (event.told and line.phase is not Phase.COMMIT)):
            return
        error = event.answer.error
        if error is not None and error.severity == "ERROR":
            met = pending[min(len(event.answer.tags), len(pending) - 1)]
            yield from self._reached(line, met, What.ERROR, error.sqlstate)
        if any(exchange.swallowed for exchange in pending):
            # Where nothing had been written, all was decided before: the phase tells.
            yield from self._reached(line, pending[-1], What.ERROR, None)

    def _reached(
        self, line: Line, met: Exchange, what: What, sqlstate: str | None
    ) -> Iterator[Seen]:
        """What meets a statement reaches its attempts, and all that wrote in its transaction if
        that cannot go on without it."""
        attempts = set(met.attempts)
        if len(self.running) > 1 and not line.savepoints.any:
            attempts |= self._ledger.writers(met.transaction)
        attempts &= set(self.running.values())
        for attempt in sorted(attempts) or filter(None, [self.running.get(line.client)]):
            yield Seen(self.tick(), attempt, what, sqlstate, line.phase)

    def _decide(self, line: Line, answer: Answer, at: int | None) -> None:
        """With ReadyForQuery it is decided what became of the batch and its commits."""
        if answer.status is None:
            line.failed = answer.error.sqlstate if answer.error is not None else line.failed
            return
        failed = answer.error is not None or line.failed is not None
        for index, tag in line.undecided.items():
            commit = self._ledger.decide(index, tag, answer.status, at, failed=failed)
            if commit.applied is False:
                self.commit_refused |= {*commit.attempts, *self._ledger.writers(commit.transaction)}
            elif commit.applied and at is not None:
                line.committed, line.phase = commit.attempt, Phase.CLEANUP
        line.undecided.clear()
        line.failed = None
        line.open = answer.status != "I"
        if not line.open:
            line.writes.clear()
            line.savepoints.clear()

    def _resolve_unsure(self, line: Line, answer: Answer) -> None:
        """Inside a transaction the server knows whether an unclassified statement wrote."""
        inside = answer.status == "T" or (answer.status is None and line.open)
        if not line.unsure or not inside:
            return
        wrote = self.wrote(line.backend_pid) if line.backend_pid else None
        if not wrote:
            self._ledger.resolve(line, wrote=wrote)

    def _broken(self, event: Broken) -> Iterator[Seen]:
        line = self._line(event.connection, event.client)
        line.gone = True
        waited = event.turn is not None or line.unanswered
        if event.by == "client":
            yield from self._left_waiting(line)
        elif event.client in self.running and not line.left:
            sqlstate = _state(event)
            if waited or line.phase is Phase.CONNECT:
                yield from self._lost(event.client, sqlstate, line.phase)
                yield from self._lost_with_it(line, sqlstate)
            else:  # nobody has noticed yet, and all may be decided
                line.unnoticed = True
                yield from self._seen(event.client, What.LOST, sqlstate, Phase.CLEANUP)
        elif not line.left:
            self._unnoticed[event.connection] = event.client
        line.pending.clear()
        line.unanswered = False

    def _left_waiting(self, line: Line) -> Iterator[Seen]:
        """Its client waits no longer for an answer that has not come."""
        waited = line.pending or line.withheld or line.unanswered
        if waited and not line.given_up:
            line.given_up = True
            yield from self._seen(line.client, What.DEADLINE, None, line.phase)
            for attempt in self._with_it(line):
                yield Seen(self.tick(), attempt, What.DEADLINE, None, line.phase)

    def _lost(self, client: str, sqlstate: str | None, phase: Phase) -> Iterator[Seen]:
        attempt = self.running.get(client)
        if attempt is not None:
            # A connection that was dead before the first statement may be replaced.
            if phase is not Phase.CONNECT:
                self.lost_at.setdefault(attempt, []).append(self.tick())
            yield from self._seen(client, What.LOST, sqlstate, phase)

    def _lost_with_it(self, line: Line, sqlstate: str | None) -> Iterator[Seen]:
        for attempt in self._with_it(line):
            self.lost_at.setdefault(attempt, []).append(self.tick())
            yield Seen(self.tick(), attempt, What.LOST, sqlstate, line.phase)

    def _with_it(self, line: Line) -> list[str]:
        """The attempts of other clients that wrote in the transaction of a connection."""
        if len(self.running) < 2:
            return []
        own = self.running.get(line.client)
        writers = self._ledger.writers(line.transaction) - {own}
        return [attempt for attempt in self.running.values() if attempt in writers]

    def _seen(self, client: str, what: What, sqlstate: str | None, phase: Phase) -> Iterator[Seen]:
        attempt = self.running.get(client)
        if attempt is not None:
            yield Seen(self.tick(), attempt, what, sqlstate, phase)


def _state(event: Broken | Refused) -> str | None:
    return event.error.sqlstate if event.error is not None else None
