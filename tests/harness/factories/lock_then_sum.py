"""A right implementation whose ids are of a type of the database's own."""

import psycopg

_TABLES = """
CREATE TABLE IF NOT EXISTS place (id {kind} PRIMARY KEY, capacity int NOT NULL);
CREATE TABLE IF NOT EXISTS claim (
    id {kind} PRIMARY KEY, place {kind} NOT NULL REFERENCES place, units int NOT NULL
)"""
_LOCK = "SELECT capacity FROM place WHERE id = %s FOR NO KEY UPDATE"
_OWN = "SELECT place::text, units FROM claim WHERE id = %s"
_SUM = "SELECT coalesce(sum(units), 0) FROM claim WHERE place = %s"
_CLAIM = "INSERT INTO claim VALUES (%s, %s, %s)"
AUDIT = {"bookings": "SELECT id, units FROM claim WHERE place::text = $1", "booked": None}


class Booking:
    """Locks the place, looks, claims, commits; no failure is expected."""

    def __init__(self, dsn, convert):
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._convert = convert

    def attempt_booking(self, booking_id, resource_id, requested_units):
        booking, place = self._convert(booking_id), self._convert(resource_id)
        execute = self._connection.execute
        execute("BEGIN")
        (capacity,) = execute(_LOCK, (place,)).fetchone()
        if execute(_OWN, (booking,)).fetchone() == (resource_id, requested_units):
            execute("ROLLBACK")
            return {"outcome": "BOOKED"}
        (taken,) = execute(_SUM, (place,)).fetchone()
        if taken + requested_units > capacity:
            execute("ROLLBACK")
            return {"outcome": "REJECTED"}
        execute(_CLAIM, (booking, place, requested_units))
        tag = execute("COMMIT").statusmessage
        return {"outcome": "BOOKED" if tag == "COMMIT" else "FAILED"}

    def close(self):
        self._connection.close()


def tables(kind):
    """Creates them with ids of this type."""

    def prepare(dsn):
        with psycopg.connect(dsn) as connection:
            connection.execute(_TABLES.format(kind=kind))

    return prepare


def declare(dsn, resource_id, capacity):
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO place VALUES (%s, %s)", (resource_id, capacity))
