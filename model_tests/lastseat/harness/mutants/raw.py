"""Mechanisms that talk to psycopg themselves, as most code does; what is booked is the rows' sum.

There is no key on the booking's id here: the mechanisms look it up under the resource's lock.
"""

from __future__ import annotations

import contextlib

import psycopg
from attrs import define, field

from lastseat.harness.mutants import bare
from lastseat.harness.mutants.bare import IDS, declare
from lastseat.harness.mutants.bare import prepare_without_key as prepare

__all__ = ["AUDIT", "IDS", "Repeating", "Swallowing", "declare", "prepare"]

AUDIT = bare.ROWS_ONLY

_LOCK = "SELECT capacity FROM lastseat.resource WHERE id = %s FOR NO KEY UPDATE"
_OWN = "SELECT resource_id, units FROM lastseat.booking WHERE booking_id = %s"
_SUM = "SELECT coalesce(sum(units), 0)::bigint FROM lastseat.booking WHERE resource_id = %s"
_INSERT = "INSERT INTO lastseat.booking (booking_id, resource_id, units) VALUES (%s, %s, %s)"

Answer = dict[str, object]
_CONFLICTS = frozenset({"40001", "40P01", "55P03"})


@define
class _Caller:
    """One connection, opened when it is needed."""

    dsn: str
    deadline_seconds: float
    _connection: psycopg.Connection | None = field(default=None, init=False)
    _committing: bool = field(default=False, init=False)

    def execute(self, sql: str, *parameters: object) -> psycopg.Cursor:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)
        return self._connection.execute(sql.encode(), parameters or None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def book(self, booking_id: str, resource_id: str, units: int) -> Answer:
        """Right: lock, look, insert, commit, and believe the commit's tag."""
        self._committing = False
        self.execute("BEGIN")
        if not self.fits(booking_id, resource_id, units):
            return {"outcome": "REJECTED"}
        if not self.execute(_OWN, booking_id).fetchone():
            self.execute(_INSERT, booking_id, resource_id, units)
        self._committing = True
        tag = self.execute("COMMIT").statusmessage
        self._committing = False
        return {"outcome": "BOOKED"} if tag == "COMMIT" else _failed("CONFLICT")

    def fits(self, booking_id: str, resource_id: str, units: int) -> bool:
        """Under the resource's lock: is it booked already, or is there room?"""
        row = self.execute(_LOCK, resource_id).fetchone()
        if row is None:
            raise LookupError(f"there is no resource {resource_id!r}")
        own = self.execute(_OWN, booking_id).fetchone()
        if own is not None:
            if own != (resource_id, units):
                raise ValueError(f"{booking_id!r} is booked otherwise")
            return True
        taken = self.execute(_SUM, resource_id).fetchone()
        if taken is not None and taken[0] + units <= row[0]:
            return True
        self.execute("ROLLBACK")
        return False

    def failed(self, error: psycopg.Error) -> Answer:
        """Right: a conflict is one, anything else is infrastructure, in doubt if it committed."""
        doubt = self._committing and error.sqlstate not in _CONFLICTS
        self.close()
        if error.sqlstate in _CONFLICTS:
            return _failed("CONFLICT")
        return {**_failed("INFRASTRUCTURE"), "in_doubt": doubt}


class Swallowing(_Caller):
    """Wrong: an error of the insert is taken for a repetition, and COMMIT's answer for granted."""

    def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Answer:
        self._committing = False
        try:
            self.execute("BEGIN")
            if not self.fits(booking_id, resource_id, units):
                return {"outcome": "REJECTED"}
            if not self.execute(_OWN, booking_id).fetchone():
                with contextlib.suppress(psycopg.DatabaseError):
                    self.execute(_INSERT, booking_id, resource_id, units)
            self._committing = True
            self.execute("COMMIT")
        except psycopg.Error as error:
            return self.failed(error)
        return {"outcome": "BOOKED"}


class Repeating(_Caller):
    """Wrong: when the connection is lost, the whole call is repeated on another one."""

    def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Answer:
        try:
            return self.book(booking_id, resource_id, units)
        except psycopg.OperationalError as error:
            if error.sqlstate in _CONFLICTS or (
                self._connection is not None and not self._connection.closed
            ):
                return self.failed(error)
            with contextlib.suppress(psycopg.Error):
                return self.book(booking_id, resource_id, units)
            return self.failed(error)
        except psycopg.Error as error:
            return self.failed(error)


def _failed(cause: str) -> Answer:
    return {"outcome": "FAILED", "cause": cause}
