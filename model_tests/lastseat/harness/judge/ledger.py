"""The exchanges of a run: what each statement does, to whom it belongs, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define, evolve

from lastseat.harness.gate.sql import (
    Kind,
    classify,
    gives_back,
    one_line,
    prepared_transaction,
    savepoint,
)
from lastseat.harness.gate.turns import Answer, Statement
from lastseat.harness.judge.ids import Ids
from lastseat.harness.judge.line import Line, Prepared, phase_of
from lastseat.spec.visibility import Does, Exchange

_DOES = {
    Kind.READ: Does.READ,
    Kind.WRITE: Does.WRITE,
    Kind.UNSURE: Does.WRITE,
    Kind.COMMIT: Does.COMMIT,
    Kind.ROLLBACK: Does.ROLLBACK,
    Kind.PREPARE_TRANSACTION: Does.WRITE,
}
_COUNTED = ("UPDATE ", "DELETE ", "MERGE ", "INSERT ")


@define
class Ledger:
    """Takes statement after statement down.

    ``known`` are the server's own functions and keywords, ``readers`` the functions of the user's
    that may not write.
    """

    known: frozenset[str]
    readers: frozenset[str]
    running: dict[str, str] = Factory(dict)
    """The attempt that a client is running."""
    bookings: dict[str, Ids] = Factory(dict)
    """The booking that each attempt asks for."""
    exchanges: list[Exchange] = Factory(list)
    prepared: dict[str, Prepared] = Factory(dict)
    """The transactions that were prepared for two-phase commit, by name."""
    _transactions: int = 0

    def begin(self, line: Line) -> None:
        """Another transaction, on this connection."""
        self._transactions += 1
        line.transaction = self._transactions
        line.writes.clear()

    def enter(self, line: Line, statement: Statement, attempt: str, at: int) -> Exchange:
        """Take down what a client says at an instant, in the middle of its ``attempt``."""
        exchange = self._attributed(line, statement, self.read(line, statement, attempt, at))
        if exchange.does is Does.WRITE:
            line.writes.add(len(self.exchanges))
        line.pending.append(len(self.exchanges))
        self.exchanges.append(exchange)
        self._in_two_phases(line, statement, exchange)
        wrote = any(not self.exchanges[written].unsure for written in line.writes)
        clears_up = gives_back(statement.sql) and not (wrote and savepoint(statement.sql))
        line.phase = phase_of(line, exchange, wrote=wrote, gives_back=clears_up)
        return exchange

    def read(self, line: Line, statement: Statement, attempt: str, at: int) -> Exchange:
        """What a statement does, and to which transaction it belongs."""
        kind = classify(statement.meant, self.known, self.readers)
        if not line.open and not line.implicit:
            self.begin(line)
        inside = line.open or kind is Kind.BEGIN
        line.open, line.implicit = inside, not inside
        line.unsure = line.unsure or kind is Kind.UNSURE
        writes = kind in {Kind.WRITE, Kind.UNSURE, Kind.PREPARE_TRANSACTION}
        return Exchange(
            attempt=attempt,
            transaction=line.transaction,
            does=_DOES.get(kind, Does.OTHER),
            text=one_line(statement.sql),
            sent_at=at,
            commits=kind is Kind.COMMIT or (writes and not inside),
            # ON CONFLICT DO NOTHING that inserts nothing has found a row: no guard has failed.
            guarded=writes and "ON CONFLICT" not in statement.meant.upper(),
        )

    def _attributed(self, line: Line, statement: Statement, exchange: Exchange) -> Exchange:
        """The exchange as that of the attempts whose bookings it names, or its savepoint guards."""
        index, about = len(self.exchanges), savepoint(statement.sql)
        verb, name = about or ("", "")
        if verb == "SAVEPOINT":
            line.savepoints.put(name, index)
        named = self._named(statement, exchange.attempt) if len(self.running) > 1 else []
        ends = exchange.does in {Does.COMMIT, Does.ROLLBACK}
        owner, before = (
            (None, [])
            if ends
            else line.savepoints.attributed(index, named, clears_up=verb in {"RELEASE", "ROLLBACK"})
        )
        if named:
            exchange = evolve(exchange, attempt=named[0], others=tuple(named[1:]))
        elif owner is not None and owner in self.running.values():
            exchange = evolve(exchange, attempt=owner)
        for earlier in before:
            self.exchanges[earlier] = evolve(self.exchanges[earlier], attempt=named[0])
        if verb == "RELEASE":
            line.savepoints.release(name)
        elif verb == "ROLLBACK":
            self._take_back(line, line.savepoints.back_to(name))
        return exchange

    def _take_back(self, line: Line, since: int | None) -> None:
        """What was written from an exchange on is no more, whatever becomes of the rest: if the
        server does not roll back to the savepoint, it rolls back everything."""
        gone = {index for index in line.writes if since is not None and index >= since}
        line.writes -= gone
        for index in gone:
            self.exchanges[index] = evolve(self.exchanges[index], reverted=True)

    def _named(self, statement: Statement, own: str) -> list[str]:
        """The attempts whose bookings are named, the client's own first; of several that ask for
        the same id, which tells nothing, one."""
        named: dict[str, str] = {}
        for attempt in sorted(self.running.values(), key=lambda running: running != own):
            ids = self.bookings[attempt]
            if ids.word not in named and ids.named_in(statement):
                named[ids.word] = attempt
        return list(named.values())

    def whose(self, exchanges: Iterable[int]) -> set[str]:
        """The attempts to which these exchanges belong."""
        said = (self.exchanges[index] for index in exchanges)
        return {attempt for exchange in said for attempt in exchange.attempts}

    def _in_two_phases(self, line: Line, statement: Statement, exchange: Exchange) -> None:
        """What is prepared on one connection may be committed on any other."""
        name = prepared_transaction(statement.sql)
        if name is None:
            return
        if exchange.does is Does.WRITE:
            found = Prepared(exchange.attempt, line.transaction, frozenset(line.writes))
            self.prepared[name] = found
        elif name in self.prepared:
            before = self.prepared[name]
            line.transaction, line.writes = before.transaction, set(before.writes)
            line.begun = before.attempt  # its end, on a new connection too, is no beginning
            self.exchanges[-1] = evolve(exchange, transaction=before.transaction)

    def writers(self, transaction: int) -> set[str]:
        """The attempts that wrote in a transaction, or may have."""
        return self.whose(
            index
            for index, exchange in enumerate(self.exchanges)
            if exchange.transaction == transaction and exchange.does is Does.WRITE
        )

    def complete(
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

    def decide(
        self, index: int, tag: str | None, status: str, at: int | None, *, failed: bool
    ) -> Exchange:
        """Put what ReadyForQuery with this ``status`` says of a commit into its exchange."""
        exchange = self.exchanges[index]
        applied = _applied(exchange, tag, status, failed=failed)
        self.exchanges[index] = evolve(exchange, answered_at=at, applied=applied)
        return self.exchanges[index]

    def resolve(self, line: Line, *, wrote: bool | None) -> None:
        """The turn that may have written has not, or, where the server could not be asked in time,
        nobody can tell."""
        for index in line.pending:
            exchange = self.exchanges[index]
            if exchange.does is not Does.WRITE:
                continue
            if wrote is None:
                self.exchanges[index] = evolve(exchange, unsure=exchange.changed is None)
            else:
                self.exchanges[index] = evolve(exchange, does=Does.READ)
                line.writes.discard(index)


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
