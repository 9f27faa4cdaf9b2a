"""Wrong: what belongs together is written apart, or is written where nothing should be."""

from __future__ import annotations

from lastseat.harness.mutants.caller import BOOKED, CONFLICT, REJECTED, Answer, Database, caller
from lastseat.harness.mutants.conforming import CAPACITY, IF_ROOM, INSERT, TAKEN
from lastseat.harness.mutants.schema import COUNTED, ROWS

_IF_ABSENT = INSERT + " ON CONFLICT DO NOTHING"


@caller(ROWS)
def insert_then_take_back(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The row is committed, then summed up, and deleted again if it was too much."""
    db.execute("BEGIN")
    if db.execute(_IF_ABSENT, booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    answer = db.commit()
    if db.value(TAKEN, resource) > db.value(CAPACITY, resource):
        db.execute("DELETE FROM booking WHERE booking_id = %s", booking)
        return REJECTED
    return answer


@caller(COUNTED)
def two_transactions(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The counter is one transaction, the row another."""
    if db.has(booking, resource, units):
        return BOOKED
    db.execute("BEGIN")
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    db.commit()
    db.execute("BEGIN")
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(COUNTED)
def counted_anyway(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Whether the row is new is not looked at; the counter moves in any case."""
    db.execute("BEGIN")
    db.execute(_IF_ABSENT, booking, resource, units)
    if not db.has(booking, resource, units):
        return db.rollback(CONFLICT)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    return db.commit()


@caller(ROWS)
def returned_inside(db: Database, booking: str, resource: str, units: int) -> Answer:
    """An early return leaves the block in order, and what leaves it in order is committed."""
    assert db.connection is not None
    db.committing = True
    with db.connection.transaction():
        capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
        if db.execute(_IF_ABSENT, booking, resource, units).rowcount == 0:
            return BOOKED if db.has(booking, resource, units) else CONFLICT
        if db.value(TAKEN, resource) > capacity:
            return REJECTED
    return BOOKED
