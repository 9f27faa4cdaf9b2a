"""The schema: create it, grant the use of it, declare resources, and look at them from outside."""

from __future__ import annotations

import atexit
import os
import threading
from importlib import resources

import psycopg
from psycopg import sql

from lastseat.impl.connection import conninfo

AUDIT = {
    "bookings": "SELECT booking_id, units FROM lastseat.booking WHERE resource_id = $1",
    "booked": "SELECT booked FROM lastseat.resource WHERE id = $1",
}
"""What an auditor asks, in PostgreSQL's own notation: a resource's bookings, and its counter."""

SCHEMA_VERSION = "lastseat schema 1"

# Two processes that create the same thing at once would otherwise fail on each other's rows of
# the catalog. The number is the name "lastseat" in ASCII.
_CREATION = int.from_bytes(b"lastseat")


class SchemaMismatch(RuntimeError):
    """There is a schema of this name, but it is not this version's."""


def prepare(dsn: str) -> None:
    """Create the schema unless it is there; safe when several processes do so at once.

    Raises SchemaMismatch, or psycopg.Error when the database is out of reach or the role may not
    create a schema.
    """
    with psycopg.connect(conninfo(dsn)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATION,))
        found = connection.execute(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace"
            " WHERE nspname = 'lastseat'"
        ).fetchone()
        if found is None:
            ddl = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
            connection.execute(ddl.encode())
            connection.execute(sql.SQL("COMMENT ON SCHEMA lastseat IS {}").format(SCHEMA_VERSION))
        elif found[0] != SCHEMA_VERSION:
            raise SchemaMismatch(f"schema lastseat says {found[0]!r}, not {SCHEMA_VERSION!r}")


def grant(dsn: str, role: str) -> None:
    """Give ``role`` what an attempt needs, and take everything else in the schema from it.

    It may read, insert bookings, and raise a resource's version (which is also what entitles it
    to lock the row). Raises psycopg.Error when there is no such role.
    """
    statements = (
        "REVOKE ALL ON ALL TABLES IN SCHEMA lastseat FROM {role}",
        "GRANT USAGE ON SCHEMA lastseat TO {role}",
        "GRANT SELECT ON lastseat.resource, lastseat.booking TO {role}",
        "GRANT INSERT (booking_id, resource_id, units) ON lastseat.booking TO {role}",
        "GRANT UPDATE (version) ON lastseat.resource TO {role}",
    )
    with psycopg.connect(conninfo(dsn)) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(role=sql.Identifier(role)))


def declare(dsn: str, resource_id: str, capacity: int) -> None:
    """Create a resource; does nothing when it is there with that capacity.

    Cheap enough to be called thousands of times: a process keeps its connection for the next
    call (see ``release``). Raises ValueError when the resource has another capacity, psycopg.Error
    when it cannot be created.
    """
    with _lock:
        connection, kept = _connection(dsn)
        try:
            _declare(connection, resource_id, capacity)
        except psycopg.OperationalError:
            release(dsn)
            if not kept or not connection.broken:
                raise
            # It had been lost since the last call. Declaring is idempotent: once more.
            _declare(_connection(dsn)[0], resource_id, capacity)


def _declare(
    connection: psycopg.Connection[tuple[object, ...]], resource_id: str, capacity: int
) -> None:
    created = connection.execute(
        "INSERT INTO lastseat.resource (id, capacity) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING",
        (resource_id, capacity),
    )
    if created.rowcount == 0:
        row = connection.execute(
            "SELECT capacity FROM lastseat.resource WHERE id = %s", (resource_id,)
        ).fetchone()
        if row != (capacity,):
            raise ValueError(f"{resource_id!r} exists, capacity {row and row[0]}, not {capacity}")


_lock = threading.RLock()
_kept: dict[tuple[int, str], psycopg.Connection[tuple[object, ...]]] = {}
_KEPT_AT_MOST = 4


def _connection(dsn: str) -> tuple[psycopg.Connection[tuple[object, ...]], bool]:
    """A connection for declaring, and whether it is an older one. A fork has its own."""
    key = (os.getpid(), dsn)
    if key in _kept and not _kept[key].closed:
        return _kept[key], True
    if len(_kept) >= _KEPT_AT_MOST:
        release()
    _kept[key] = psycopg.connect(conninfo(dsn), autocommit=True, prepare_threshold=None)
    return _kept[key], False


@atexit.register
def release(dsn: str | None = None) -> None:
    """Close the connection that ``declare`` keeps for ``dsn``, or all of them."""
    with _lock:
        for key in list(_kept):
            if dsn is None or key == (os.getpid(), dsn):
                connection = _kept.pop(key)
                if key[0] == os.getpid():  # a parent's is not ours to say farewell on
                    connection.close()
