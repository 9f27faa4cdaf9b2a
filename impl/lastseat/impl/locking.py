"""Book pessimistically: lock the resource's row, look, and write.

Five turns on the wire: BEGIN, SELECT ... FOR NO KEY UPDATE, SELECT, INSERT, COMMIT. Attempts on
one resource queue up at its row, so nobody is ever overtaken: no version, no conflict.
"""

from __future__ import annotations

from lastseat.impl.attempt import (
    AttemptBooking,
    Observation,
    insert_and_commit,
    look_for_own,
    propose,
)
from lastseat.impl.result import Request, Result, UnknownResource
from lastseat.impl.schema import AUDIT, declare, prepare
from lastseat.impl.session import Session

__all__ = ["AUDIT", "IDS", "PROMISES", "LockingBooking", "declare", "locking", "prepare"]

PROMISES = ("winner",)
"""A conflict is answered only where somebody else's booking meets the attempt."""

IDS = "text"

# NO KEY: a plain FOR UPDATE collides with the share lock that a booking's foreign key takes.
LOCK = "SELECT capacity, booked FROM lastseat.resource WHERE id = %s FOR NO KEY UPDATE"


def book(session: Session, request: Request) -> Result:
    """One attempt, from BEGIN to its result."""
    session.begin()
    row = session.row(LOCK, (request.resource_id,))
    if row is None:
        raise UnknownResource(f"there is no resource {request.resource_id!r}")
    # A statement of its own: the one that waited for the lock would look into its old snapshot.
    own = look_for_own(session, request)
    capacity, booked = row
    proposed = propose(Observation(capacity, booked, own), request)
    return proposed or insert_and_commit(session, request)


class LockingBooking(AttemptBooking):
    """AttemptBooking by a lock on the resource's row."""

    def __init__(self, dsn: str, deadline_seconds: float = 5.0) -> None:
        super().__init__(book, dsn, deadline_seconds)


def locking(dsn: str, deadline_seconds: float) -> LockingBooking:
    """The implementation under its short name."""
    return LockingBooking(dsn, deadline_seconds)
