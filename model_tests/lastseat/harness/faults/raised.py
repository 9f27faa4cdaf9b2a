"""Errors that the server itself raises in a turn's place, so that the transaction's state is real.

Their severity is ERROR: the session goes on. What a statement can only be answered where it is true
of the stored data is raised only there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lastseat.harness.faults.fault import Arrives, Constraint, Fault, Place, Tells, turn_waits
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import Answered, GateEvent
from lastseat.harness.gate.sql import Kind, classify

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
"""SQLSTATEs that the server can raise anywhere without contradicting its own state."""

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


def _kinds(connection: Connection) -> set[Kind]:
    return {classify(statement.sql) for statement in connection.held[0].statements}


def _raise(connection: Connection, using: str) -> None:
    raising = f"DO $lastseat$ BEGIN RAISE EXCEPTION USING {using}; END $lastseat$"
    if Kind.COMMIT in _kinds(connection):
        connection.substitute(raising, "ROLLBACK")  # a COMMIT that fails leaves no transaction
    else:
        connection.substitute(raising)


def _literal(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"


def _raises(sqlstate: str) -> Callable[[Place], None]:
    def trigger(place: Place) -> None:
        assert place.connection is not None
        words = "raised in the place of a statement"
        _raise(place.connection, f"ERRCODE = '{sqlstate}', MESSAGE = '{words}'")

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
        if not _takes_substitute(place) or place.connection is None:
            return False
        writes = _kinds(place.connection) & {Kind.WRITE, Kind.UNSURE}
        return bool(writes) and place.violated(sqlstate) is not None

    return available


def _violates(sqlstate: str) -> Callable[[Place], None]:
    def trigger(place: Place) -> None:
        constraint = place.violated(sqlstate)
        assert place.connection is not None
        assert constraint is not None
        _raise(place.connection, _as_violated(constraint))

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
    "40001": "a concurrent update under REPEATABLE READ or SERIALIZABLE; also at COMMIT",
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
    *(_fault(s, words, _REAL[s], _takes_substitute, _raises(s)) for s, words in RAISED.items()),
    *(_fault(s, words, _REAL[s], _is_violated(s), _violates(s)) for s, words in VIOLATED.items()),
)
