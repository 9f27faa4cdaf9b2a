"""What the contract implies for an attempt that runs alone, would fit, and meets one fault.

Written from the contract, before anything is run:

* What reached the attempt says how it may end. An error of the server's, after which the session
  goes on, is answered as the table of SQLSTATEs says; a lost connection, a refusal, or a deadline,
  whatever the last words were, with INFRASTRUCTURE.
* It is in doubt exactly where its commit was handed to the connection and no definite answer came
  back. An ERROR followed by ReadyForQuery is definite, and so is the tag ROLLBACK; FATAL, PANIC,
  part of an answer, and silence are not.
* The booking exists if and only if its commit arrived and was not refused.
* Before its first own statement a connection may be replaced: then nothing has happened.
"""

from __future__ import annotations

import enum

from attrs import frozen

from lastseat.harness.faults import Arrives, Fault, Tells
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    Answer,
)


class Where(enum.Enum):
    """Where in the attempt's life the fault strikes."""

    CONNECTING = "while it connects"
    PRELUDE = "before its first own statement"
    STATEMENT = "at a statement before its commit"
    COMMIT = "at its commit"


class NoAnswer(enum.Enum):
    """How an attempt can end without an outcome."""

    EXCEPTION = "exception"
    NONE = "none at all"

    def __str__(self) -> str:
        return self.value


@frozen
class Row:
    """How it ends, and whether the booking exists when all is over."""

    answer: Answer | NoAnswer
    exists: bool

    def __str__(self) -> str:
        return f"{self.answer}, {'booked' if self.exists else 'not booked'}"


_FAILED = Row(INFRASTRUCTURE, exists=False)
_RAISED = Row(NoAnswer.EXCEPTION, exists=False)
_CONFLICT = Row(CONFLICT, exists=False)
_DONE = Row(BOOKED, exists=True)

_BY_SQLSTATE = {
    "40001": {_CONFLICT},
    "40P01": {_CONFLICT},
    "55P03": {_CONFLICT, _FAILED},
    "57014": {_FAILED},
    "53200": {_FAILED},
    "53100": {_FAILED},
    "25006": {_FAILED},
    # Not listed: any answer that is true. There is room and nobody else, so these are left.
    "P0001": {_FAILED, _RAISED},
}


def implied(fault: Fault, where: Where, *, committing: bool) -> frozenset[Row]:
    """Everything that may come of it; ``committing``: did it hand its commit to the connection?

    That matters only where its turn was answered before the connection ended: it may go on to its
    commit, or notice before it does. At its commit it has, and else it cannot.
    """
    chose = fault.tells is Tells.ANSWER and where is Where.STATEMENT and committing
    rows = set(_rows(fault, where, committing=chose or where is Where.COMMIT))
    if where in {Where.CONNECTING, Where.PRELUDE}:
        rows.add(_DONE)
    return frozenset(rows)


def _rows(fault: Fault, where: Where, *, committing: bool) -> set[Row]:
    if fault.tells is Tells.ERROR:
        assert fault.sqlstate is not None
        return _BY_SQLSTATE[fault.sqlstate]
    if fault.tells is Tells.ROLLBACK:
        return {_FAILED, _RAISED}
    if fault.tells is Tells.ANSWER and where is Where.COMMIT:
        return {_DONE}
    arrived = where is Where.COMMIT and fault.arrives in {Arrives.IN_TIME, Arrives.LATE}
    return {Row(IN_DOUBT if committing else INFRASTRUCTURE, exists=arrived)}
