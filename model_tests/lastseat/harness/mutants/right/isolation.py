"""Right by isolation: the database finds out who was in whose way, and tells."""

from __future__ import annotations

from lastseat.harness.mutants import conforming
from lastseat.harness.mutants.caller import BOOKED, REJECTED, Answer, Database, Inconsistent, caller
from lastseat.harness.mutants.schema import COUNTED, KEYLESS

serializable_without_key = caller(KEYLESS)(conforming.serializable.mechanism)
"""SERIALIZABLE keeps one id from being booked twice, too, where no key does."""

_OBSERVE = "SELECT capacity, booked FROM resource WHERE id = %s"
_WRITE_BACK = "UPDATE resource SET booked = %s WHERE id = %s"


@caller(COUNTED)
def repeatable_read(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Reads the counter and writes the new value back. Whoever has changed it since the snapshot
    makes the UPDATE fail with 40001."""
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    seen = db.row(_OBSERVE, resource)
    if seen is None:
        raise Inconsistent("there is no such resource")
    capacity, booked = seen
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if booked + units > capacity:
        return db.rollback(REJECTED)
    db.execute(_WRITE_BACK, booked + units, resource)
    db.execute(conforming.INSERT, booking, resource, units)
    return db.commit()
