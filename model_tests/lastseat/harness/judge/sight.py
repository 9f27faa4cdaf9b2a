"""From what the gate reports to what the model speaks of: evidence, commits and exchanges.

The gate knows connections and turns; the model knows attempts. A statement belongs to the attempt
that its client is running, or ran last; but if it names the booking of another attempt that runs,
to that one: somebody persists several attempts in one transaction. What stands between a savepoint
and its end belongs to the attempt that is named there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from attrs import Factory, define, evolve

from lastseat.harness.gate.events import (
    Answered,
    Broken,
    GateEvent,
    HungUp,
    Ignored,
    Refused,
    Sent,
    Undelivered,
    Withheld,
)
from lastseat.harness.gate.sql import Kind, classify, one_line, prepared_transaction
from lastseat.harness.gate.turns import Answer, Statement, Turn
from lastseat.harness.judge.line import Line, Prepared, phase_of
from lastseat.spec.events import CommitSent, Phase, Seen, What
from lastseat.spec.visibility import Does, Exchange

_DOES = {
    Kind.READ: Does.READ,
    Kind.WRITE: Does.WRITE,
    Kind.UNSURE: Does.WRITE,
    Kind.COMMIT: Does.COMMIT,
    Kind.ROLLBACK: Does.ROLLBACK,
    Kind.PREPARE_TRANSACTION: Does.WRITE,
}
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_COUNTED = ("UPDATE ", "DELETE ", "MERGE ", "INSERT ")


@define
class Sight:
    """Reads gate events one by one; collects the exchanges, and yields the events of a history.

    ``tick`` gives the next logical instant; ``wrote`` asks the server whether the open transaction
    of a process has an id; ``known`` are the server's own functions and keywords.
    """

    tick: Callable[[], int]
    wrote: Callable[[int], bool]
    known: frozenset[str]
    exchanges: list[Exchange] = Factory(list)
    lost_at: dict[str, list[int]] = Factory(dict)
    commit_sent: set[str] = Factory(set)
    """The attempts whose commit has been handed to a connection."""
    commit_refused: set[str] = Factory(set)
    """Those of them whose last commit the server definitely refused."""
    running: dict[str, str] = Factory(dict)
    """The attempt that a client is running."""
    _last: dict[str, str] = Factory(dict)
    _bookings: dict[str, str] = Factory(dict)
    """The booking that each attempt asks for, as statements name it."""
    _lines: dict[int, Line] = Factory(dict)
    _unnoticed: dict[int, str] = Factory(dict)
    """Connections that broke and that their client has not closed yet."""
    _transactions: int = 0
    _prepared: dict[str, Prepared] = Factory(dict)

    @property
    def prepared(self) -> dict[str, str]:
        """The transactions that were prepared for two-phase commit, by name: whose they are."""
        return {name: prepared.attempt for name, prepared in self._prepared.items()}

    def invoked(self, client: str, attempt: str, booking: str = "") -> Iterator[Seen]:
        """The client begins an attempt; what broke while it was idle reaches this one."""
        self.running[client] = self._last[client] = attempt
        self._bookings[attempt] = booking
        for line in self._lines.values():
            if line.client == client:
                line.phase = Phase.CONNECT
                line.unanswered = line.unnoticed = False
                line.given_up = line.left
        for owner in list(self._unnoticed.values()):
            if owner == client:
                yield from self._lost(client, None, Phase.CONNECT)

    def gave_up(self, client: str) -> Iterator[Seen]:
        """The client's attempt has failed by the environment: was there an answer to wait for?"""
        for line in self._lines.values():
            if line.client == client:
                yield from self._left_waiting(line)

    def emitted(self, client: str) -> None:
        """The client has the answer of its attempt."""
        del self.running[client]

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
            case Sent() | Withheld() | Undelivered():
                yield from self._said(line, event)
            case Answered():
                yield from self._answered(event)
            case Broken():
                yield from self._broken(event)
            case Refused():
                sqlstate = event.error.sqlstate if event.error is not None else None
                yield from self._seen(event.client, What.REFUSED, sqlstate, Phase.CONNECT)
            case Ignored():
                line.unanswered = True
            case HungUp():
                yield from self._left_waiting(line)
                line.left = line.given_up = True
                if line.unnoticed and event.client in self.running:
                    self.lost_at.setdefault(self.running[event.client], []).append(self.tick())
                if self._unnoticed.pop(event.connection, None) is not None:
                    yield from self._lost(event.client, None, Phase.CONNECT)

    def _said(
        self, line: Line, event: Sent | Withheld | Undelivered
    ) -> Iterator[Seen | CommitSent]:
        """A turn counts as said when it is first heard of, wherever it is stuck afterwards."""
        number = event.turn.number
        if number in line.withheld:
            stuck = line.withheld.pop(number)
            line.pending = stuck if isinstance(event, Sent) else []
            return
        yield from self._spoken(line, event.turn)
        if isinstance(event, Withheld):
            line.withheld[number], line.pending = line.pending, []
        elif isinstance(event, Undelivered):
            line.pending = []
            yield from self._unheard(line, event)

    def _unheard(self, line: Line, event: Undelivered) -> Iterator[Seen]:
        if line.gone:
            yield from self._lost(event.client, None, line.phase)
        elif event.by == "client" and event.turn.statements:  # it gave up waiting
            yield from self._seen(event.client, What.DEADLINE, None, line.phase)
        else:
            line.unanswered = True

    def opened(self, connection: int, client: str, backend_pid: int) -> None:
        """A connection reached the server as this process."""
        self._line(connection, client).backend_pid = backend_pid

    def _line(self, connection: int, client: str) -> Line:
        if connection not in self._lines:
            self._lines[connection] = Line(client)
        return self._lines[connection]

    # What the client says.

    def _spoken(self, line: Line, turn: Turn) -> Iterator[CommitSent]:
        attempt = self._last.get(line.client)
        line.pending.clear()
        line.unsure = False
        for statement in turn.statements:
            exchange = self._exchange(line, statement, attempt or "")
            if attempt is None:  # before any attempt: the connection is being prepared
                continue
            exchange = self._attributed(line, statement, exchange)
            if exchange.does is Does.WRITE:
                line.writes.add(len(self.exchanges))
            line.pending.append(len(self.exchanges))
            self.exchanges.append(exchange)
            self._in_two_phases(line, statement, exchange)
            line.phase = phase_of(line, exchange)
            if exchange.commits and line.writes:
                for writer in sorted({self.exchanges[index].attempt for index in line.writes}):
                    self.commit_sent.add(writer)
                    self.commit_refused.discard(writer)
                    yield CommitSent(self.tick(), writer)
            if exchange.commits or exchange.does is Does.ROLLBACK:
                line.ended = attempt
                line.open = False
                line.writes.clear()
                line.implicit = line.implicit and exchange.does is Does.WRITE
        if turn.ends_with != "H":  # the end of a batch ends the server's own transaction
            line.implicit = False

    def _attributed(self, line: Line, statement: Statement, exchange: Exchange) -> Exchange:
        """The exchange as that of the attempt whose booking it names, or its savepoint guards."""
        first = exchange.text.split(maxsplit=1)[0].upper() if exchange.text else ""
        if first == "SAVEPOINT":
            line.guarded = []
        if len(self.running) < 2:
            return exchange
        named = self._named(statement, exchange.attempt)
        if line.guarded is not None:
            if named is not None:
                for index in line.guarded:
                    self.exchanges[index] = evolve(self.exchanges[index], attempt=named)
            elif line.guarded:
                named = self.exchanges[line.guarded[-1]].attempt
            line.guarded.append(len(self.exchanges))
            if first in {"RELEASE", "ROLLBACK"} or exchange.commits:
                line.guarded = None
        return exchange if named in {None, exchange.attempt} else evolve(exchange, attempt=named)

    def _named(self, statement: Statement, own: str) -> str | None:
        """The attempt whose booking is named; the client's own, if its booking is among them."""
        words = frozenset(_WORD.findall(str(statement)))
        named = [a for a in self.running.values() if self._bookings[a] in words]
        return own if own in named else next(iter(named), None)

    def _in_two_phases(self, line: Line, statement: Statement, exchange: Exchange) -> None:
        """What is prepared on one connection may be committed on any other."""
        name = prepared_transaction(statement.sql)
        if name is None:
            return
        if exchange.does is Does.WRITE:
            found = Prepared(exchange.attempt, line.transaction, frozenset(line.writes))
            self._prepared[name] = found
        elif name in self._prepared:
            before = self._prepared[name]
            line.transaction, line.writes = before.transaction, set(before.writes)
            self.exchanges[-1] = evolve(exchange, transaction=before.transaction)

    def _exchange(self, line: Line, statement: Statement, attempt: str) -> Exchange:
        kind = classify(statement.sql, self.known)
        if not line.open and not line.implicit:
            self._transactions += 1
            line.transaction = self._transactions
            line.writes.clear()
        inside = line.open or kind is Kind.BEGIN
        line.open, line.implicit = inside, not inside
        line.unsure = line.unsure or kind is Kind.UNSURE
        writes = kind in {Kind.WRITE, Kind.UNSURE, Kind.PREPARE_TRANSACTION}
        return Exchange(
            attempt=attempt,
            transaction=line.transaction,
            does=_DOES.get(kind, Does.OTHER),
            text=one_line(statement.sql),
            sent_at=self.tick(),
            commits=kind is Kind.COMMIT or (writes and not inside),
            # ON CONFLICT DO NOTHING that inserts nothing has found a row: no guard has failed.
            guarded=writes and "ON CONFLICT" not in statement.sql.upper(),
        )

    # What the server says.

    def _answered(self, event: Answered) -> Iterator[Seen]:
        line = self._line(event.connection, event.client)
        at = self.tick() if event.delivered else None
        for position, index in enumerate(line.pending):
            self._complete(line, index, position, event.answer, at)
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
            met = pending[min(len(event.answer.tags), len(pending) - 1)].attempt
            if met in self.running.values():
                yield Seen(self.tick(), met, What.ERROR, error.sqlstate, line.phase)
            else:
                yield from self._seen(event.client, What.ERROR, error.sqlstate, line.phase)
        if any(exchange.swallowed for exchange in pending):
            # Where nothing had been written, all was decided before: the phase tells.
            yield from self._seen(event.client, What.ERROR, None, line.phase)

    def _writers(self, transaction: int) -> set[str]:
        """The attempts that wrote in a transaction, or may have."""
        return {
            exchange.attempt
            for exchange in self.exchanges
            if exchange.transaction == transaction and exchange.does is Does.WRITE
        }

    def _complete(
        self, line: Line, index: int, position: int, answer: Answer, at: int | None
    ) -> None:
        """Put what the server said to the ``position``-th statement of a turn into its exchange."""
        exchange = self.exchanges[index]
        executed = position < len(answer.tags)
        tag = answer.tags[position] if executed else None
        error = answer.error.sqlstate if answer.error is not None else line.failed
        self.exchanges[index] = evolve(
            exchange,
            sqlstate=None if executed else error,
            changed=_changed(exchange, tag),
            swallowed=exchange.does is Does.COMMIT and tag == "ROLLBACK",
            answered_at=exchange.answered_at if exchange.commits else at,
        )
        if exchange.commits:
            line.undecided[index] = tag

    def _decide(self, line: Line, answer: Answer, at: int | None) -> None:
        """With ReadyForQuery it is decided what became of the batch and its commits."""
        if answer.status is None:
            line.failed = answer.error.sqlstate if answer.error is not None else line.failed
            return
        failed = answer.error is not None or line.failed is not None
        for index, tag in line.undecided.items():
            exchange = self.exchanges[index]
            applied = _applied(exchange, tag, answer.status, failed=failed)
            if applied is False:
                self.commit_refused |= {exchange.attempt, *self._writers(exchange.transaction)}
            elif applied and at is not None:
                line.committed, line.phase = exchange.attempt, Phase.CLEANUP
            self.exchanges[index] = evolve(exchange, answered_at=at, applied=applied)
        line.undecided.clear()
        line.failed = None
        line.open = answer.status != "I"
        if not line.open:
            line.writes.clear()

    def _resolve_unsure(self, line: Line, answer: Answer) -> None:
        """Inside a transaction the server knows whether an unclassified statement wrote."""
        inside = answer.status == "T" or (answer.status is None and line.open)
        if not line.unsure or not inside or self.wrote(line.backend_pid):
            return
        line.writes.difference_update(line.pending)
        for index in line.pending:
            exchange = self.exchanges[index]
            if exchange.does is Does.WRITE:
                self.exchanges[index] = evolve(exchange, does=Does.READ)

    def _broken(self, event: Broken) -> Iterator[Seen]:
        line = self._line(event.connection, event.client)
        line.gone = True
        waited = event.turn is not None or line.unanswered
        if event.by == "client":
            yield from self._left_waiting(line)
        elif event.client in self.running and not line.left:
            sqlstate = event.error.sqlstate if event.error is not None else None
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

    def _lost(self, client: str, sqlstate: str | None, phase: Phase) -> Iterator[Seen]:
        attempt = self.running.get(client)
        if attempt is not None:
            # A connection that was dead before the first statement may be replaced.
            if phase is not Phase.CONNECT:
                self.lost_at.setdefault(attempt, []).append(self.tick())
            yield from self._seen(client, What.LOST, sqlstate, phase)

    def _lost_with_it(self, line: Line, sqlstate: str | None) -> Iterator[Seen]:
        """The other attempts that wrote in the transaction of a connection that is lost."""
        writers = self._writers(line.transaction) if len(self.running) > 1 else set()
        for client, attempt in self.running.items():
            if client != line.client and attempt in writers:
                self.lost_at.setdefault(attempt, []).append(self.tick())
                yield Seen(self.tick(), attempt, What.LOST, sqlstate, line.phase)

    def _seen(self, client: str, what: What, sqlstate: str | None, phase: Phase) -> Iterator[Seen]:
        attempt = self.running.get(client)
        if attempt is not None:
            yield Seen(self.tick(), attempt, what, sqlstate, phase)


def _changed(exchange: Exchange, tag: str | None) -> int | None:
    """How many rows a write changed; None where the tag does not tell."""
    if tag is None or exchange.does is not Does.WRITE or not tag.startswith(_COUNTED):
        return None
    return int(tag.rpartition(" ")[2])


def _applied(exchange: Exchange, tag: str | None, status: str, *, failed: bool) -> bool | None:
    """What ReadyForQuery with this ``status`` says of a commit; None if it says nothing yet."""
    if exchange.does is Does.COMMIT:
        return tag is not None and tag.startswith("COMMIT")
    if failed:
        return False  # what the server began itself is rolled back as a whole
    return True if status == "I" else None
