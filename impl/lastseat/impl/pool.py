"""One object from which any number of threads may book, over so many connections at most.

Who finds all of them in use waits for one, but no longer than until the attempt's deadline: then
it is FAILED(INFRASTRUCTURE), for there was no connection to be had.
"""

from __future__ import annotations

import queue
from types import TracebackType
from typing import Self

from lastseat.impl import locking, optimistic
from lastseat.impl.attempt import AttemptBooking, Mechanism, checked_seconds
from lastseat.impl.deadline import Deadline
from lastseat.impl.result import Cause, Outcome, Request, Result
from lastseat.impl.schema import AUDIT, declare, prepare

__all__ = ["AUDIT", "IDS", "PROMISES", "BookingPool", "declare", "pooled_locking", "prepare"]
__all__ += ["pooled_optimistic"]

PROMISES = ("winner",)
IDS = "text"


class BookingPool:
    """Like AttemptBooking, for many threads at a time.

    A connection is opened when it is first needed. One that an attempt has broken is replaced by
    the next attempt that is given it; none is opened behind the callers' backs.
    """

    def __init__(
        self, mechanism: Mechanism, dsn: str, deadline_seconds: float = 5.0, size: int = 10
    ) -> None:
        """Raises psycopg.ProgrammingError when ``dsn`` is malformed, ValueError when there would
        be no time or no connection at all."""
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        self._deadline_seconds = checked_seconds(deadline_seconds)
        self._all = [AttemptBooking(mechanism, dsn, deadline_seconds) for _ in range(size)]
        # The one that was used last is the likeliest to have a connection that works.
        self._free: queue.LifoQueue[AttemptBooking] = queue.LifoQueue()
        for booking in reversed(self._all):
            self._free.put(booking)

    def attempt_booking(self, booking_id: str, resource_id: str, requested_units: int) -> Result:
        """See AttemptBooking.attempt_booking; waiting for a connection counts as the rest does."""
        request = Request(booking_id, resource_id, requested_units)
        deadline = Deadline.after(self._deadline_seconds)
        try:
            booking = self._free.get(timeout=deadline.remaining)
        except queue.Empty:
            detail = f"all {len(self._all)} connections are in use"
            return Result(Outcome.FAILED, Cause.INFRASTRUCTURE, detail=detail)
        try:
            return booking.attempt_by(deadline, request)
        finally:
            self._free.put(booking)

    def close(self) -> None:
        """Close all connections; to be called when no attempt is under way."""
        for booking in self._all:
            booking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def pooled_optimistic(dsn: str, deadline_seconds: float) -> BookingPool:
    """A pool of bookings by optimistic version check."""
    return BookingPool(optimistic.book, dsn, deadline_seconds)


def pooled_locking(dsn: str, deadline_seconds: float) -> BookingPool:
    """A pool of bookings by a lock on the resource's row."""
    return BookingPool(locking.book, dsn, deadline_seconds)
