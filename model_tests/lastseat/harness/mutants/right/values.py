"""Right, and never the same twice: values are made up in the client or in the server."""

from __future__ import annotations

import datetime
import secrets
import uuid

from lastseat.harness.mutants.caller import BOOKED, CONFLICT, REJECTED, Answer, Database, caller
from lastseat.harness.mutants.conforming import IF_ROOM, INSERT, guarded_update
from lastseat.harness.mutants.schema import COUNTED

_OWN_KEY = COUNTED.also("""
ALTER TABLE booking ADD COLUMN IF NOT EXISTS row_id uuid NOT NULL,
    ADD COLUMN IF NOT EXISTS asked_at timestamptz NOT NULL;""")
_INSERT = """
INSERT INTO booking (booking_id, resource_id, units, row_id, asked_at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (booking_id) DO NOTHING"""


@caller(_OWN_KEY)
def made_up_values(db: Database, booking: str, resource: str, units: int) -> Answer:
    """The row's id, the time and the savepoint's name are made up anew in every attempt."""
    mark = f"s_{secrets.token_hex(6)}"
    now = datetime.datetime.now(datetime.UTC)
    db.execute("BEGIN")
    db.execute(f"SAVEPOINT {mark}")
    inserted = db.execute(_INSERT, booking, resource, units, uuid.uuid4(), now)
    db.execute(f"RELEASE SAVEPOINT {mark}")
    if inserted.rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    return db.commit()


_OUTBOX = COUNTED.also("""
CREATE TABLE IF NOT EXISTS outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    message jsonb NOT NULL
);""")
_TELL = "INSERT INTO outbox (message) VALUES (jsonb_build_object('booked', %s::text))"


@caller(_OUTBOX)
def outbox(db: Database, booking: str, resource: str, units: int) -> Answer:
    """As guarded-update, and the same transaction leaves a message for others, with the number
    and the time that the server gives it."""
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    db.execute(_TELL, booking)
    return db.commit()


@caller(COUNTED)
def notifying(db: Database, booking: str, resource: str, units: int) -> Answer:
    """Listens to what others book, on its own connection, and tells them what it books."""
    db.execute("LISTEN booked")
    db.execute("BEGIN")
    if db.execute(INSERT + " ON CONFLICT DO NOTHING", booking, resource, units).rowcount == 0:
        return db.rollback(BOOKED if db.has(booking, resource, units) else CONFLICT)
    if db.execute(IF_ROOM, units, resource, units).rowcount == 0:
        return db.rollback(REJECTED)
    db.execute("SELECT pg_notify('booked', %s)", booking)
    return db.commit()


_LOOK = """
SELECT booked + %s > capacity AND NOT EXISTS (SELECT FROM booking WHERE booking_id = %s)
  FROM resource WHERE id = %s"""


@caller(COUNTED)
def look_first(db: Database, booking: str, resource: str, units: int) -> Answer:
    """A look, in a transaction of its own, turns most callers away; what is left is decided as by
    guarded-update."""
    if db.row(_LOOK, units, booking, resource) == (True,):
        return REJECTED
    return guarded_update.mechanism(db, booking, resource, units)
