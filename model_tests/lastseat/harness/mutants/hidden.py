"""Wrong: something happens on the wire that the answer does not tell."""

from __future__ import annotations

import contextlib
import threading

import psycopg

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    CONFLICTS,
    FAILURES,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Database,
    Inconsistent,
    caller,
)
from lastseat.harness.mutants.conforming import CAPACITY, CLAIM, INSERT, OBSERVE, TAKEN
from lastseat.harness.mutants.schema import COUNTED, KEYLESS, ROWS


def _prepared(db: Database, booking: str, resource: str, units: int) -> Answer | None:
    """Right: all but the commit. None: it is inserted, and may be committed."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return None


def _locking(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Right."""
    return _prepared(db, booking, resource, units) or db.commit()


@caller(ROWS)
def swallowed(db: Database, booking: str, resource: str, units: int) -> Answer:
    """An error of the insert is taken for a repetition, and COMMIT's answer for granted."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    try:
        db.execute(INSERT, booking, resource, units)
    except psycopg.DatabaseError:
        if db.connection is None or db.connection.closed:
            raise
    db.committing = True
    db.execute("COMMIT")
    return BOOKED


@caller(KEYLESS)
def repeated_when_lost(db: Database, booking: str, resource: str, units: int) -> Answer:
    """When the connection is lost, the whole call is repeated on another one."""
    try:
        return _locking(db, booking, resource, units)
    except psycopg.OperationalError as error:
        if error.sqlstate in CONFLICTS or (db.connection and not db.connection.closed):
            raise
        db.close()
        db.begin_attempt()
        return _locking(db, booking, resource, units)


@caller(ROWS)
def retried(db: Database, booking: str, resource: str, units: int) -> Answer:
    """What the server called a conflict is tried again, and nobody is told."""
    for _ in range(2):
        with contextlib.suppress(
            psycopg.errors.SerializationFailure,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.LockNotAvailable,
        ):
            return _locking(db, booking, resource, units)
        db.rollback(CONFLICT)
    return _locking(db, booking, resource, units)


@caller(COUNTED)
def retried_inside(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The guarded update is tried until it changes a row, within one transaction."""
    db.execute("BEGIN")
    for _ in range(3):
        seen = db.row(OBSERVE, resource)
        if seen is None:
            raise Inconsistent("there is no such resource")
        capacity, booked, version = seen
        if db.has(booking, resource, units):
            return db.rollback(BOOKED)
        if booked + units > capacity:
            return db.rollback(REJECTED)
        if db.execute(CLAIM, units, resource, version).rowcount == 1:
            db.execute(INSERT, booking, resource, units)
            return db.commit()
    return db.rollback(CONFLICT)


@caller(ROWS)
def commit_later(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The answer goes out at once, and the commit is somebody else's work."""
    answer = _prepared(db, booking, resource, units)
    if answer is not None:
        return answer
    threading.Thread(target=_commit_in_peace, args=(db,)).start()
    return BOOKED


def _commit_in_peace(db: Database) -> None:
    with contextlib.suppress(*FAILURES):
        db.commit()


@caller(ROWS)
def commit_unheard(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The commit is sent, and its answer not waited for."""
    assert db.connection is not None
    while db.connection.pgconn.get_result() is not None:
        pass  # what the last commit was answered
    answer = _prepared(db, booking, resource, units)
    if answer is None:
        db.connection.pgconn.send_query(b"COMMIT")
    return answer or BOOKED


@caller(ROWS)
def looked_up(db: Database, booking: str, resource: str, units: int) -> Answer:
    """When COMMIT's answer is lost, another connection is asked what became of it."""
    try:
        return _locking(db, booking, resource, units)
    except psycopg.OperationalError as error:
        answer = db.failed(error)
        if answer.get("in_doubt"):
            with contextlib.suppress(*FAILURES):
                db.begin_attempt()
                if db.has(booking, resource, units):
                    return BOOKED
        return answer


@caller(ROWS)
def left_open(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Who fails gives the connection back as it is, with its transaction."""
    try:
        return _locking(db, booking, resource, units)
    except psycopg.Error as error:
        if db.connection is None or db.connection.closed:
            raise
        if isinstance(error, psycopg.IntegrityError):
            raise
        return CONFLICT if error.sqlstate in CONFLICTS else INFRASTRUCTURE


_JOURNAL = """
CREATE TABLE IF NOT EXISTS journal (booking_id text, at timestamptz DEFAULT now());"""


@caller(ROWS.also(_JOURNAL))
def written_down_later(db: Database, booking: str, resource: str, units: int) -> Answer:
    """What was booked is written to a journal once the caller has been told."""
    answer = _locking(db, booking, resource, units)
    if answer == BOOKED:
        threading.Timer(0.05, _write_down, (db, booking)).start()
    return answer


def _write_down(db: Database, booking: str) -> None:
    with contextlib.suppress(*FAILURES, AssertionError):
        db.execute("INSERT INTO journal (booking_id) VALUES (%s)", booking)
