"""Errors that the server itself raises in a turn's place, so that the transaction's state is real.

Their severity is ERROR: the session goes on. Each is raised only where PostgreSQL can answer so
(``possible``), and an error that speaks of stored data only where it is true of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lastseat.harness.faults.fault import Arrives, Constraint, Fault, Place, Tells, turn_waits
from lastseat.harness.faults.possible import ENDS, Stmt, possible, statement_of
from lastseat.harness.gate.events import Answered, GateEvent
from lastseat.harness.gate.sql import tokens

RAISED: Mapping[str, str] = {
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock not available",
    "57014": "statement cancelled",
    "53200": "out of memory",
    "53100": "disk full",
    "25006": "read-only transaction",
    "P0001": "an error that no rule lists",
}
"""SQLSTATEs that contradict nothing that is stored."""

VIOLATED: Mapping[str, str] = {
    "23505": "a unique key is taken",
    "23514": "a check refuses it",
}
"""SQLSTATEs that are raised only where what they say is true."""


def _takes_substitute(place: Place) -> bool:
    # In a failed transaction nothing is executed, so nothing can be raised; nor behind an error in
    # an earlier part of the same batch.
    connection = place.connection
    if connection is None or not turn_waits(place) or connection.failed_until_sync:
        return False
    return connection.held[0].ends_with in "QSH" and connection.status != "E"


def _statements(place: Place) -> list[str]:
    assert place.connection is not None
    return [statement.sql for statement in place.connection.held[0].statements]


def _struck(place: Place, sqlstate: str) -> int | None:
    """Which statement of the turn can be answered so; those before it are executed as they are."""
    if not _takes_substitute(place) or place.connection is None:
        return None
    for index, sql in enumerate(_statements(place)):
        if possible(sqlstate, statement_of(sql, place.where), place.where):
            return index
        if not _can_lead(sql) or place.connection.held[0].ends_with == "H":
            break
    return None


def _can_lead(sql: str) -> bool:
    """Whether its answer is a tag and nothing else."""
    return next(tokens(sql))[1].upper() in {"BEGIN", "START", "SAVEPOINT", "SET"}


def _raise(place: Place, index: int, using: str) -> None:
    assert place.connection is not None
    raising = f"DO $lastseat$ BEGIN RAISE EXCEPTION USING {using}; END $lastseat$"
    *leading, struck = _statements(place)[: index + 1]
    # A COMMIT that fails in its own work leaves no transaction.
    after = ["ROLLBACK"] if statement_of(struck, place.where) in ENDS else []
    place.connection.substitute(*leading, raising, *after, leading=index)


def _literal(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"


def _can_raise(sqlstate: str) -> Callable[[Place], bool]:
    return lambda place: _struck(place, sqlstate) is not None


def _raises(sqlstate: str) -> Callable[[Place], None]:
    def trigger(place: Place) -> None:
        index = _struck(place, sqlstate)
        assert index is not None
        words = "raised in the place of a statement"
        _raise(place, index, f"ERRCODE = '{sqlstate}', MESSAGE = '{words}'")

    return trigger


def _raised(sqlstate: str) -> Callable[[GateEvent], bool]:
    def proof(event: GateEvent) -> bool:
        return (
            isinstance(event, Answered)
            and event.substituted
            and event.delivered
            and event.answer.error is not None
            and event.answer.error.sqlstate == sqlstate
        )

    return proof


def _is_violated(sqlstate: str) -> Callable[[Place], bool]:
    def available(place: Place) -> bool:
        index = _struck(place, sqlstate)
        constraint = place.violated(sqlstate) if index is not None else None
        if index is None or constraint is None:
            return False
        return _checks(_statements(place)[index], constraint, place)

    return available


def _checks(sql: str, constraint: Constraint, place: Place) -> bool:
    """Whether this statement, or a trigger or function behind it, may run into the constraint."""
    words = {text.strip('"').lower() for kind, text in tokens(sql) if kind in {"word", "quoted"}}
    if statement_of(sql, place.where) is Stmt.CALL or words & place.where.database.triggered:
        return True
    writes = bool(words & {"insert", "update", "merge", "copy"}) and constraint.table in words
    # ON CONFLICT DO NOTHING finds the key taken, and says nothing; DO UPDATE changes the row.
    return writes and not (constraint.sqlstate == "23505" and "conflict" in words)


def _violates(sqlstate: str) -> Callable[[Place], None]:
    def trigger(place: Place) -> None:
        constraint, index = place.violated(sqlstate), _struck(place, sqlstate)
        assert constraint is not None
        assert index is not None
        _raise(place, index, _as_violated(constraint))

    return trigger


def _as_violated(constraint: Constraint) -> str:
    """The fields of the error, as the server fills them in itself."""
    fields = {
        "ERRCODE": constraint.sqlstate,
        "MESSAGE": f'{constraint.words} "{constraint.name}"',
        "SCHEMA": constraint.schema,
        "TABLE": constraint.table,
        "CONSTRAINT": constraint.name,
    }
    return ", ".join(f"{name} = {_literal(value)}" for name, value in fields.items())


def _fault(
    sqlstate: str,
    words: str,
    stands_for: str,
    available: Callable[[Place], bool],
    trigger: Callable[[Place], None],
) -> Fault:
    return Fault(
        f"raise-{sqlstate}",
        f"the server answers with {sqlstate}: {words}",
        stands_for,
        available,
        trigger,
        _raised(sqlstate),
        f"the server has raised {sqlstate}, and the client was given the error",
        Arrives.NEVER,
        Tells.ERROR,
        sqlstate,
        breaks=False,
    )


_REAL = {
    "40001": "a concurrent update above READ COMMITTED; under SERIALIZABLE also at COMMIT",
    "40P01": "two transactions that lock in different orders",
    "55P03": "lock_timeout, or NOWAIT",
    "57014": "statement_timeout, or pg_cancel_backend",
    "53200": "no memory for a statement, or a full lock table",
    "53100": "the data disk is full",
    "25006": "a fail-over: the connection ends at a standby",
    "P0001": "a trigger that somebody added",
    "23505": "the booking was made by an earlier or another attempt",
    "23514": "the last seats went between the look and the write",
}

RAISING = (
    *(_fault(s, words, _REAL[s], _can_raise(s), _raises(s)) for s, words in RAISED.items()),
    *(_fault(s, words, _REAL[s], _is_violated(s), _violates(s)) for s, words in VIOLATED.items()),
)
