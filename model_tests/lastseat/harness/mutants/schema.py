"""Schemas that guard little: what is right on them is right by its mechanism alone."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from attrs import evolve, field, frozen

_RESOURCE = """
CREATE TABLE IF NOT EXISTS resource (
    id text PRIMARY KEY,
    capacity bigint NOT NULL,
    booked bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0
);"""
_BOOKING = """
CREATE TABLE IF NOT EXISTS booking (
    booking_id text PRIMARY KEY,
    resource_id text NOT NULL REFERENCES resource,
    units bigint NOT NULL CHECK (units > 0)
);
CREATE INDEX IF NOT EXISTS booking_by_resource ON booking (resource_id);"""
_DECLARE = "INSERT INTO resource (id, capacity) VALUES (%(id)s, %(capacity)s)"
_BOOKINGS = "SELECT booking_id, units FROM booking WHERE resource_id = $1"
_BOOKED = "SELECT booked FROM resource WHERE id = $1"


@frozen
class Schema:
    """Tables, how a resource comes into them, and how they are audited."""

    tables: str
    counted: bool = field(default=False, kw_only=True)
    """Whether a counter is kept beside the rows."""
    declaring: str = field(default=_DECLARE, kw_only=True)
    """Creates the resource ``%(id)s`` with ``%(capacity)s`` units."""
    bookings: str = field(default=_BOOKINGS, kw_only=True)
    """The audit's query."""

    @property
    def audit(self) -> Mapping[str, str | None]:
        """The queries that an audit reads the bookings with."""
        return {"bookings": self.bookings, "booked": _BOOKED if self.counted else None}

    def prepare(self, dsn: str) -> None:
        """Create the tables, where they are missing."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(self.tables.encode())

    def also(self, more: str) -> Schema:
        """The same, and more."""
        return evolve(self, tables=self.tables + more)

    def declare(self, dsn: str, resource_id: str, capacity: int) -> None:
        """Create a resource."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = {"id": resource_id, "capacity": capacity}
            connection.execute(self.declaring.encode(), row)


ROWS = Schema(_RESOURCE + _BOOKING)
"""What is booked is the sum of the rows."""

KEYLESS = Schema(_RESOURCE + _BOOKING.replace(" PRIMARY KEY", " NOT NULL"))
"""The same, and nothing keeps one id from being booked twice."""

UNSIGNED = Schema(_RESOURCE + _BOOKING.replace(" CHECK (units > 0)", ""))
"""The same as the first, and nobody minds what units are."""

COUNTED = Schema(_RESOURCE + _BOOKING, counted=True)
"""A counter is kept beside the rows; nothing holds it below the capacity."""

CHECKED = COUNTED.also(
    """
ALTER TABLE resource DROP CONSTRAINT IF EXISTS enough,
    ADD CONSTRAINT enough CHECK (booked <= capacity);"""
)
"""A counter, and the database holds it below the capacity."""

SEATS = Schema(
    _RESOURCE
    + _BOOKING
    + """
CREATE TABLE IF NOT EXISTS seat (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resource_id text NOT NULL REFERENCES resource,
    booking_id text REFERENCES booking
);
CREATE INDEX IF NOT EXISTS seat_by_resource ON seat (resource_id);""",
    declaring="""
WITH made AS (INSERT INTO resource (id, capacity) VALUES (%(id)s, %(capacity)s) RETURNING id)
INSERT INTO seat (resource_id) SELECT id FROM made, generate_series(1, %(capacity)s)""",
    bookings="""
SELECT booking_id, count(*) FROM seat
 WHERE resource_id = $1 AND booking_id IS NOT NULL GROUP BY booking_id""",
)
"""A row for every unit there is; what is booked are the seats that carry a booking's id."""
