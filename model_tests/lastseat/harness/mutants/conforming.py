"""Right ones, each on another mechanism. The wrong ones beside them differ in one thing only."""

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
from lastseat.harness.mutants.leaving import CancelsFirst, HangsUp
from lastseat.harness.mutants.schema import CHECKED, COUNTED, ROWS

CAPACITY = "SELECT capacity FROM resource WHERE id = %s"
TAKEN = "SELECT coalesce(sum(units), 0)::bigint FROM booking WHERE resource_id = %s"
INSERT = "INSERT INTO booking (booking_id, resource_id, units) VALUES (%s, %s, %s)"
IF_ROOM = "UPDATE resource SET booked = booked + %s WHERE id = %s AND booked + %s <= capacity"


@caller(COUNTED)
def guarded_update(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The row first, unless it is there, then the counter, if there is room; or neither."""
    db.execute("BEGIN")
    inserted = db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units)
    if inserted.rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    return db.commit()


@caller(ROWS)
def lock_then_sum(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The sum is read by a statement of its own, once the lock is held."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


cancels_first = caller(COUNTED, database=CancelsFirst)(guarded_update.mechanism)
"""The same; at its deadline it asks the server to cancel, and closes the connection then."""

hangs_up_at_once = caller(COUNTED, database=HangsUp)(guarded_update.mechanism)
"""The same; at any error it resets the connection."""


@caller(ROWS)
def serializable(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The database finds out who was in whose way. It is told, and not tried again."""
    db.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def lock_table(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The table is locked before the first look, which takes the snapshot."""
    db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    db.execute("LOCK TABLE booking IN SHARE ROW EXCLUSIVE MODE")
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


@caller(ROWS)
def advisory_lock(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A lock that the transaction holds to its end, by the resource's name."""
    db.execute("BEGIN")
    db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", resource)
    capacity = db.value(CAPACITY, resource)
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if db.value(TAKEN, resource) + units > capacity:
        return db.rollback(REJECTED)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


OBSERVE = "SELECT capacity, booked, version FROM resource WHERE id = %s"
CLAIM = """UPDATE resource SET booked = booked + %s, version = version + 1
 WHERE id = %s AND version = %s"""


@caller(COUNTED, "winner")
def version_check(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Nobody waits while somebody thinks; who was overtaken is told."""
    db.execute("BEGIN")
    seen = db.row(OBSERVE, resource)
    if seen is None:
        raise Inconsistent("there is no such resource")
    capacity, booked, version = seen
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if booked + units > capacity:
        return db.rollback(REJECTED)
    if db.execute(CLAIM, units, resource, version).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    db.execute(INSERT, booking, resource, units)
    return db.commit()


ALL_AT_ONCE = """
WITH room AS (
    UPDATE resource SET booked = booked + %s WHERE id = %s AND booked + %s <= capacity
       AND NOT EXISTS (SELECT FROM booking WHERE booking_id = %s)
    RETURNING id)
INSERT INTO booking SELECT %s, id, %s FROM room"""


@caller(CHECKED)
def one_statement(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Counter and row in one statement, which is its own transaction."""
    db.committing = True
    done = db.execute(ALL_AT_ONCE, units, resource, units, booking, booking, units)
    db.committing = False
    if done.rowcount == 1:
        return BOOKED
    if db.has(booking, resource, units):
        return BOOKED
    db.value(CAPACITY, resource)
    return REJECTED


FUNCTION = """
CREATE OR REPLACE FUNCTION attempt(booking_ text, resource_ text, units_ bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE room bigint;
BEGIN
    SELECT capacity INTO room FROM resource WHERE id = resource_ FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN 'UNKNOWN'; END IF;
    IF EXISTS (SELECT FROM booking WHERE booking_id = booking_) THEN RETURN 'TAKEN'; END IF;
    room := room - (SELECT coalesce(sum(units), 0) FROM booking WHERE resource_id = resource_);
    IF room < units_ THEN RETURN 'REJECTED'; END IF;
    INSERT INTO booking VALUES (booking_, resource_, units_);
    RETURN 'BOOKED';
END $$;"""


@caller(ROWS.also(FUNCTION))
def server_function(db: Database, booking: str, resource: str, units: int) -> Answer:
    """One call; everything else happens in the server."""
    db.committing = True
    said = db.row("SELECT attempt(%s, %s, %s)", booking, resource, units)
    db.committing = False
    if said == ("UNKNOWN",):
        raise Inconsistent("there is no such resource")
    if said == ("TAKEN",):
        return BOOKED if db.has(booking, resource, units) else CONFLICT
    return BOOKED if said == ("BOOKED",) else REJECTED


@caller(ROWS)
def insert_then_lock(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Legal, and better done otherwise: the new row's foreign key shares what is locked next.

    Two of them deadlock; the server ends one, and its caller is told of a conflict.
    """
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    capacity = db.value(CAPACITY + " FOR UPDATE", resource)
    if db.value(TAKEN, resource) > capacity:
        return db.rollback(REJECTED)
    return db.commit()
