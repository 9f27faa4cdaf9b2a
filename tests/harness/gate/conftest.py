"""A gate before a database with one table."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from tests.harness.gate.scene import Scene

from lastseat.harness.postgres import Server, open_target


@pytest.fixture(scope="session")
def seats(server: Server) -> Iterator[str]:
    """The connection string of a database with the tables seat and booking, and a role."""
    with open_target(server=server) as target:
        with psycopg.connect(target.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE seat (id int PRIMARY KEY, taken int, version int)")
            connection.execute("CREATE TABLE booking (id text PRIMARY KEY, seat int)")
        yield target.dsn


@pytest.fixture
def table(seats: str) -> Iterator[psycopg.Connection]:
    """A look past the gate, on tables as they were in the beginning."""
    with psycopg.connect(seats, autocommit=True) as connection:
        connection.execute("TRUNCATE seat, booking")
        connection.execute("INSERT INTO seat VALUES (1, 0, 7)")
        yield connection


@pytest.fixture
def scene(seats: str, table: psycopg.Connection) -> Iterator[Scene]:
    with Scene(seats) as opened:
        yield opened
