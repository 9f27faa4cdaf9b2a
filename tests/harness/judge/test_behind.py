"""What an attempt leaves behind is its own doing, and not that of others on the same server."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lastseat.harness.asking import Asking
from lastseat.harness.cases import PROFILES, of_implementation
from lastseat.harness.gate.backends import Backends
from lastseat.harness.mutants.catalogue import named
from lastseat.harness.postgres import Server, Target, open_target
from lastseat.harness.venue import Found, Venue


@pytest.fixture
def serializable_elsewhere(server: Server) -> Iterator[None]:
    """Another worker's open SERIALIZABLE transaction, in a database of its own."""
    with (
        open_target(server=server) as other,
        psycopg.connect(other.dsn, autocommit=True) as connection,
    ):
        connection.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        connection.execute("CREATE TABLE anything ()")
        yield


@pytest.mark.usefixtures("serializable_elsewhere")
def test_predicate_locks_that_the_server_keeps_are_none_of_the_implementations(
    target: Target, tmp_path: Path
) -> None:
    (right,) = named(["serializable"])
    (case,) = (c for c in of_implementation(PROFILES["quick"]) if c.id == "explore/last-seat")
    found = Found()
    with Venue(right.implementation, target, tmp_path) as venue:
        case.run(venue, found)
    assert [convicted.rules for convicted in found.convicted] == []
    assert found.witness.runs > 1


@pytest.fixture
def client(target: Target) -> Iterator[psycopg.Connection]:
    with psycopg.connect(target.dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def backends(target: Target) -> Iterator[Backends]:
    with Asking(target.dsn) as asking:
        yield Backends(asking)


HELD = {
    "a session's advisory lock": "SELECT pg_advisory_lock(1)",
    "a shared one": "SELECT pg_advisory_lock_shared(1)",
    "an open transaction": "BEGIN; LOCK TABLE seat",
    "an open SERIALIZABLE one that has read": (
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM seat"
    ),
}


@pytest.mark.usefixtures("serializable_elsewhere")
@pytest.mark.parametrize("held", HELD)
def test_locks_that_a_session_keeps_are_seen(
    held: str, client: psycopg.Connection, backends: Backends
) -> None:
    client.execute("CREATE TABLE seat ()")
    pid = client.info.backend_pid
    client.execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM seat; COMMIT")
    kept = client.execute("SELECT mode FROM pg_locks WHERE pid = %s", (pid,)).fetchall()
    assert ("SIReadLock",) in kept
    assert backends.holding_locks([pid]) == frozenset()
    client.execute(HELD[held])
    assert backends.holding_locks([pid]) == {pid}


def test_a_process_of_another_database_is_not_taken_for_ours(
    server: Server, backends: Backends
) -> None:
    """As when an id that the gate knows has been given to another worker's process."""
    with (
        open_target(server=server) as other,
        psycopg.connect(other.dsn, autocommit=True) as theirs,
        Asking(other.dsn) as asking,
    ):
        pid = theirs.info.backend_pid
        theirs.execute("SELECT pg_advisory_lock(1)")
        theirs.execute("BEGIN; CREATE TABLE seat ()")
        for whose, seen in ((backends, False), (Backends(asking), True)):
            assert (pid in whose.alive([pid])) is seen
            assert (pid in whose.holding_locks([pid])) is seen
            assert (whose.has_written(pid) is not None) is seen
        backends.cancel(pid)
        backends.terminate(pid)
        theirs.execute("SELECT 1")
