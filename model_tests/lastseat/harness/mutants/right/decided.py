"""Right: what was decided stays decided, whatever becomes of the clean-up behind it."""

from __future__ import annotations

from lastseat.harness.mutants.caller import (
    BOOKED,
    CONFLICT,
    FAILURES,
    REJECTED,
    Answer,
    Database,
    Inconsistent,
    caller,
)
from lastseat.harness.mutants.conforming import CAPACITY, FUNCTION, IF_ROOM, INSERT, TAKEN
from lastseat.harness.mutants.schema import COUNTED, ROWS

PROCEDURE = FUNCTION.replace("FUNCTION attempt(", "PROCEDURE arrange(OUT said text, ")
for _word in ("UNKNOWN", "TAKEN", "REJECTED", "BOOKED"):
    PROCEDURE = PROCEDURE.replace(f"RETURN '{_word}';", f"said := '{_word}'; RETURN;")
PROCEDURE = PROCEDURE.replace(" RETURNS text", "")


def _decided(db: Database, answer: Answer, *ends: str) -> Answer:
    """This answer, also if the server or the connection fails while it is cleared up."""
    try:
        for end in ends:
            db.execute(end)
    except FAILURES:
        db.close()
    return answer


def _said(db: Database, said: object, booking: str, resource: str, units: int) -> Answer:
    """What a stored routine said, in a transaction that is committed in any case."""
    if said == "UNKNOWN":
        raise Inconsistent("there is no such resource")
    if said == "TAKEN":
        return _decided(db, BOOKED if db.has(booking, resource, units) else CONFLICT, "COMMIT")
    return db.commit() if said == "BOOKED" else _decided(db, REJECTED, "COMMIT")


@caller(ROWS.also(FUNCTION))
def function_in_transaction(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A function locks, looks and inserts, in a transaction of its caller."""
    db.execute("BEGIN")
    said = db.row("SELECT attempt(%s, %s, %s)", booking, resource, units)
    return _said(db, said and said[0], booking, resource, units)


@caller(ROWS.also(PROCEDURE))
def procedure_in_transaction(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The same as a procedure, which is called by CALL."""
    db.execute("BEGIN")
    said = db.row("CALL arrange(NULL, %s, %s, %s)", booking, resource, units)
    return _said(db, said and said[0], booking, resource, units)


@caller(ROWS)
def nested_savepoints(db: Database, booking: str, resource: str, units: int) -> Answer:
    """As nested atomic blocks: each undoes its savepoint when the request does not fit."""
    db.execute("BEGIN")
    db.execute("SAVEPOINT outer_block")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return _decided(db, BOOKED, "RELEASE SAVEPOINT outer_block", "COMMIT")
    db.execute("SAVEPOINT inner_block")
    db.execute(INSERT, booking, resource, units)
    if db.value(TAKEN, resource) > capacity:
        undo = (
            f"{verb} SAVEPOINT {name}"
            for name in ("inner_block", "outer_block")
            for verb in ("ROLLBACK TO", "RELEASE")
        )
        return _decided(db, REJECTED, *undo, "COMMIT")
    db.execute("RELEASE SAVEPOINT inner_block")
    db.execute("RELEASE SAVEPOINT outer_block")
    return db.commit()


@caller(ROWS)
def savepoint_twice(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Every attempt guards what it writes with a savepoint of the same name."""
    db.execute("BEGIN")
    capacity = db.value(CAPACITY + " FOR NO KEY UPDATE", resource)
    if db.has(booking, resource, units):
        return _decided(db, BOOKED, "ROLLBACK")
    db.execute("SAVEPOINT attempt")
    if db.value(TAKEN, resource) + units > capacity:
        return _decided(db, REJECTED, "ROLLBACK TO SAVEPOINT attempt", "ROLLBACK")
    db.execute(INSERT, booking, resource, units)
    db.execute("RELEASE SAVEPOINT attempt")
    return db.commit()


@caller(COUNTED)
def on_conflict_repeat(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The counter first, then the row unless it is there: then it is a repetition, at once.

    There is no ROLLBACK: the transaction ends with its connection.
    """
    db.execute("BEGIN")
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        found = db.has(booking, resource, units)
        db.value(CAPACITY, resource)
        return _decided(db, BOOKED if found else REJECTED, "ROLLBACK")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        found = db.has(booking, resource, units)
        db.close()  # which rolls back, as the loss of the connection would
        return BOOKED if found else CONFLICT
    return db.commit()
