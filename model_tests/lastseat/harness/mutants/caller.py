"""What mechanisms stand on: one connection, and an answer for every error. All of this is right.

A mechanism is a function of a ``Database`` and the request. It talks SQL as most code does; what it
raises becomes the attempt's answer here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from attrs import define
from psycopg.pq import TransactionStatus

from lastseat.harness.mutants.schema import Schema
from lastseat.impl.connection import TimedConnection, conninfo
from lastseat.impl.deadline import Deadline, DeadlineExpired

Answer = Mapping[str, Any]
Mechanism = Callable[["Database", str, str, int], Answer]

BOOKED: Answer = {"outcome": "BOOKED"}
REJECTED: Answer = {"outcome": "REJECTED"}
CONFLICT: Answer = {"outcome": "FAILED", "cause": "CONFLICT"}
INFRASTRUCTURE: Answer = {"outcome": "FAILED", "cause": "INFRASTRUCTURE"}
IN_DOUBT: Answer = {**INFRASTRUCTURE, "in_doubt": True}

CONFLICTS = frozenset({"40001", "40P01", "55P03"})
FAILURES = (psycopg.Error, DeadlineExpired)

_OWN = "SELECT resource_id, units FROM booking WHERE booking_id = %s"


class Inconsistent(Exception):
    """The request is wrong in itself; no outcome."""


@define
class Database:
    """One connection, opened when it is needed, and how far the attempt's commit has come."""

    dsn: str
    deadline_seconds: float
    committing: bool = False
    connection: TimedConnection | None = None

    def begin_attempt(self) -> None:
        """From now on the deadline runs; what is not connected is."""
        self.committing = False
        deadline = Deadline.after(self.deadline_seconds)
        if self.connection is None:
            self.connection = TimedConnection.open(conninfo(self.dsn), deadline)
        self.connection.deadline = deadline

    def execute(self, sql: str, *parameters: object) -> psycopg.Cursor[Any]:
        """Execute one statement, autocommit where no transaction was begun."""
        assert self.connection is not None
        return self.connection.execute(sql.encode(), parameters or None)

    def row(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        return self.execute(sql, *parameters).fetchone()

    def value(self, sql: str, *parameters: object) -> int:
        """The number that a query finds; raises Inconsistent where there is none."""
        row = self.row(sql, *parameters)
        if row is None or row[0] is None:
            raise Inconsistent("there is no such resource")
        return int(row[0])

    def has(self, booking_id: str, resource_id: str, units: int) -> bool:
        """Is it booked already? Raises Inconsistent where the id is booked otherwise."""
        own = self.row(_OWN, booking_id)
        if own is not None and own != (resource_id, units):
            raise Inconsistent(f"{booking_id!r} is booked otherwise")
        return own is not None

    def commit(self) -> Answer:
        """Commit, and believe the server's tag."""
        self.committing = True
        tag = self.execute("COMMIT").statusmessage
        self.committing = False
        return BOOKED if tag == "COMMIT" else INFRASTRUCTURE

    def rollback(self, answer: Answer) -> Answer:
        """Roll back, and answer this."""
        self.execute("ROLLBACK")
        return answer

    @property
    def in_transaction(self) -> bool:
        """Is one open, failed or not?"""
        assert self.connection is not None
        return self.connection.state() is not TransactionStatus.IDLE

    def told(self, error: Exception) -> bool:
        """Has the server refused it in so many words, and does the session go on?"""
        state = TransactionStatus.UNKNOWN
        if self.connection is not None:
            state = self.connection.state()
        refused = isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized == "ERROR"
        return refused and state is not TransactionStatus.UNKNOWN

    def failed(self, error: Exception) -> Answer:
        """A conflict is one; all else is infrastructure, in doubt where a commit was sent and
        nothing definite came back."""
        definite = self.told(error)
        doubt = self.committing and not definite
        self.close()
        if definite and getattr(error, "sqlstate", None) in CONFLICTS:
            return CONFLICT
        return IN_DOUBT if doubt else INFRASTRUCTURE

    def close(self) -> None:
        """Close the connection; a transaction on it is rolled back."""
        if self.connection is not None:
            self.connection.close()
            self.connection.pgconn.finish()
            self.connection = None


@define
class Caller:
    """One caller with a mechanism."""

    mechanism: Mechanism
    database: Database

    def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Answer:
        """One attempt; what goes wrong in it is answered, but for a mistake in the request."""
        database = self.database
        try:
            database.begin_attempt()
            return self.mechanism(database, booking_id, resource_id, units)
        except psycopg.IntegrityError as error:
            return self._violated(error, booking_id, resource_id, units)
        except FAILURES as error:
            return database.failed(error)
        except Inconsistent:
            database.close()
            raise

    def _violated(
        self, error: psycopg.IntegrityError, booking_id: str, resource_id: str, units: int
    ) -> Answer:
        """The key is taken by this very booking, or was by one that was rolled back; there is no
        room, says the database; of all other constraints the request is to blame."""
        database = self.database
        if not database.told(error):
            return database.failed(error)
        database.committing = False  # whatever follows: the server has refused it
        try:
            if error.sqlstate == "23505":
                if database.in_transaction:
                    database.execute("ROLLBACK")
                return BOOKED if database.has(booking_id, resource_id, units) else CONFLICT
        except FAILURES as failure:
            # Whose the key is was not to be learned; that it is taken is known all the same.
            known = database.told(failure)
            answer = database.failed(failure)
            return CONFLICT if known else answer
        database.close()
        if error.sqlstate == "23514" and error.diag.table_name == "resource":
            return REJECTED
        raise Inconsistent(str(error))

    def close(self) -> None:
        self.database.close()


class Factory:
    """What ``lastseat verify package.module:name`` calls, with the schema that goes with it."""

    IDS = "text"

    def __init__(
        self,
        mechanism: Mechanism,
        schema: Schema,
        *promises: str,
        database: type[Database] = Database,
    ) -> None:
        self.__doc__ = mechanism.__doc__
        self.mechanism = mechanism
        self.database = database
        self.prepare = schema.prepare
        self.declare = schema.declare
        self.AUDIT = schema.audit
        self.PROMISES = promises

    def __call__(self, dsn: str, deadline_seconds: float) -> Caller:
        return Caller(self.mechanism, self.database(dsn, deadline_seconds))


def caller(
    schema: Schema, *promises: str, database: type[Database] = Database
) -> Callable[[Mechanism], Factory]:
    """Makes a factory of a mechanism."""
    return lambda mechanism: Factory(mechanism, schema, *promises, database=database)
