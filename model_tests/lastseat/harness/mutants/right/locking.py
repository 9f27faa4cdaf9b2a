"""Right by locks that are not waited for, or not for long."""

from __future__ import annotations

from lastseat.harness.mutants.caller import BOOKED, CONFLICT, REJECTED, Answer, Database, caller
from lastseat.harness.mutants.conforming import CAPACITY, INSERT, TAKEN
from lastseat.harness.mutants.schema import ROWS, SEATS


def _decide(db: Database, capacity: int, booking: str, resource: str, units: int) -> Answer:
    """What follows once the resource is locked."""
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def nowait(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Waits for nobody: a resource that is locked is a conflict (55P03)."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE NOWAIT", resource)
    return _decide(db, capacity, booking, resource, units)


@caller(ROWS)
def lock_timeout(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Waits for a second; a resource that is locked for longer is a conflict (55P03)."""
    db.execute("BEGIN")
    db.execute("SET LOCAL lock_timeout = '1s'")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    return _decide(db, capacity, booking, resource, units)


_TAKE = """
WITH free AS MATERIALIZED (
    SELECT number FROM seat WHERE resource_id = %s AND booking_id IS NULL
     LIMIT %s FOR UPDATE SKIP LOCKED)
UPDATE seat SET booking_id = %s FROM free WHERE seat.number = free.number"""
_FREE = "SELECT count(*) FROM seat WHERE resource_id = %s AND booking_id IS NULL"


@caller(SEATS)
def skip_locked(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Takes seats that nobody else is about to take. Where those are too few, it may be full, or
    somebody may yet give some back: the first is a rejection, the second a conflict."""
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    taken = db.execute(_TAKE, resource, units, booking).rowcount
    if taken == units:
        return db.commit()
    free = db.value(_FREE, resource)
    return db.rollback(REJECTED if free + taken < units else CONFLICT)
