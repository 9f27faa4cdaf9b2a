"""Wrong: what is written is right, and what is said about it is not."""

from __future__ import annotations

import psycopg

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    FAILURES,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Database,
    caller,
)
from lastseat.harness.mutants.conforming import CAPACITY, IF_ROOM, INSERT, TAKEN
from lastseat.harness.mutants.schema import CHECKED, COUNTED, ROWS, UNSIGNED

_ANY = "SELECT 1 FROM booking WHERE booking_id = %s"


@caller(ROWS)
def any_repetition(db: Database, booking: str, resource: str, units: int) -> Answer:
    """An id that is booked is BOOKED, whatever it is booked as."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.row(_ANY, booking) is not None:
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(COUNTED)
def looked_too_early(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Whether it is booked is not asked again when the guarded update finds no room."""
    db.execute("BEGIN")
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def looked_outside(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Whether it is booked is asked before the lock that a repetition would have to wait for."""
    if db.has(booking, resource, units):
        return BOOKED
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def busy_is_full(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Nobody waits; who finds the row locked is told that there is no room."""
    db.execute("BEGIN")
    try:
        capacity = db.value(CAPACITY + " FOR NO KEY UPDATE NOWAIT", resource)
    except psycopg.errors.LockNotAvailable:
        return db.rollback(REJECTED)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


def _serializable(db: Database, booking: str, resource: str, units: int) -> Answer:
    db.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def overtaken_is_full(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A serialization failure or a deadlock is answered as if there were no room."""
    try:
        return _serializable(db, booking, resource, units)
    except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
        return db.rollback(REJECTED)


def _locking(db: Database, booking: str, resource: str, units: int) -> Answer:
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def failed_is_full(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Whatever goes wrong is answered as if there were no room."""
    try:
        return _locking(db, booking, resource, units)
    except FAILURES:
        db.close()
        return REJECTED


@caller(CHECKED)
def constraints_are_failures(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The database says that the id is booked, or that there is no room: both are called failed."""
    try:
        db.execute("BEGIN")
        db.execute(INSERT, booking, resource, units)
        counted = "UPDATE resource SET booked = booked + %s WHERE id = %s"
        db.execute(counted, units, resource)
        return db.commit()
    except psycopg.IntegrityError:
        return db.rollback(CONFLICT)


@caller(ROWS)
def doubt_denied(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A lost connection is a failure like any other, though the commit had been sent."""
    try:
        return _locking(db, booking, resource, units)
    except psycopg.OperationalError as error:
        return {**db.failed(error), "in_doubt": False}


@caller(ROWS)
def doubt_everywhere(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Whatever goes wrong leaves doubt, though nothing was committed yet."""
    try:
        return _locking(db, booking, resource, units)
    except psycopg.OperationalError as error:
        answer = db.failed(error)
        return answer if answer == CONFLICT else {**INFRASTRUCTURE, "in_doubt": True}


@caller(ROWS)
def room_for_one(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Is there room at all? How much is asked for is not compared."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) >= capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(UNSIGNED)
def any_units(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Nobody minds that units are nought or fewer."""
    return _locking(db, booking, resource, units)


_REMEMBERED: set[tuple[str, str, int]] = set()


@caller(ROWS)
def remembered(db: Database, booking: str, resource: str, units: int) -> Answer:
    """What was about to be booked is kept in the process's memory, and never looked up again."""
    if (booking, resource, units) in _REMEMBERED:
        return BOOKED
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    _REMEMBERED.add((booking, resource, units))
    return db.commit()
