"""A schema that guards nothing but ids: what is right on it is right by its mechanism alone.

It has the names of the reference implementation's schema, so that mechanisms can be moved between
the two. Every implementation gets a database of its own.
"""

from __future__ import annotations

import psycopg

from lastseat.impl.schema import AUDIT, declare

__all__ = ["AUDIT", "IDS", "ROWS_ONLY", "declare", "prepare", "prepare_without_key"]

IDS = "text"

ROWS_ONLY = {**AUDIT, "booked": None}
"""For mechanisms that keep no counter beside the rows."""

_RESOURCE = """
CREATE SCHEMA IF NOT EXISTS lastseat;
CREATE TABLE IF NOT EXISTS lastseat.resource (
    id text PRIMARY KEY,
    capacity bigint NOT NULL,
    booked bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS lastseat.booking (
    booking_id text NOT NULL{key},
    resource_id text NOT NULL REFERENCES lastseat.resource,
    units bigint NOT NULL CHECK (units > 0)
);
CREATE INDEX IF NOT EXISTS booking_by_resource ON lastseat.booking (resource_id);
"""


def prepare(dsn: str) -> None:
    """Create the tables, with a key on the booking's id."""
    _create(dsn, " PRIMARY KEY")


def prepare_without_key(dsn: str) -> None:
    """Create the tables; nothing keeps one id from being booked twice."""
    _create(dsn, "")


def _create(dsn: str, key: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(_RESOURCE.format(key=key).encode())
