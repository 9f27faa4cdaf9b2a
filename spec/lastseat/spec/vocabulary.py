"""The words that everything else speaks.

A *resource* has a fixed capacity. A *booking* is a confirmed claim of units on one resource, named
by its ``booking_id``. An *attempt* is one execution of the use case; its *request* is the triple of
ids and units; its *answer* is what it emits, exactly once.
"""

from __future__ import annotations

import enum

from attrs import frozen


class Outcome(enum.Enum):
    """What an attempt emits. A rejection is a successful execution; a failure is an outcome."""

    BOOKED = "BOOKED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


class Cause(enum.Enum):
    """Why an attempt is FAILED."""

    CONFLICT = "CONFLICT"
    """The persistence layer detected a write-write conflict."""

    INFRASTRUCTURE = "INFRASTRUCTURE"
    """Connectivity lost, a time-out, resources exhausted."""


@frozen
class Request:
    """What an attempt asks for: ``requested_units`` (at least 1) of one resource, under one id."""

    booking_id: str
    resource_id: str
    requested_units: int

    def __str__(self) -> str:
        return f"{self.requested_units} of {self.resource_id} as {self.booking_id}"


@frozen
class Answer:
    """An emitted outcome; ``cause`` and ``in_doubt`` speak of FAILED only.

    In doubt means: the attempt's commit was handed to the connection and no definite answer to it
    came back, so the booking may or may not exist. Only FAILED(INFRASTRUCTURE) can be in doubt.
    """

    outcome: Outcome
    cause: Cause | None = None
    in_doubt: bool = False

    def __str__(self) -> str:
        if self.cause is None:
            return self.outcome.value
        return f"{self.outcome.value}({self.cause.value}{', in doubt' if self.in_doubt else ''})"


BOOKED = Answer(Outcome.BOOKED)
REJECTED = Answer(Outcome.REJECTED)
CONFLICT = Answer(Outcome.FAILED, Cause.CONFLICT)
INFRASTRUCTURE = Answer(Outcome.FAILED, Cause.INFRASTRUCTURE)
IN_DOUBT = Answer(Outcome.FAILED, Cause.INFRASTRUCTURE, in_doubt=True)

ANSWERS = (BOOKED, REJECTED, CONFLICT, INFRASTRUCTURE, IN_DOUBT)
"""Every answer there is; any other combination of fields is malformed."""
