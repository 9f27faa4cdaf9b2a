"""Who waits for whom: a process is parked when only a decision can let it go on."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest

from lastseat.harness.asking import Asking
from lastseat.harness.gate.backends import ELSEWHERE, PREPARED, Backends, parked
from lastseat.harness.postgres import Server, open_target

A, B, C, IDLE = 1, 2, 3, 9
FREE: frozenset[int] = frozenset()


@pytest.mark.parametrize(
    ("blockers", "expected"),
    [
        ({A: {IDLE}}, {A}),
        ({A: FREE}, set()),
        ({A: {IDLE}, B: {A}}, {A, B}),
        ({A: {B}, B: FREE}, set()),
        ({A: {B}, B: {A}}, set()),
        ({A: {B}, B: {A}, C: {IDLE}}, {C}),
        ({A: {PREPARED}}, {A}),
        ({A: {PREPARED}, B: {A}}, {A, B}),
        ({A: {PREPARED}, B: {IDLE}}, {A, B}),
        # B may be about to end what was prepared.
        ({A: {PREPARED}, B: FREE}, set()),
        ({A: {PREPARED}, B: FREE, C: {IDLE}}, {C}),
        ({A: {ELSEWHERE}}, set()),
        ({A: {IDLE, ELSEWHERE}, B: {IDLE}}, {B}),
    ],
)
def test_who_is_parked(blockers: Mapping[int, set[int]], expected: set[int]) -> None:
    found = parked(blockers.keys(), {pid: frozenset(by) for pid, by in blockers.items()})
    assert found == expected


@pytest.fixture
def databases(server: Server) -> Iterator[list[str]]:
    """Two databases on one server, as two workers have them."""
    with open_target(server=server) as ours, open_target(server=server) as theirs:
        with psycopg.connect(ours.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE seat AS SELECT 1 AS id")
        yield [ours.dsn, theirs.dsn]


Waiting = Callable[[Callable[[], object], str], set[int]]


@pytest.fixture
def waiting(databases: list[str]) -> Iterator[Waiting]:
    """Executes a statement that has to wait, and tells for what; then lets it go on."""
    with ExitStack() as stack:
        backends = Backends(stack.enter_context(Asking(databases[0])))
        pool = stack.enter_context(ThreadPoolExecutor())
        client = stack.enter_context(psycopg.connect(databases[0], autocommit=True))

        def blockers(let_go: Callable[[], object], sql: str) -> set[int]:
            pid = client.info.backend_pid
            statement: Future[object] = pool.submit(client.execute, sql.encode())
            while not (found := backends.blockers([pid])[pid]):
                assert not statement.done()
            let_go()
            statement.result(timeout=20)
            return {*found}

        yield blockers


def test_a_lock_of_a_session_that_is_ours(databases: list[str], waiting: Waiting) -> None:
    with psycopg.connect(databases[0], autocommit=True) as blocker:
        blocker.execute("BEGIN; UPDATE seat SET id = 2")
        assert waiting(blocker.rollback, "UPDATE seat SET id = 3") == {blocker.info.backend_pid}


def test_serializable_transactions_of_ours_for_which_a_deferrable_one_waits(
    databases: list[str], waiting: Waiting
) -> None:
    with psycopg.connect(databases[0], autocommit=True) as blocker:
        blocker.execute("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE seat SET id = 2")
        look = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT FROM seat; COMMIT"
        assert waiting(blocker.rollback, look) == {blocker.info.backend_pid}


def test_serializable_transactions_of_another_worker_are_elsewhere(
    databases: list[str], waiting: Waiting
) -> None:
    with psycopg.connect(databases[1], autocommit=True) as blocker:
        blocker.execute("BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE seat ()")
        look = "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT FROM seat; COMMIT"
        assert waiting(blocker.rollback, look) == {ELSEWHERE}


def test_a_prepared_transaction(databases: list[str], waiting: Waiting) -> None:
    with psycopg.connect(databases[0], autocommit=True) as owner:
        owner.execute("BEGIN; UPDATE seat SET id = 2; PREPARE TRANSACTION 'ours'")
        end = partial(owner.execute, "ROLLBACK PREPARED 'ours'")
        assert waiting(end, "UPDATE seat SET id = 3") == {PREPARED}
