"""Book optimistically: read a version, and write only if it is still the same.

Five turns on the wire: BEGIN, SELECT, UPDATE, INSERT, COMMIT. Nobody waits while somebody thinks;
who was overtaken between the read and the write is told so: FAILED(CONFLICT).
"""

from __future__ import annotations

from lastseat.impl.attempt import (
    AttemptBooking,
    Observation,
    conflict,
    insert_and_commit,
    look_for_own,
    propose,
    repetition,
)
from lastseat.impl.result import Request, Result, UnknownResource
from lastseat.impl.schema import AUDIT, declare, prepare
from lastseat.impl.session import Session

__all__ = ["AUDIT", "IDS", "PROMISES", "OptimisticBooking", "declare", "optimistic", "prepare"]

PROMISES = ("winner",)
"""A conflict is answered only where somebody else's booking meets the attempt."""

IDS = "text"

# One statement, hence one snapshot: the version belongs to the very state that was judged.
OBSERVE = """
SELECT resource.capacity, resource.booked, resource.version, own.resource_id, own.units
  FROM lastseat.resource LEFT JOIN lastseat.booking AS own ON own.booking_id = %s
 WHERE resource.id = %s"""

CLAIM = "UPDATE lastseat.resource SET version = version + 1 WHERE id = %s AND version = %s"


def book(session: Session, request: Request) -> Result:
    """One attempt, from BEGIN to its result."""
    session.begin()
    row = session.row(OBSERVE, (request.booking_id, request.resource_id))
    if row is None:
        raise UnknownResource(f"there is no resource {request.resource_id!r}")
    capacity, booked, version, own_resource, own_units = row
    own = None if own_resource is None else (own_resource, own_units)
    proposed = propose(Observation(capacity, booked, own), request)
    if proposed is not None:
        return proposed
    if session.change(CLAIM, (request.resource_id, version)) == 0:
        return _overtaken(session, request)
    return insert_and_commit(session, request)


def _overtaken(session: Session, request: Request) -> Result:
    """Somebody booked this resource since it was read: somebody else, or an earlier attempt.

    An earlier attempt of the same id whose commit was in doubt may be the very winner. It held
    the row until its end, so a look from here sees whether it booked.
    """
    own = look_for_own(session, request)
    if own is not None:
        return repetition(own, request)
    return conflict("the resource has changed since it was read")


class OptimisticBooking(AttemptBooking):
    """AttemptBooking by optimistic version check."""

    def __init__(self, dsn: str, deadline_seconds: float = 5.0) -> None:
        super().__init__(book, dsn, deadline_seconds)


def optimistic(dsn: str, deadline_seconds: float) -> OptimisticBooking:
    """The implementation under its short name."""
    return OptimisticBooking(dsn, deadline_seconds)
