"""What can happen to a client's turn: each fault with its trigger, and the proof that it fired.

A fault that was not seen to fire did not happen. Errors of severity ERROR are raised by the server
itself, in the turn's place, so that the transaction's state is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import Answered, Broken, GateEvent, Undelivered
from lastseat.harness.gate.sql import Kind, classify

Trigger = Callable[[Connection, Backends], None]
Proof = Callable[[GateEvent], bool]


@frozen
class Fault:
    """``available`` tells whether it can meet the connection as it is now."""

    name: str
    words: str
    available: Callable[[Connection], bool]
    trigger: Trigger
    proof: Proof
    breaks: bool
    """Does the connection end by it?"""
    at_once: bool = False
    """Does it end without an answer of the server's to a turn?"""

    def fired(self, connection: Connection, events: Iterable[GateEvent]) -> bool:
        """Do these events of the gate prove that it happened to this connection?"""
        return any(e.connection == connection.number and self.proof(e) for e in events)


def _has_turn(connection: Connection) -> bool:
    return bool(connection.held) and connection.in_flight is None


def _takes_substitute(connection: Connection) -> bool:
    # In a failed transaction nothing is executed, so nothing can be raised; nor behind an error in
    # an earlier part of the same batch.
    fits = _has_turn(connection) and connection.held[0].ends_with in "QSH"
    return fits and connection.status != "E" and not connection.failed_until_sync


def _lose_request(connection: Connection, _: Backends) -> None:
    connection.lose_request()


def _lose_answer(connection: Connection, _: Backends) -> None:
    connection.release(lose_answer=True)


def _terminate(connection: Connection, backends: Backends) -> None:
    backends.terminate(connection.backend_pid)


def _raising(sqlstate: str) -> Trigger:
    raising = (
        "DO $lastseat$ BEGIN RAISE EXCEPTION 'raised in the place of a statement'"
        f" USING ERRCODE = '{sqlstate}'; END $lastseat$"
    )

    def trigger(connection: Connection, _: Backends) -> None:
        kinds = {classify(statement.sql) for statement in connection.held[0].statements}
        if Kind.COMMIT in kinds:
            # A COMMIT that fails leaves no transaction behind.
            connection.substitute(raising, "ROLLBACK")
        else:
            connection.substitute(raising)

    return trigger


def _raised(sqlstate: str) -> Proof:
    def proof(event: GateEvent) -> bool:
        return (
            isinstance(event, Answered)
            and event.substituted
            and event.delivered
            and event.answer.error is not None
            and event.answer.error.sqlstate == sqlstate
        )

    return proof


_CONNECTION = (
    Fault(
        "lose-request",
        "the request is lost before it reaches the server",
        _has_turn,
        _lose_request,
        lambda event: isinstance(event, Undelivered),
        breaks=True,
        at_once=True,
    ),
    Fault(
        "lose-answer",
        "the server executes the request, and its answer is lost",
        _has_turn,
        _lose_answer,
        lambda event: isinstance(event, Answered) and not event.delivered,
        breaks=True,
    ),
    Fault(
        "terminate",
        "an administrator terminates the server process",
        lambda connection: connection.alive,
        _terminate,
        lambda event: isinstance(event, Broken) and event.by == "server",
        breaks=True,
        at_once=True,
    ),
)

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

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        *_CONNECTION,
        *(
            Fault(
                f"raise-{sqlstate}",
                f"the server answers with {sqlstate}: {words}",
                _takes_substitute,
                _raising(sqlstate),
                _raised(sqlstate),
                breaks=False,
            )
            for sqlstate, words in RAISED.items()
        ),
    )
}
