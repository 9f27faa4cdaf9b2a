"""Schemas that guard little: what is right on them is right by its mechanism alone."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from attrs import field, frozen

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
_BOOKINGS = "SELECT booking_id, units FROM booking WHERE resource_id = $1"
_BOOKED = "SELECT booked FROM resource WHERE id = $1"


@frozen
class Schema:
    """Tables, and how they are audited; ``counted``: is a counter kept beside the rows?"""

    tables: str
    counted: bool = field(default=False, kw_only=True)

    @property
    def audit(self) -> Mapping[str, str | None]:
        """The queries that an audit reads the bookings with."""
        return {"bookings": _BOOKINGS, "booked": _BOOKED if self.counted else None}

    def prepare(self, dsn: str) -> None:
        """Create the tables, where they are missing."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(self.tables.encode())

    def also(self, more: str) -> Schema:
        """The same, and more."""
        return Schema(self.tables + more, counted=self.counted)


def declare(dsn: str, resource_id: str, capacity: int) -> None:
    """Create a resource."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = (resource_id, capacity)
        connection.execute("INSERT INTO resource (id, capacity) VALUES (%s, %s)", row)


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
