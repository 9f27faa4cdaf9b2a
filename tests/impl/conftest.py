"""A prepared database, fresh resources, and ways to look at them from outside."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tests.impl.wire import Wire

from lastseat.harness.postgres import Server, open_target
from lastseat.impl import schema
from lastseat.impl.attempt import AttemptBooking
from lastseat.impl.locking import locking
from lastseat.impl.optimistic import optimistic

MECHANISMS = {"optimistic": optimistic, "locking": locking}
_numbers = itertools.count()


class Database:
    """The database under test, seen by its owner."""

    def __init__(self, dsn: str, connection: psycopg.Connection) -> None:
        self.dsn = dsn
        self.connection = connection

    def resource(self, capacity: int) -> str:
        """A fresh resource."""
        resource_id = f"r{next(_numbers)}"
        schema.declare(self.dsn, resource_id, capacity)
        return resource_id

    def booking_id(self) -> str:
        return f"b{next(_numbers)}"

    def bookings(self, resource_id: str) -> dict[str, int]:
        """The bookings of a resource, having checked that its counter agrees with them."""
        query = schema.AUDIT["bookings"].replace("$1", "%s")
        rows = dict(self.connection.execute(query, (resource_id,)).fetchall())
        query = schema.AUDIT["booked"].replace("$1", "%s")
        (booked,) = self.connection.execute(query, (resource_id,)).fetchone()
        assert booked == sum(rows.values())
        return rows

    def book(self, resource_id: str, units: int = 1, booking_id: str | None = None) -> str:
        """A booking by somebody else."""
        booking_id = booking_id or self.booking_id()
        self.connection.execute(
            "INSERT INTO lastseat.booking VALUES (%s, %s, %s)", (booking_id, resource_id, units)
        )
        return booking_id

    def eventually(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Look again and again until it is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it never came to be so"
            time.sleep(0.002)

    def waiters(self) -> int:
        """How many sessions of this database wait for a lock."""
        return self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()[0]

    def alive(self, pid: int) -> bool:
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        return self.connection.execute(query, (pid,)).fetchone() is not None

    def terminate(self, pid: int) -> None:
        """End a session and see it gone."""
        self.connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        assert not self.alive(pid)

    def quiet(self) -> bool:
        """Is no other session in a transaction?"""
        return not self.connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
            " AND backend_type = 'client backend'"
        ).fetchall()


@pytest.fixture(scope="session")
def prepared(server: Server) -> Iterator[str]:
    """A database with the schema in it."""
    with open_target(server=server) as target:
        schema.prepare(target.dsn)
        yield target.dsn
        schema.release()


@pytest.fixture
def db(prepared: str) -> Iterator[Database]:
    with psycopg.connect(prepared, autocommit=True) as connection:
        yield Database(prepared, connection)


@pytest.fixture(scope="session")
def app_dsn(prepared):
    """The database as a role that may book and nothing else. One server, one role."""
    role = f"app_{os.getpid()}"
    with psycopg.connect(prepared, autocommit=True) as owner:
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        database = sql.Identifier(owner.info.dbname)
        owner.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(
                database, sql.Identifier(role)
            )
        )
        schema.grant(prepared, role)
        schema.grant(prepared, role)
        yield make_conninfo(prepared, user=role)
        owner.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


@pytest.fixture
def app(app_dsn):
    with psycopg.connect(app_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def booked(db):
    """A resource of 5 with one booking of 2."""
    resource = db.resource(5)
    return resource, db.book(resource, 2)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> Callable[[str, float], AttemptBooking]:
    """Either mechanism's factory."""
    return MECHANISMS[request.param]


@pytest.fixture
def wire(prepared: str) -> Iterator[Wire]:
    opened = Wire(prepared)
    yield opened
    opened.close()


@pytest.fixture
def booking(mechanism, prepared: str) -> Iterator[AttemptBooking]:
    with mechanism(prepared, 20.0) as opened:
        yield opened


@pytest.fixture
def wired(mechanism, wire: Wire) -> Iterator[AttemptBooking]:
    """A caller whose messages pass the proxy."""
    with mechanism(wire.dsn, 20.0) as opened:
        yield opened
