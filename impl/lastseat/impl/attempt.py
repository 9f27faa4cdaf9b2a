"""The use case: one attempt from its invocation to its only outcome.

observe (a read, stale at once), propose (pure, decides nothing finally), persist (the database is
the arbiter), emit. No arrow leads back: what failed is said, and repeating it is the caller's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import frozen

from lastseat.impl.classify import Meaning, classify
from lastseat.impl.connection import conninfo
from lastseat.impl.deadline import Deadline
from lastseat.impl.result import (
    Cause,
    InconsistentRequest,
    Outcome,
    Request,
    RequestError,
    Result,
    StatementError,
)
from lastseat.impl.session import FAILURES, OutOfStep, Session

INSERT = "INSERT INTO lastseat.booking (booking_id, resource_id, units) VALUES (%s, %s, %s)"
OWN_BOOKING = "SELECT resource_id, units FROM lastseat.booking WHERE booking_id = %s"

BOOKED = Result(Outcome.BOOKED)
REPEATED = Result(Outcome.BOOKED, detail="booked before: nothing changed")

Mechanism = Callable[[Session, Request], Result]
"""How an attempt is persisted. It emits, or it raises one of FAILURES or a RequestError."""


@frozen
class Observation:
    """What one look saw: the resource, and the own booking as (resource_id, units), if any."""

    capacity: int
    booked: int
    own: tuple[str, int] | None


def propose(seen: Observation, request: Request) -> Result | None:
    """What the observation says about the request; None: it fits, let the database decide.

    Raises InconsistentRequest.
    """
    if seen.own is not None:
        return repetition(seen.own, request)
    if seen.booked + request.units > seen.capacity:
        return rejected(f"{seen.booked} of {seen.capacity} are booked, {request.units} asked for")
    return None


def repetition(own: tuple[str, int], request: Request) -> Result:
    """The answer for an id that is booked: BOOKED, if it is the same request."""
    if own != (request.resource_id, request.units):
        raise InconsistentRequest(
            f"{request.booking_id!r} is booked as {own[1]} of {own[0]!r}, "
            f"not as {request.units} of {request.resource_id!r}"
        )
    return REPEATED


def look_for_own(session: Session, request: Request) -> tuple[str, int] | None:
    """The booking of this id, as one fresh read sees it."""
    row = session.row(OWN_BOOKING, (request.booking_id,))
    return None if row is None else (row[0], row[1])


def insert_and_commit(session: Session, request: Request) -> Result:
    """Book: the insert moves the counter, whose CHECK decides, and the commit makes it true."""
    parameters = (request.booking_id, request.resource_id, request.units)
    if session.change(INSERT, parameters) != 1:
        raise OutOfStep("the insert was swallowed by something in the database")
    session.commit()
    return BOOKED


def rejected(detail: str) -> Result:
    """There is no room for it."""
    return Result(Outcome.REJECTED, detail=detail)


def conflict(detail: str) -> Result:
    """Somebody else was faster; nothing happened."""
    return Result(Outcome.FAILED, Cause.CONFLICT, detail=detail)


def checked_seconds(deadline_seconds: float) -> float:
    """Raises ValueError when there would be no time at all."""
    if not deadline_seconds > 0:
        raise ValueError(f"deadline_seconds must be positive, not {deadline_seconds}")
    return deadline_seconds


class AttemptBooking:
    """A caller's way to book; keeps one connection between attempts.

    ``deadline_seconds`` bounds each attempt as a whole, connecting included. One attempt at a
    time: give each thread, and each process, its own.
    """

    def __init__(self, mechanism: Mechanism, dsn: str, deadline_seconds: float) -> None:
        """Connects lazily; raises psycopg.ProgrammingError when ``dsn`` is malformed.

        Raises ValueError when there would be no time at all.
        """
        self._mechanism = mechanism
        self._deadline_seconds = checked_seconds(deadline_seconds)
        self._session = Session(conninfo(dsn))
        self._busy = threading.Lock()

    def attempt_booking(self, booking_id: str, resource_id: str, requested_units: int) -> Result:
        """Try once to book ``requested_units`` of the resource under ``booking_id``.

        Repeating a request under its id is safe: it reserves at most once.

        Raises RequestError for a request that is wrong in itself (malformed, unknown resource,
        an id that is booked otherwise) and StatementError when the database refuses a statement
        as such. An exception that comes from outside (KeyboardInterrupt) closes the connection
        and passes through with an attribute ``in_doubt``, which says whether the booking may
        exist all the same.
        """
        request = Request(booking_id, resource_id, requested_units)
        return self.attempt_by(Deadline.after(self._deadline_seconds), request)

    def attempt_by(self, deadline: Deadline, request: Request) -> Result:
        """The same for who keeps the time himself: see ``pool`` and ``asynchronous``."""
        if not self._busy.acquire(blocking=False):
            raise RuntimeError("another attempt is under way here; give each thread its own")
        try:
            return self._attempt(request, deadline)
        except (RequestError, StatementError):
            raise
        except BaseException as interruption:
            self._session.discard()
            mark(interruption, self._session.may_have_booked)
            raise
        finally:
            self._busy.release()

    def close(self) -> None:
        """Close the connection. Attempts may go on: they open another."""
        self._session.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _attempt(self, request: Request, deadline: Deadline) -> Result:
        session = self._session
        try:
            session.start(deadline)
            result = self._mechanism(session, request)
        except FAILURES as failure:
            return self._judge(failure, request)
        except RequestError:
            session.end()
            raise
        session.end()
        return result

    def _judge(self, failure: Exception, request: Request, looked: bool = False) -> Result:
        """Turn a failed turn into the attempt's outcome."""
        session = self._session
        verdict = classify(session.evidence(failure))
        if not verdict.in_doubt:
            session.settled()
        detail = _first_line(failure)
        if verdict.meaning is Meaning.TAKEN and not looked:
            return self._whose(request)
        session.end()
        if verdict.meaning is Meaning.INFRASTRUCTURE:
            # Whatever is wrong with this connection, the next attempt does not inherit it.
            session.discard()
            return Result(Outcome.FAILED, Cause.INFRASTRUCTURE, verdict.in_doubt, detail)
        if verdict.meaning is Meaning.NO_ROOM:
            return rejected(detail)
        if verdict.meaning is Meaning.MISTAKE:
            raise StatementError(detail) from failure
        return conflict(detail)

    def _whose(self, request: Request) -> Result:
        """A unique key is taken: by this very request, by another use of its id, or otherwise."""
        try:
            self._session.rollback()
            own = look_for_own(self._session, request)
        except FAILURES as failure:
            return self._judge(failure, request, looked=True)
        return conflict("a unique key is taken") if own is None else repetition(own, request)


def mark(interruption: BaseException, in_doubt: bool) -> None:
    """Let what ends an attempt from outside say whether the booking may exist all the same."""
    vars(interruption)["in_doubt"] = in_doubt
    if in_doubt:
        interruption.add_note("The commit was under way: the booking may or may not exist.")


def _first_line(failure: Exception) -> str:
    code = getattr(failure, "sqlstate", None)
    text = str(failure).partition("\n")[0] or type(failure).__name__
    return f"{code}: {text}" if code else text
