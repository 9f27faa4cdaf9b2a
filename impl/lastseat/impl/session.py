"""A session of one caller with the database: the turns of an attempt, and how far it has come."""

from __future__ import annotations

import psycopg
from attrs import define, field
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from lastseat.impl.classify import Evidence, Phase
from lastseat.impl.connection import TimedConnection
from lastseat.impl.deadline import Deadline, DeadlineExpired
from lastseat.impl.settings import opening

Parameters = tuple[object, ...]

IDLE = TransactionStatus.IDLE
OPEN = TransactionStatus.INTRANS
FAILED = TransactionStatus.INERROR


class OutOfStep(Exception):
    """The answer is not one to what was asked: whatever it is, it proves nothing."""


class NotCommitted(Exception):
    """COMMIT was answered ROLLBACK: nothing was booked, and nobody said why."""


FAILURES = (psycopg.Error, DeadlineExpired, OutOfStep, NotCommitted)
"""What a turn raises when it did not do what it should; ``Session.evidence`` explains it."""


@define
class Session:
    """One connection at a time, opened when needed, replaced when broken.

    Every method that talks to the server raises one of FAILURES when the turn failed.
    """

    conninfo: str
    phase: Phase = field(default=Phase.CONNECT, init=False)
    _connection: TimedConnection | None = field(default=None, init=False)

    def start(self, deadline: Deadline) -> None:
        """Have a working connection for a new attempt that ends by ``deadline``.

        A connection that the server left while it was idle is replaced: no attempt is affected by
        its loss. Once BEGIN is sent, whatever happens to the connection happens to the attempt.
        """
        self.phase = Phase.CONNECT
        connection = self._connection
        if connection is None or connection.state() is not IDLE or not connection.silent():
            self.discard()
            self._connection = TimedConnection.open(self.conninfo, deadline)
        else:
            connection.deadline = deadline
        self.phase = Phase.BEFORE_COMMIT

    def begin(self) -> None:
        """Open a transaction that no default of the role, the database or the session can break."""
        connection = self._live()
        statements = opening(connection.info.server_version, connection.deadline.remaining)
        self._expect("BEGIN", self._turn(statements), OPEN)

    def row(self, sql: str, params: Parameters) -> TupleRow | None:
        """The only row of a query, or None."""
        cursor = self._turn(sql, params)
        if cursor.description is None or cursor.rowcount > 1:
            raise OutOfStep(f"a query was answered {cursor.statusmessage!r}")
        return cursor.fetchone()

    def change(self, sql: str, params: Parameters) -> int:
        """Execute a write of at most one row; the number of rows that it changed."""
        cursor = self._turn(sql, params)
        verb = sql.split(maxsplit=1)[0]
        if not (cursor.statusmessage or "").startswith(verb) or cursor.rowcount not in (0, 1):
            raise OutOfStep(f"{verb} was answered {cursor.statusmessage!r}")
        return cursor.rowcount

    def commit(self) -> None:
        """Commit; returns only when the server has confirmed it."""
        connection = self._live()
        connection.deadline.check()
        if connection.hung_up():
            raise psycopg.OperationalError("the server hung up before the commit was sent")
        self.phase = Phase.COMMIT  # from here on nobody knows, until a definite answer is there
        cursor = self._turn("COMMIT")
        if cursor.statusmessage == "ROLLBACK" and connection.state() is IDLE:
            self.settled()
            raise NotCommitted("COMMIT was answered ROLLBACK")
        self._expect("COMMIT", cursor, IDLE)

    def rollback(self) -> None:
        """End the transaction without a trace."""
        self._expect("ROLLBACK", self._turn("ROLLBACK"), IDLE)

    def end(self) -> None:
        """See to it that no transaction outlives the attempt; close the connection if need be.

        Never fails: the attempt's outcome is decided when this is called.
        """
        connection = self._connection
        if connection is None or connection.state() is IDLE:
            return
        if connection.state() not in (OPEN, FAILED):
            self.discard()
            return
        try:
            connection.deadline.check()
            self.rollback()
        except FAILURES:
            self.discard()

    def discard(self) -> None:
        """Close the connection, whatever state it is in; the next attempt opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            connection.pgconn.finish()  # close() does nothing when the connection is broken

    def evidence(self, failure: Exception) -> Evidence:
        """What is known about a failed turn; ask before anything else is done."""
        if not isinstance(failure, psycopg.Error):
            # NotCommitted is as definite as an answer can be, and names no reason.
            return Evidence(self.phase)
        state = TransactionStatus.UNKNOWN if self._connection is None else self._connection.state()
        settled = (IDLE,) if self.phase is Phase.COMMIT else (IDLE, OPEN, FAILED)
        return Evidence(
            phase=self.phase,
            sqlstate=failure.sqlstate,
            severity=failure.diag.severity_nonlocalized,
            constraint=failure.diag.constraint_name,
            survived=state in settled,
        )

    def settled(self) -> None:
        """Nothing was committed, for certain: what follows cannot bring the doubt back."""
        self.phase = Phase.BEFORE_COMMIT

    @property
    def may_have_booked(self) -> bool:
        """Was a commit handed to the connection? Said of an attempt that never emits."""
        return self.phase is Phase.COMMIT

    def _live(self) -> TimedConnection:
        if self._connection is None:
            raise psycopg.OperationalError("the connection is closed")
        return self._connection

    def _turn(self, sql: str, params: Parameters | None = None) -> psycopg.Cursor[TupleRow]:
        return self._live().execute(sql, params)

    def _expect(self, tag: str, cursor: psycopg.Cursor[TupleRow], state: TransactionStatus) -> None:
        if cursor.statusmessage != tag or self._live().state() is not state:
            raise OutOfStep(f"{tag} was answered {cursor.statusmessage!r}")
