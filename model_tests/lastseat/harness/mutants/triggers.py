"""Wrong: the database decides, by a rule of its own that does not hold when two come at once."""

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
from lastseat.harness.mutants.conforming import FUNCTION, INSERT
from lastseat.harness.mutants.schema import CHECKED, ROWS

_DEFERRED = """
CREATE OR REPLACE FUNCTION not_too_many() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT sum(units) FROM booking WHERE resource_id = NEW.resource_id)
       > (SELECT capacity FROM resource WHERE id = NEW.resource_id) THEN
        RAISE EXCEPTION 'too many' USING ERRCODE = 'check_violation', TABLE = 'resource';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS not_too_many ON booking;
CREATE CONSTRAINT TRIGGER not_too_many AFTER INSERT ON booking
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION not_too_many();"""


@caller(ROWS.also(_DEFERRED))
def summed_at_commit(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A deferred trigger sums up at COMMIT, and two COMMITs do not see each other."""
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    return db.commit()


@caller(ROWS.also(FUNCTION.replace(" FOR NO KEY UPDATE", "")))
def racy_function(db: Database, booking: str, resource: str, units: int) -> Answer:
    """One call that is its own transaction, and in it nothing is locked."""
    db.committing = True
    said = db.row("SELECT attempt(%s, %s, %s)", booking, resource, units)
    db.committing = False
    if said == ("UNKNOWN",):
        raise Inconsistent("there is no such resource")
    if said == ("TAKEN",):
        return BOOKED if db.has(booking, resource, units) else CONFLICT
    return BOOKED if said == ("BOOKED",) else REJECTED


_BEFORE = """
CREATE OR REPLACE FUNCTION count_booking() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE resource SET booked = booked + NEW.units WHERE id = NEW.resource_id;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS count_booking ON booking;
CREATE TRIGGER count_booking BEFORE INSERT ON booking
    FOR EACH ROW EXECUTE FUNCTION count_booking();"""


@caller(CHECKED.also(_BEFORE))
def counted_before(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The trigger counts before it is known whether there will be a row; the CHECK decides."""
    db.execute("BEGIN")
    db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units)
    if not db.has(booking, resource, units):
        return db.rollback(CONFLICT)
    return db.commit()
