"""The schema: create it, grant the use of it, declare resources, and look at them from outside."""

from __future__ import annotations

import atexit
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from lastseat.impl.connection import conninfo
from lastseat.impl.settings import BEGIN, POSTGRESQL_17, local

AUDIT = {
    "bookings": "SELECT booking_id, units FROM lastseat.booking WHERE resource_id = $1",
    "booked": "SELECT booked FROM lastseat.resource WHERE id = $1",
}
"""What an auditor asks, in PostgreSQL's own notation: a resource's bookings, and its counter."""

SCHEMA_VERSION = "lastseat schema 1"

# Two processes that create the same thing at once would otherwise fail on each other's rows of
# the catalog. The number is the name "lastseat" in ASCII.
_CREATION = int.from_bytes(b"lastseat")


# Whoever may use the database may take that lock as well, and sit on it.
_LOCK_SECONDS = 10


class SchemaMismatch(RuntimeError):
    """There is a schema of this name, but it is not this version's, or it belongs to a stranger."""


class PrivilegesRemain(RuntimeError):
    """A role may do more in the schema than an attempt needs, by a way that REVOKE does not close:
    it is a superuser, or owns the schema, or PUBLIC may do it, or a role that it belongs to and
    could act as."""


def prepare(dsn: str, owner: str | None = None) -> None:
    """Create the schema unless it is there; safe when several processes do so at once.

    A schema that is there must belong to the connecting role, a superuser, the database's owner, or
    the role ``owner``. Anybody else who may create schemas could have put it there, with triggers
    that act in the name of whoever books.

    Raises SchemaMismatch; psycopg.errors.LockNotAvailable when another session has been preparing
    for 10 seconds, or only holds prepare's advisory lock; and psycopg.Error when the database is
    out of reach or the role may not create a schema.
    """
    with _transaction(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATION,))
        found = connection.execute(_FOUND, {"owner": owner}).fetchone()
        if found is None:
            ddl = resources.files(__package__).joinpath("schema.sql").read_text("utf-8")
            connection.execute(ddl.encode())
            connection.execute(sql.SQL("COMMENT ON SCHEMA lastseat IS {}").format(SCHEMA_VERSION))
            return
        version, strangers = found
        if version != SCHEMA_VERSION:
            raise SchemaMismatch(f"schema lastseat says {version!r}, not {SCHEMA_VERSION!r}")
        if strangers:
            raise SchemaMismatch(
                f"schema lastseat, or something in it, belongs to {', '.join(strangers)}: neither "
                "the connecting role nor a superuser nor the database's owner. Drop the schema, "
                "or call prepare(dsn, owner=...) if that role is meant to own it."
            )


_FOUND = """
WITH found AS (
    SELECT oid, nspowner FROM pg_namespace WHERE nspname = 'lastseat'
), owners AS (
    SELECT nspowner AS owner FROM found
    UNION SELECT relowner FROM pg_class JOIN found ON relnamespace = found.oid
    UNION SELECT proowner FROM pg_proc JOIN found ON pronamespace = found.oid
    UNION SELECT typowner FROM pg_type JOIN found ON typnamespace = found.oid
    UNION SELECT oprowner FROM pg_operator JOIN found ON oprnamespace = found.oid
)
SELECT obj_description(found.oid, 'pg_namespace'), ARRAY(
    SELECT rolname::text FROM owners JOIN pg_roles ON pg_roles.oid = owners.owner
     WHERE NOT rolsuper AND rolname <> current_user AND rolname IS DISTINCT FROM %(owner)s::name
       AND pg_roles.oid <> (SELECT datdba FROM pg_database WHERE datname = current_database()))
  FROM found"""


def grant(dsn: str, role: str) -> None:
    """Give ``role`` what an attempt needs, and take everything else in the schema from it.

    It may read, insert bookings, and raise a resource's version (which is also what entitles it
    to lock the row).

    Raises PrivilegesRemain, having changed nothing, when it could do more all the same; and
    psycopg.Error when there is no such role.
    """
    statements = (
        "REVOKE ALL ON ALL TABLES IN SCHEMA lastseat FROM {role} CASCADE",
        "REVOKE ALL ON ALL ROUTINES IN SCHEMA lastseat FROM {role} CASCADE",
        "REVOKE ALL ON SCHEMA lastseat FROM {role} CASCADE",
        "GRANT USAGE ON SCHEMA lastseat TO {role}",
        "GRANT SELECT ON lastseat.resource, lastseat.booking TO {role}",
        "GRANT INSERT (booking_id, resource_id, units) ON lastseat.booking TO {role}",
        "GRANT UPDATE (version) ON lastseat.resource TO {role}",
    )
    with _transaction(dsn) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
        maintain = ["MAINTAIN"] if connection.info.server_version >= POSTGRESQL_17 else []
        asked = {"role": role, "privileges": [*_TOO_MUCH, *maintain]}
        more = [found for (found,) in connection.execute(_EXCESS, asked).fetchall()]
        if more:
            raise PrivilegesRemain(f"{role!r} still has {', '.join(more)}")


_EXCESS = """
WITH RECURSIVE reach AS (
    -- Whatever the options of a membership: a role may inherit, become, or give itself the other.
    SELECT oid FROM pg_roles WHERE rolname = %(role)s
    UNION SELECT roleid FROM pg_auth_members JOIN reach ON member = reach.oid
), tables AS (
    SELECT oid, relname, relowner FROM pg_class
     WHERE relnamespace = 'lastseat'::regnamespace AND relkind = 'r'
), routines AS (
    SELECT oid, proname, proowner FROM pg_proc WHERE pronamespace = 'lastseat'::regnamespace
)
SELECT DISTINCT found || CASE rolname WHEN %(role)s THEN '' ELSE ' as ' || rolname END
  FROM pg_roles JOIN reach USING (oid), LATERAL (
    SELECT privilege || ' on ' || relname
      FROM tables, unnest(%(privileges)s::text[]) AS privilege
     WHERE has_table_privilege(reach.oid, tables.oid, privilege)
    UNION ALL
    SELECT privilege || ' on ' || relname || '.' || attname
      FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped,
           unnest(ARRAY['INSERT', 'UPDATE', 'REFERENCES']) AS privilege
     WHERE has_column_privilege(reach.oid, tables.oid, attnum, privilege)
       AND NOT has_table_privilege(reach.oid, tables.oid, privilege)
       AND (relname, attname, privilege) NOT IN (
           ('resource', 'version', 'UPDATE'), ('booking', 'booking_id', 'INSERT'),
           ('booking', 'resource_id', 'INSERT'), ('booking', 'units', 'INSERT'))
    UNION ALL
    SELECT 'EXECUTE on ' || proname FROM routines
     WHERE has_function_privilege(reach.oid, routines.oid, 'EXECUTE')
    UNION ALL
    SELECT 'CREATE on schema lastseat' WHERE has_schema_privilege(reach.oid, 'lastseat', 'CREATE')
    UNION ALL
    SELECT 'ownership of ' || name FROM (
        SELECT relname, relowner FROM tables
        UNION ALL SELECT proname, proowner FROM routines
        UNION ALL SELECT 'schema lastseat', nspowner FROM pg_namespace WHERE nspname = 'lastseat'
    ) AS owned (name, owner)
     WHERE owner = reach.oid
  ) AS excess (found)
 ORDER BY 1"""

_TOO_MUCH = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@contextmanager
def _transaction(dsn: str) -> Iterator[psycopg.Connection[TupleRow]]:
    """A transaction of the owner's, in which no name means anything but what is written here."""
    with psycopg.connect(conninfo(dsn), autocommit=True) as connection:
        connection.execute(BEGIN)
        version = connection.info.server_version
        connection.execute(local(version, math.inf, lock_seconds=_LOCK_SECONDS).encode())
        yield connection
        connection.execute("COMMIT")


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
