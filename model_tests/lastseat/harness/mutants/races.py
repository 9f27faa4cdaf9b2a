"""Wrong: what is decided is not what is written, because somebody else comes in between."""

from __future__ import annotations

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    REJECTED,
    Answer,
    Database,
    Inconsistent,
    caller,
)
from lastseat.harness.mutants.conforming import CAPACITY, CLAIM, INSERT, OBSERVE, TAKEN
from lastseat.harness.mutants.schema import CHECKED, COUNTED, ROWS

_BOTH = """
SELECT capacity, (SELECT coalesce(sum(units), 0)::bigint FROM booking WHERE resource_id = id)
  FROM resource WHERE id = %s"""
_UNITS = "SELECT units FROM booking WHERE resource_id = %s"


@caller(ROWS)
def sum_then_insert(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The sum is read without a lock, so two may read the same one."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(CHECKED)
def absolute_value(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The counter is read, and what it should be is written: the last one wins."""
    db.execute("BEGIN")
    capacity, booked, _ = db.row(OBSERVE, resource) or (0, 0, 0)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if booked + units > capacity:
        return db.rollback(REJECTED)
    db.execute("UPDATE resource SET booked = %s WHERE id = %s", booked + units, resource)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def lock_and_sum_at_once(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Who waits for the lock goes on with the sum of the snapshot from before the wait."""
    db.execute("BEGIN")
    capacity, taken = db.row(_BOTH + " FOR NO KEY UPDATE", resource) or (0, 0)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if taken + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def sum_before_lock(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The lock is taken, and what was read before it is what decides."""
    db.execute("BEGIN")
    taken = db.value(TAKEN, resource)
    capacity = db.value(CAPACITY + " FOR UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if taken + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def write_skew(db: Database, booking: str, resource: str, units: int) -> Answer:
    """REPEATABLE READ is a snapshot, and a snapshot does not see who else decides by it."""
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def lock_bookings(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The bookings that exist are locked; those to come are not, and at first there are none."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    taken = sum(row[0] for row in db.execute(_UNITS + " FOR UPDATE", resource))
    if taken + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def unlock_before_commit(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The lock of the session is given back in ``finally``, and the commit comes behind it."""
    db.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", resource)
    try:
        db.execute("BEGIN")
        capacity = db.value(CAPACITY, resource)
        if db.has(booking, resource, units):
            return db.rollback(BOOKED)
        if db.value(TAKEN, resource) + units > capacity:
            return db.rollback(REJECTED)
        db.execute(INSERT, booking, resource, units)
    finally:
        db.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", resource)
    return db.commit()


@caller(ROWS)
def level_before_begin(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The isolation level is set where there is no transaction: it holds for nothing."""
    db.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    db.execute("BEGIN")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def vacuous_check(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The check under the lock sums up a generator that the check before it has used up."""
    db.execute("BEGIN")
    taken = (row[0] for row in db.execute(_UNITS, resource))
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if sum(taken) + units > db.value(CAPACITY, resource):
        return db.rollback(REJECTED)
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if sum(taken) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def insert_then_sum(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Inserted first, then summed up: nobody sees what others have not committed yet."""
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.value(TAKEN, resource) > db.value(CAPACITY, resource):
        return db.rollback(REJECTED)
    return db.commit()


@caller(COUNTED)
def unchecked_version(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The version is compared, and nobody looks whether the comparison held."""
    db.execute("BEGIN")
    seen = db.row(OBSERVE, resource)
    if seen is None:
        raise Inconsistent("there is no such resource")
    capacity, booked, version = seen
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if booked + units > capacity:
        return db.rollback(REJECTED)
    db.execute(CLAIM, units, resource, version)
    db.execute(INSERT, booking, resource, units)
    return db.commit()
