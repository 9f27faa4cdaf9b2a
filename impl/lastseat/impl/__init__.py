"""A PostgreSQL implementation of AttemptBooking that a team could use as it is.

    from lastseat.impl import OptimisticBooking
    from lastseat.impl.schema import declare, grant, prepare

    prepare(owner_dsn)
    declare(owner_dsn, "seat-17a", capacity=1)
    with OptimisticBooking(dsn, deadline_seconds=2.0) as booking:
        result = booking.attempt_booking("b-1", "seat-17a", 1)

An application with an event loop has AsyncAttemptBooking; one with many threads has BookingPool,
from which any of them may book.

It is as durable as the server is set up to be: with ``synchronous_commit = off``, or with a
standby promoted that had not confirmed, a BOOKED can be lost.
"""

from lastseat.impl.asynchronous import AsyncAttemptBooking
from lastseat.impl.attempt import AttemptBooking
from lastseat.impl.locking import LockingBooking
from lastseat.impl.optimistic import OptimisticBooking
from lastseat.impl.pool import BookingPool
from lastseat.impl.result import (
    Cause,
    InconsistentRequest,
    Outcome,
    RequestError,
    Result,
    StatementError,
    UnknownResource,
)

__all__ = [
    "AsyncAttemptBooking",
    "AttemptBooking",
    "BookingPool",
    "Cause",
    "InconsistentRequest",
    "LockingBooking",
    "OptimisticBooking",
    "Outcome",
    "RequestError",
    "Result",
    "StatementError",
    "UnknownResource",
]
