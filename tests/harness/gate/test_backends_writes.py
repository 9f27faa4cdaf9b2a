"""Which transactions have written, and which functions may not: as the server tells it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from lastseat.harness.asking import Asking
from lastseat.harness.gate.backends import Backends
from lastseat.harness.postgres import Server, open_target

SCHEMA = """
CREATE TABLE seat (taken int);
INSERT INTO seat VALUES (0);
CREATE SEQUENCE number;
CREATE FUNCTION book() RETURNS void LANGUAGE sql AS $$ UPDATE seat SET taken = taken + 1 $$;
CREATE FUNCTION locked() RETURNS int LANGUAGE sql AS $$ SELECT taken FROM seat FOR UPDATE $$;
CREATE PROCEDURE booked() LANGUAGE sql AS $$ INSERT INTO seat VALUES (1) $$;
CREATE FUNCTION tried() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE seat SET taken = 1 / 0;
    RETURN 'done';
EXCEPTION WHEN division_by_zero THEN RETURN 'undone';
END $$;
CREATE FUNCTION found() RETURNS int STABLE LANGUAGE sql AS $$ SELECT taken FROM seat $$;
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS $$ SELECT 2 * $1 $$;
CREATE FUNCTION twice(text) RETURNS text LANGUAGE sql AS $$ SELECT $1 || $1 $$;
"""


@pytest.fixture(scope="module")
def dsn(server: Server) -> Iterator[str]:
    with open_target(server=server) as target:
        with psycopg.connect(target.dsn, autocommit=True) as connection:
            connection.execute(SCHEMA)
        yield target.dsn


@pytest.fixture(scope="module")
def backends(dsn: str) -> Iterator[Backends]:
    with Asking(dsn) as asking:
        yield Backends(asking)


@pytest.mark.parametrize(
    ("said", "wrote"),
    [
        ("SELECT book()", True),
        ("CALL booked()", True),
        ("CREATE TABLE another ()", True),
        ("TRUNCATE seat", True),
        # Locks give a transaction an id, and write nothing.
        ("SELECT locked()", False),
        ("LOCK TABLE seat IN SHARE ROW EXCLUSIVE MODE", False),
        ("SELECT locked(), nextval('number')", False),
        # It wrote nothing after all.
        ("SELECT tried()", False),
        ("UPDATE seat SET taken = 1 WHERE false", False),
        ("SELECT found()", False),
        ("SELECT 1", False),
    ],
)
def test_a_transaction_that_has_written(
    dsn: str, backends: Backends, said: str, wrote: bool
) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute(said.encode())
        assert backends.has_written(connection.info.backend_pid) is wrote
        connection.execute("ROLLBACK")
        assert backends.has_written(connection.info.backend_pid) is None


def test_functions_that_are_declared_not_to_write(backends: Backends) -> None:
    """All of one name; an overloaded one that may write makes the name unsafe."""
    assert backends.reading_functions() == {"found", "public.found"}
