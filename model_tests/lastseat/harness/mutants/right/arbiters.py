"""Right because the database decides: by a constraint, a trigger, or a routine of its own."""

from __future__ import annotations

import psycopg

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    REJECTED,
    Answer,
    Database,
    Inconsistent,
    caller,
)
from lastseat.harness.mutants.conforming import FUNCTION, INSERT
from lastseat.harness.mutants.schema import CHECKED, COUNTED, ROWS

_MERGE = """
MERGE INTO resource USING (SELECT %s AS id, %s AS units) AS asked ON resource.id = asked.id
 WHEN MATCHED AND resource.booked + asked.units <= resource.capacity
 THEN UPDATE SET booked = resource.booked + asked.units"""


@caller(COUNTED)
def merge(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The counter is moved by MERGE, which looks again once it has waited."""
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.execute(_MERGE, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    return db.commit()


_LINE = ROWS.also("""
ALTER TABLE resource ADD COLUMN IF NOT EXISTS line bigint GENERATED ALWAYS AS IDENTITY;
ALTER TABLE booking ADD COLUMN IF NOT EXISTS places int8range NOT NULL,
    DROP CONSTRAINT IF EXISTS one_at_a_place,
    ADD CONSTRAINT one_at_a_place EXCLUDE USING gist (places WITH &&);""")
_PLACES_OF_ONE = 2**32
_OBSERVE = """
SELECT capacity, line, (SELECT coalesce(sum(units), 0)::bigint FROM booking WHERE resource_id = id)
  FROM resource WHERE id = %s"""
_PLACE = """
INSERT INTO booking (booking_id, resource_id, units, places)
VALUES (%s, %s, %s, int8range(%s, %s))"""


@caller(_LINE)
def exclusion(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Asks for the next free places, and an exclusion constraint lets one of two have them."""
    if units < 1:
        raise Inconsistent("nothing is asked for")
    db.execute("BEGIN")
    seen = db.row(_OBSERVE, resource)
    if seen is None:
        raise Inconsistent("there is no such resource")
    capacity, line, taken = seen
    if db.has(booking, resource, units):
        return db.rollback(BOOKED)
    if taken + units > capacity:
        return db.rollback(REJECTED)
    first = line * _PLACES_OF_ONE + taken
    try:
        db.execute(_PLACE, booking, resource, units, first, first + units)
    except psycopg.errors.ExclusionViolation as error:
        return db.rollback(CONFLICT) if db.told(error) else db.failed(error)
    return db.commit()


_COUNTING = """
CREATE OR REPLACE FUNCTION count_units() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE resource SET booked = booked + NEW.units WHERE id = NEW.resource_id;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER count_units AFTER INSERT ON booking
    FOR EACH ROW EXECUTE FUNCTION count_units();"""


@caller(CHECKED.also(_COUNTING))
def counting_trigger(db: Database, booking: str, resource: str, units: int) -> Answer:
    """One INSERT, which is its own transaction: a trigger counts, and a CHECK decides."""
    db.committing = True
    db.execute(INSERT, booking, resource, units)
    db.committing = False
    return BOOKED


_DEFERRED = """
CREATE OR REPLACE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE room bigint;
BEGIN
    SELECT capacity INTO room FROM resource WHERE id = NEW.resource_id FOR NO KEY UPDATE;
    IF (SELECT sum(units) FROM booking WHERE resource_id = NEW.resource_id) > room THEN
        RAISE EXCEPTION 'too many' USING ERRCODE = 'check_violation', TABLE = 'resource';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS sum_up ON booking;
CREATE CONSTRAINT TRIGGER sum_up AFTER INSERT ON booking
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sum_up();"""


@caller(ROWS.also(_DEFERRED))
def deferred_trigger(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A trigger sums up at COMMIT, once it holds the resource's lock."""
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    return db.commit()


_PROCEDURE = """
CREATE OR REPLACE PROCEDURE book(booking_ text, resource_ text, units_ bigint, OUT said text)
LANGUAGE plpgsql AS $$ BEGIN said := attempt(booking_, resource_, units_); END $$;"""
_COMMITTING = _PROCEDURE.replace("END $$", "COMMIT; END $$")


@caller(ROWS.also(FUNCTION + _PROCEDURE))
def procedure(db: Database, booking: str, resource: str, units: int) -> Answer:
    """One CALL, which is its own transaction."""
    db.committing = True
    said = db.row("CALL book(%s, %s, %s, NULL)", booking, resource, units)
    db.committing = False
    if said == ("UNKNOWN",):
        raise Inconsistent("there is no such resource")
    if said == ("TAKEN",):
        return BOOKED if db.has(booking, resource, units) else CONFLICT
    return BOOKED if said == ("BOOKED",) else REJECTED


procedure_that_commits = caller(ROWS.also(FUNCTION + _COMMITTING))(procedure.mechanism)
"""One CALL; the procedure itself commits, before it answers."""
