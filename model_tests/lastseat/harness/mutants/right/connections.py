"""Right by what everybody does, but spoken differently: pooled, pipelined, in two phases."""

from __future__ import annotations

import contextlib
from typing import Any

from attrs import define, field
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolTimeout

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    FAILURES,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Caller,
    Database,
    caller,
)
from lastseat.harness.mutants.conforming import IF_ROOM, INSERT, guarded_update
from lastseat.harness.mutants.schema import CHECKED, COUNTED
from lastseat.impl.connection import TimedConnection, conninfo
from lastseat.impl.deadline import Deadline

_COUNT = "UPDATE resource SET booked = booked + %s WHERE id = %s"


@caller(CHECKED)
def pipelined(db: Database, booking: str, resource: str, units: int) -> Answer:
    """All in one go, the COMMIT too: the key and the CHECK say no, and then it is not executed.

    What is sent on a connection that has ended is in doubt at once, so that it is looked at first.
    """
    assert db.connection is not None
    if db.connection.hung_up():
        db.close()
        db.begin_attempt()
    db.committing = True
    with db.connection.pipeline():
        db.execute("BEGIN")
        db.execute(INSERT, booking, resource, units)
        db.execute(_COUNT, units, resource)
        committed = db.execute("COMMIT")
    db.committing = False
    return BOOKED if committed.statusmessage == "COMMIT" else INFRASTRUCTURE


_CLEANING_SECONDS = 1.0


@caller(COUNTED)
def two_phase(db: Database, booking: str, resource: str, units: int) -> Answer:
    """As guarded-update, committed in two phases. What is prepared and was not heard to be
    committed is rolled back (presumed abort), once its session can do nothing more."""
    assert db.connection is not None
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    name, pid = sql.Literal(booking).as_string(), db.connection.info.backend_pid
    try:
        tag = db.execute(f"PREPARE TRANSACTION {name}").statusmessage
        if tag != "PREPARE TRANSACTION":
            return INFRASTRUCTURE
        db.committing = True
        db.execute(f"COMMIT PREPARED {name}")
        db.committing = False
    except FAILURES as error:
        _presume_abort(db, error, name, pid)
        raise
    return BOOKED


def _presume_abort(db: Database, error: Exception, name: str, pid: int) -> None:
    if db.told(error) and not db.committing:
        return  # it was not prepared
    by = Deadline.after(_CLEANING_SECONDS)
    with contextlib.suppress(*FAILURES), TimedConnection.open(conninfo(db.dsn), by) as other:
        if not db.told(error):
            other.execute("SELECT pg_terminate_backend(%s, 500)", [pid])
        other.execute(f"ROLLBACK PREPARED {name}".encode())


class _Pooled(TimedConnection):
    """Opened by the pool's own threads, before any attempt has a deadline for it."""

    deadline = Deadline.after(0.0)


@define
class Pool:
    """As guarded-update, on connections of psycopg_pool, which opens and checks them itself."""

    IDS = "text"
    AUDIT = COUNTED.audit
    prepare = COUNTED.prepare
    declare = COUNTED.declare

    dsn: str
    deadline_seconds: float
    _by: Deadline = field(init=False)
    _pool: ConnectionPool[Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by = Deadline.after(self.deadline_seconds)
        self._pool = ConnectionPool(
            conninfo(self.dsn),
            connection_class=_Pooled,
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": 2},
            min_size=1,
            max_size=2,
            check=self._check,
            open=True,
        )

    def _check(self, connection: TimedConnection) -> None:
        connection.deadline = self._by
        ConnectionPool.check_connection(connection)

    def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Answer:
        """One attempt on whichever connection is free."""
        self._by = Deadline.after(self.deadline_seconds)
        try:
            connection = self._pool.getconn(self.deadline_seconds)
        except PoolTimeout:
            return INFRASTRUCTURE
        try:
            database = Database(self.dsn, self._by.remaining, connection=connection)
            one = Caller(guarded_update.mechanism, database)
            return one.attempt_booking(booking_id, resource_id, units)
        finally:
            self._pool.putconn(connection)

    def close(self) -> None:
        self._pool.close(_CLEANING_SECONDS)
