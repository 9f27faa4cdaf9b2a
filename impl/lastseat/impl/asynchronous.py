"""The same attempts for an event loop: they run beside it, and it never waits for the network.

Each object has a thread of its own in which the one and only core runs. So nothing is written
twice, a resolver that blocks does not block the loop, and the deadline holds though the loop is
busy. A task that is cancelled interrupts the thread wherever it waits, and goes on when the
connection is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from lastseat.impl import locking, optimistic
from lastseat.impl.attempt import AttemptBooking, Mechanism, checked_seconds, mark
from lastseat.impl.deadline import Deadline
from lastseat.impl.result import Outcome, Request, Result
from lastseat.impl.schema import AUDIT, declare, prepare

__all__ = ["AUDIT", "IDS", "PROMISES", "AsyncAttemptBooking", "async_locking", "async_optimistic"]
__all__ += ["declare", "prepare"]

PROMISES = ("winner",)
IDS = "text"


class AsyncAttemptBooking:
    """AttemptBooking as coroutines; one attempt at a time: give each task its own."""

    def __init__(self, mechanism: Mechanism, dsn: str, deadline_seconds: float = 5.0) -> None:
        """Raises what AttemptBooking raises; connects lazily, as that does."""
        self._deadline_seconds = checked_seconds(deadline_seconds)
        self._booking = AttemptBooking(mechanism, dsn, deadline_seconds)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lastseat")
        self._interrupt, self._interrupter = os.pipe()
        self._busy = False
        self._closed = False

    async def attempt_booking(
        self, booking_id: str, resource_id: str, requested_units: int
    ) -> Result:
        """See AttemptBooking.attempt_booking.

        A task that is cancelled meanwhile is cancelled when the connection is closed and it is
        known what became of the attempt: CancelledError has an attribute ``in_doubt``, which says
        whether the booking may exist. (asyncio.timeout turns it into a TimeoutError, whose
        ``__cause__`` it then is; the deadline needs no help of that kind.)
        """
        request = Request(booking_id, resource_id, requested_units)
        if self._busy:
            raise RuntimeError("another attempt is under way here; give each task its own")
        self._busy = True
        deadline = Deadline.after(self._deadline_seconds, self._interrupt)
        loop = asyncio.get_running_loop()
        attempt = loop.run_in_executor(self._thread, self._booking.attempt_by, deadline, request)
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError as cancelled:
            mark(cancelled, await self._interrupted(attempt))
            raise
        finally:
            self._busy = False

    async def _interrupted(self, attempt: asyncio.Future[Result]) -> bool:
        """End an attempt at once; may it have booked?"""
        os.write(self._interrupter, b"!")
        while not attempt.done():
            with contextlib.suppress(asyncio.CancelledError):  # told once is told
                await asyncio.wait([attempt])
        os.read(self._interrupt, 1)
        failure = attempt.exception()
        if failure is not None:
            return bool(getattr(failure, "in_doubt", False))
        # It had ended before it could be interrupted, and nobody will read its result.
        result = attempt.result()
        self._booking.close()
        return result.outcome is Outcome.BOOKED or result.in_doubt

    async def close(self) -> None:
        """Close the connection and end the thread, for good; not while an attempt is under way.

        May be called again.
        """
        if not self._closed:
            self._closed = True
            self._booking.close()
            self._thread.shutdown()
            os.close(self._interrupt)
            os.close(self._interrupter)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def async_optimistic(dsn: str, deadline_seconds: float) -> AsyncAttemptBooking:
    """Coroutines that book by optimistic version check."""
    return AsyncAttemptBooking(optimistic.book, dsn, deadline_seconds)


def async_locking(dsn: str, deadline_seconds: float) -> AsyncAttemptBooking:
    """Coroutines that book by a lock on the resource's row."""
    return AsyncAttemptBooking(locking.book, dsn, deadline_seconds)
