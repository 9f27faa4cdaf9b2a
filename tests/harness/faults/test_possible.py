"""Which error can come where: the table, and the server's own answers that it rests on."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from lastseat.harness.asking import Asking
from lastseat.harness.faults.possible import (
    EXCLUSIONS,
    Circumstances,
    Database,
    Stmt,
    possible,
    statement_of,
)
from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.isolation import Isolation, Level
from lastseat.harness.postgres import Server, start

Session = psycopg.Connection[tuple[object, ...]]
PATIENCE = 20.0

KNOWN = frozenset({"coalesce", "sum", "values", "pg_advisory_xact_lock", "hashtextextended"})
PLAIN = Circumstances(Database(known=KNOWN), wrote=lambda: True)
SERIALIZABLE = Circumstances(Database(), Level.SERIALIZABLE, lambda: True)
REPEATABLE = Circumstances(Database(), Level.REPEATABLE_READ, lambda: True)
DEFERRED = Circumstances(Database(deferred=True), wrote=lambda: True)
PARTITIONED = Circumstances(Database(partitioned=True), wrote=lambda: True)


@pytest.mark.parametrize(
    ("sqlstate", "statement", "where"),
    [
        *(("40001", statement, PLAIN) for statement in Stmt),
        *(("40001", s, SERIALIZABLE) for s in (Stmt.BEGIN, Stmt.SET, Stmt.SAVEPOINT)),
        *(("40001", s, SERIALIZABLE) for s in (Stmt.ROLLBACK, Stmt.ROLLBACK_TO, Stmt.RELEASE)),
        *(("40001", s, SERIALIZABLE) for s in (Stmt.EMPTY_COMMIT, Stmt.FINISH)),
        ("40001", Stmt.READ, REPEATABLE),
        ("40001", Stmt.COMMIT, REPEATABLE),
        ("40001", Stmt.COMMIT, DEFERRED),
        ("40P01", Stmt.COMMIT, PLAIN),
        ("55P03", Stmt.ROLLBACK, DEFERRED),
        ("53100", Stmt.COMMIT, SERIALIZABLE),
        ("25006", Stmt.READ, PLAIN),
        ("25006", Stmt.WRITE, Circumstances(has_id=lambda: True)),
        ("P0001", Stmt.READ, DEFERRED),
        ("23505", Stmt.READ, DEFERRED),
        ("23514", Stmt.COMMIT, DEFERRED),
        ("58030", Stmt.BEGIN, PLAIN),
    ],
)
def test_what_cannot_come(sqlstate: str, statement: Stmt, where: Circumstances) -> None:
    assert not possible(sqlstate, statement, where)


@pytest.mark.parametrize(
    ("sqlstate", "statement", "where"),
    [
        *(("57014", statement, PLAIN) for statement in Stmt),
        *(("53200", statement, PLAIN) for statement in Stmt),
        *(("40001", s, SERIALIZABLE) for s in (Stmt.READ, Stmt.WRITE, Stmt.COMMIT, Stmt.PREPARE)),
        *(("40001", s, REPEATABLE) for s in (Stmt.LOCK, Stmt.WRITE, Stmt.CALL)),
        *(("40001", s, PARTITIONED) for s in (Stmt.LOCK, Stmt.WRITE, Stmt.CALL)),
        *(("40P01", s, PLAIN) for s in (Stmt.READ, Stmt.LOCK, Stmt.WRITE, Stmt.ADVISORY)),
        ("40P01", Stmt.COMMIT, DEFERRED),
        ("25006", Stmt.WRITE, Circumstances()),
        ("P0001", Stmt.COMMIT, PLAIN),
        ("58030", Stmt.COMMIT, PLAIN),
    ],
)
def test_what_can_come(sqlstate: str, statement: Stmt, where: Circumstances) -> None:
    assert possible(sqlstate, statement, where)


def test_every_exclusion_has_a_reason_and_a_source() -> None:
    for exclusion in EXCLUSIONS:
        assert exclusion.why
        assert exclusion.source
        assert exclusion.statements


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", Stmt.BEGIN),
        ("SET lock_timeout = 10", Stmt.SET),
        ("SELECT 1", Stmt.SET),
        ("SELECT oid FROM pg_type", Stmt.READ),
        ("SELECT coalesce(sum(units), 0) FROM booking", Stmt.READ),
        ("SELECT capacity FROM resource FOR NO KEY UPDATE", Stmt.LOCK),
        ("LOCK TABLE booking IN SHARE MODE", Stmt.LOCK),
        ("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", Stmt.ADVISORY),
        ("INSERT INTO booking VALUES (1)", Stmt.WRITE),
        ("SELECT attempt($1)", Stmt.CALL),
        ("CALL attempt($1)", Stmt.CALL),
        ("SAVEPOINT s", Stmt.SAVEPOINT),
        ("RELEASE SAVEPOINT s", Stmt.RELEASE),
        ("ROLLBACK TO SAVEPOINT s", Stmt.ROLLBACK_TO),
        ("COMMIT", Stmt.COMMIT),
        ("ROLLBACK", Stmt.ROLLBACK),
        ("PREPARE TRANSACTION 'x'", Stmt.PREPARE),
        ("COMMIT PREPARED 'x'", Stmt.FINISH),
        ("ROLLBACK PREPARED 'x'", Stmt.FINISH),
    ],
)
def test_what_kind_a_statement_is(sql: str, statement: Stmt) -> None:
    assert statement_of(sql, PLAIN) is statement


def test_a_commit_is_one_of_nothing_where_nothing_was_written() -> None:
    assert statement_of("COMMIT", Circumstances()) is Stmt.EMPTY_COMMIT


def test_a_session_is_followed_through_its_isolation_levels() -> None:
    session = Isolation(Level.READ_COMMITTED)
    for statement, level in (
        ("BEGIN", Level.READ_COMMITTED),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", Level.REPEATABLE_READ),
        ("", Level.READ_COMMITTED),  # the transaction has ended
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", 3),
        ("BEGIN ISOLATION LEVEL READ COMMITTED", Level.READ_COMMITTED),
        ("", Level.SERIALIZABLE),
        ("DISCARD ALL", Level.READ_COMMITTED),
        ("SET default_transaction_isolation TO 'repeatable read'", Level.REPEATABLE_READ),
        ("SELECT set_config($1, $2, true) [transaction_isolation, serializable]", 3),
        ("", Level.REPEATABLE_READ),
    ):
        if statement:
            session.heard(statement)
        else:
            session.ended()
        assert session.level == level, statement


# What the table rests on.


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with start(settings={"max_prepared_transactions": "5", "deadlock_timeout": "100ms"}) as running:
        yield running


@pytest.fixture
def sessions(own_server: Server) -> Iterator[tuple[Session, Session]]:
    """Two sessions, on tables of which some can fail at COMMIT."""
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(
                psycopg.connect(own_server.dsn("postgres"), autocommit=True, prepare_threshold=None)
            )
            for _ in range(2)
        )
        one.execute(
            """
            DROP TABLE IF EXISTS late, unique_late, parted, plain;
            CREATE TABLE plain (id int PRIMARY KEY, n int);
            INSERT INTO plain VALUES (1, 0), (2, 0);
            CREATE TABLE late (id int REFERENCES plain DEFERRABLE INITIALLY DEFERRED);
            CREATE TABLE unique_late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
            CREATE TABLE parted (id int, k int, n int) PARTITION BY LIST (k);
            CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
            CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
            INSERT INTO parted VALUES (1, 1, 0);
            """
        )
        yield one, two
        for session in (one, two):
            with suppress(psycopg.Error):
                session.execute("ROLLBACK")


def answered(session: Session, sql: str) -> tuple[str | None, str]:
    """The SQLSTATE that it is answered with, and the state of the session then."""
    try:
        session.execute(sql.encode())
    except psycopg.Error as error:
        return error.sqlstate, session.info.transaction_status.name
    return None, session.info.transaction_status.name


@contextmanager
def beside(own_server: Server, waiting: Session, sql: str) -> Iterator[list[object]]:
    """The statement waits for a lock while the body runs; its answer, in the end."""
    found: list[object] = []
    talk = threading.Thread(target=lambda: found.append(answered(waiting, sql)))
    talk.start()
    with Asking(own_server.dsn("postgres")) as asking:
        backends, pid = Backends(asking), waiting.info.backend_pid
        while talk.is_alive() and not backends.blockers([pid])[pid]:
            talk.join(0.01)
    yield found
    talk.join(PATIENCE)
    assert found


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("UPDATE parted SET n = 1 WHERE id = 1", "40001"),
        ("SELECT FROM parted WHERE id = 1 FOR UPDATE", "40001"),
    ],
)
def test_read_committed_fails_where_a_row_moves_to_another_partition(
    own_server: Server, sessions: tuple[Session, Session], sql: str, sqlstate: str
) -> None:
    one, two = sessions
    two.execute("BEGIN; UPDATE parted SET k = 2 WHERE id = 1")
    one.execute("BEGIN")
    with beside(own_server, one, sql) as found:
        two.execute("COMMIT")
    assert found == [(sqlstate, "INERROR")]


def test_a_plain_read_meets_deadlocks_and_lock_timeouts(
    own_server: Server, sessions: tuple[Session, Session]
) -> None:
    one, two = sessions
    two.execute("SET deadlock_timeout = '60s'")
    two.execute("BEGIN; LOCK TABLE plain")
    assert answered(one, "SET lock_timeout = 50; SELECT FROM plain") == ("55P03", "IDLE")
    one.execute("SET lock_timeout = 0")
    one.execute("BEGIN; SELECT FROM late")
    with beside(own_server, two, "LOCK TABLE late"):
        assert answered(one, "SELECT FROM plain") == ("40P01", "INERROR")
        one.execute("ROLLBACK")


def doomed(one: Session, two: Session) -> None:
    """Write skew: ``two`` has committed, so that ``one`` cannot."""
    for session in (one, two):
        session.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    one.execute("SAVEPOINT s")
    for session, own in ((one, 1), (two, 2)):
        session.execute("SELECT sum(n) FROM plain")
        session.execute("UPDATE plain SET n = n + 1 WHERE id = %s", (own,))
    two.execute("COMMIT")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("COMMIT", ("40001", "IDLE")),
        ("PREPARE TRANSACTION 'x'", ("40001", "IDLE")),
        ("SELECT n FROM plain", ("40001", "INERROR")),
        ("UPDATE plain SET n = 0", ("40001", "INERROR")),
        ("ROLLBACK", (None, "IDLE")),
        ("ROLLBACK TO s", (None, "INTRANS")),
        ("RELEASE s", (None, "INTRANS")),
        ("SAVEPOINT t", (None, "INTRANS")),
        ("SET LOCAL lock_timeout = 0", (None, "INTRANS")),
        ("SELECT 1", (None, "INTRANS")),
    ],
)
def test_what_a_doomed_transaction_is_answered(
    sessions: tuple[Session, Session], sql: str, told: tuple[str | None, str]
) -> None:
    doomed(*sessions)
    assert answered(sessions[0], sql) == told


def test_a_commit_is_refused_for_what_was_deferred(sessions: tuple[Session, Session]) -> None:
    one, two = sessions
    one.execute("BEGIN; INSERT INTO unique_late VALUES (1), (1)")
    assert answered(one, "COMMIT") == ("23505", "IDLE")
    two.execute("BEGIN; DELETE FROM plain WHERE id = 2")
    one.execute("BEGIN; SET LOCAL lock_timeout = 50; INSERT INTO late VALUES (2)")
    assert answered(one, "COMMIT") == ("55P03", "IDLE")
    two.execute("ROLLBACK")
    one.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO late VALUES (2)")
    two.execute("UPDATE plain SET id = 3 WHERE id = 2")
    assert answered(one, "COMMIT") == ("40001", "IDLE")


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [
        ("SELECT FROM plain", None),
        ("SELECT pg_advisory_xact_lock(1)", None),
        ("SAVEPOINT s", None),
        ("COMMIT", None),
        ("ROLLBACK", None),
        ("SELECT FROM plain FOR UPDATE", "25006"),
        ("UPDATE plain SET n = 1", "25006"),
    ],
)
def test_what_a_read_only_transaction_refuses(
    sessions: tuple[Session, Session], sql: str, sqlstate: str | None
) -> None:
    one, _ = sessions
    one.execute("BEGIN READ ONLY")
    assert answered(one, sql)[0] == sqlstate


@pytest.mark.parametrize(
    ("before", "sql"),
    [
        ("", "BEGIN"),
        ("", "SET lock_timeout = 0"),
        ("", "SELECT FROM plain"),
        ("BEGIN", "SAVEPOINT s"),
        ("BEGIN; SAVEPOINT s", "RELEASE s"),
        ("BEGIN; SAVEPOINT s", "ROLLBACK TO s"),
        ("BEGIN; UPDATE plain SET n = 1", "COMMIT"),
        ("BEGIN", "COMMIT"),
        ("BEGIN", "ROLLBACK"),
        ("BEGIN; UPDATE plain SET n = 1", "PREPARE TRANSACTION 'x'"),
        ("", "COMMIT PREPARED 'x'"),
    ],
)
def test_memory_can_end_at_any_statement(
    sessions: tuple[Session, Session], before: str, sql: str
) -> None:
    """There is not enough of it for the statement's own text."""
    one, _ = sessions
    if before:
        one.execute(before.encode())
    pid = one.info.backend_pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 20_000_000
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    assert answered(one, f"{sql} /* {'x' * 60_000_000} */")[0] == "53200"
