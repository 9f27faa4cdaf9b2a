"""Small implementations, right and wrong, on real drivers: the wire alone convicts the wrong ones.

Each says its statements through ``say`` and yields its answer; what it says behind that is said
after the outcome. ``LOOK`` is where somebody else reads what is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from attrs import define
from tests.harness.gate.scene import Scene

from lastseat.harness.judge.sight import Sight
from lastseat.harness.postgres import Server, open_target
from lastseat.spec.visibility import Attempt, Rule, Snapshot, judge
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, REJECTED, Answer

LOOK = "look"
Say = Callable[..., int]
Implementation = Callable[[Say], Iterator[Answer | str]]

UPDATE = "UPDATE seat SET taken = taken + 1, version = version + 1 WHERE id = 1 AND version = "
INSERT = "INSERT INTO booking VALUES ('b', 1)"
OWN = "SELECT seat FROM booking WHERE id = 'b'"
PREPARED = "SELECT name FROM pg_prepared_statements"
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"
ROUTINES = """
CREATE FUNCTION book(text) RETURNS text LANGUAGE sql
    AS $$ INSERT INTO booking VALUES ($1, 1) RETURNING id $$;
CREATE PROCEDURE book_by_procedure(text) LANGUAGE sql
    AS $$ INSERT INTO booking VALUES ($1, 1) $$;
CREATE FUNCTION find(text) RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT id FROM booking WHERE id = $1 $$;
CREATE FUNCTION locked() RETURNS int LANGUAGE sql
    AS $$ SELECT taken FROM seat WHERE id = 1 FOR UPDATE $$;
"""


class Refused(Exception):
    """The server answered with an error."""


class Psycopg:
    """One connection; every statement as it is said."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def __call__(self, sql: str, *, prepared: bool | None = None) -> int:
        try:
            return self._connection.execute(sql.encode(), prepare=prepared).rowcount
        except psycopg.Error as error:
            raise Refused(error.sqlstate) from error

    def forget(self) -> None:
        """The server forgets what was prepared, and the driver does not notice."""
        for (name,) in self._connection.execute(PREPARED).fetchall():
            self._connection.execute(f'DEALLOCATE "{name}"')

    def close(self) -> None:
        self._connection.close()


class Asyncpg:
    """The same, by the extended protocol."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url))
        self._prepared: dict[str, Any] = {}

    def __call__(self, sql: str, *, prepared: bool | None = None) -> int:
        try:
            return self._runner.run(self._say(sql, prepared))
        except asyncpg.PostgresError as error:
            raise Refused(error.sqlstate) from error

    async def _say(self, sql: str, prepared: bool | None) -> int:
        if sql.split(maxsplit=1)[0] in {"SELECT", "UPDATE", "INSERT", "DELETE"}:
            if sql not in self._prepared or not prepared:
                self._prepared[sql] = await self._connection.prepare(sql)
            await self._prepared[sql].fetch()
            tag = self._prepared[sql].get_statusmsg()
        else:
            tag = await self._connection.execute(sql)
        return int(tag.split()[-1]) if tag[-1].isdigit() else 0

    def forget(self) -> None:
        for statement in self._prepared.values():
            self("DEALLOCATE " + statement.get_name())

    def close(self) -> None:
        self._connection.terminate()
        self._runner.close()


# Right ones, however near they come.


def plain(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(UPDATE + "7")
    say(INSERT)
    say("COMMIT")
    yield BOOKED


def given_back_to_a_pool(say: Say) -> Iterator[Answer | str]:
    yield from plain(say)
    say("SELECT pg_advisory_unlock_all()")
    say("RESET ALL")
    say("DISCARD TEMP")


def a_savepoint_before_a_look(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SAVEPOINT tries")
    with pytest.raises(Refused, match="23505"):
        say("INSERT INTO booking VALUES ('taken', 1)")
    say("ROLLBACK TO SAVEPOINT tries")
    say("SELECT seat FROM booking WHERE id = 'taken'")
    say("ROLLBACK")
    yield CONFLICT


def one_statement_of_its_own(say: Say) -> Iterator[Answer | str]:
    say(INSERT)
    yield BOOKED


def an_upsert_that_finds_a_row(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("INSERT INTO booking VALUES ('taken', 1) ON CONFLICT DO NOTHING")
    say("SELECT seat FROM booking WHERE id = 'taken'")
    say("COMMIT")
    yield BOOKED


def prepared_again(say: Say) -> Iterator[Answer | str]:
    say(OWN, prepared=True)
    say(OWN, prepared=True)
    say.forget()
    with pytest.raises(Refused, match="26000"):
        say(OWN, prepared=True)
    say(OWN, prepared=False)
    yield from plain(say)


def overtaken(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(UPDATE + "6")
    say(OWN)
    say("ROLLBACK")
    yield CONFLICT


def in_two_phases(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(INSERT)
    say("PREPARE TRANSACTION 'both'")
    say("COMMIT PREPARED 'both'")
    yield BOOKED


def by_a_function(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SELECT book('b')")
    say("COMMIT")
    yield BOOKED


def by_a_procedure(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("CALL book_by_procedure('b')")
    say("COMMIT")
    yield BOOKED


def looked_up_by_a_function_first(say: Say) -> Iterator[Answer | str]:
    """It is declared not to write, so that what writes is one transaction."""
    say("SELECT find('b')")
    say("SELECT book('b')")
    yield BOOKED


def prepared_in_sql(say: Say) -> Iterator[Answer | str]:
    say("PREPARE own (text) AS SELECT seat FROM booking WHERE id = $1")
    say("EXECUTE own ('b')")
    say(INSERT)
    say("DEALLOCATE own")
    yield BOOKED


def locked_by_a_function(say: Say) -> Iterator[Answer | str]:
    """A lock gives its transaction an id, and writes nothing, so that none is left to commit."""
    say("BEGIN")
    say("SELECT locked()")
    yield REJECTED
    say("COMMIT")


def in_nested_blocks(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SAVEPOINT s")
    say(UPDATE + "7")
    say("SAVEPOINT s")
    say(INSERT)
    say("RELEASE SAVEPOINT s")
    say("RELEASE SAVEPOINT s")
    say("COMMIT")
    yield BOOKED


def undone_in_nested_blocks(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SAVEPOINT s")
    say(UPDATE + "7")
    say("SAVEPOINT s")
    say(INSERT)
    say("ROLLBACK TO SAVEPOINT s")
    say("RELEASE SAVEPOINT s")
    say("ROLLBACK TO SAVEPOINT s")
    say("RELEASE SAVEPOINT s")
    say("COMMIT")
    yield REJECTED


RIGHT = [
    by_a_function,
    by_a_procedure,
    looked_up_by_a_function_first,
    prepared_in_sql,
    locked_by_a_function,
    in_nested_blocks,
    undone_in_nested_blocks,
    plain,
    in_two_phases,
    given_back_to_a_pool,
    a_savepoint_before_a_look,
    one_statement_of_its_own,
    an_upsert_that_finds_a_row,
    prepared_again,
    overtaken,
]

# Wrong ones.


def again_after_a_conflict(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(UPDATE + "7")
    with pytest.raises(Refused, match="40001"):
        say(RAISE)
    say("ROLLBACK")
    yield from plain(say)


def again_until_the_version_fits(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    for version in range(8):
        if say(UPDATE + str(version)):
            break
    say(INSERT)
    say("COMMIT")
    yield BOOKED


def again_behind_a_savepoint(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(UPDATE + "7")
    say("SAVEPOINT tries")
    with pytest.raises(Refused, match="23505"):
        say("INSERT INTO booking VALUES ('taken', 1)")
    say("ROLLBACK TO SAVEPOINT tries")
    say(INSERT)
    say("COMMIT")
    yield BOOKED


def deaf_to_its_commit(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(INSERT)
    with pytest.raises(Refused, match="23505"):
        say("INSERT INTO booking VALUES ('taken', 1)")
    say("COMMIT")
    yield BOOKED


def taken_back(say: Say) -> Iterator[Answer | str]:
    say(INSERT)
    yield LOOK
    say("DELETE FROM booking WHERE id = 'b'")
    yield LOOK
    yield REJECTED


def told_before_the_commit(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(UPDATE + "7")
    say(INSERT)
    yield BOOKED
    say("COMMIT")


def written_after_the_outcome(say: Say) -> Iterator[Answer | str]:
    yield from plain(say)
    say("INSERT INTO booking VALUES ('log', 1)")


def left_open(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SELECT taken FROM seat FOR UPDATE")
    yield REJECTED


def left_prepared(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(INSERT)
    say("PREPARE TRANSACTION 'left'")
    yield BOOKED


def doubt_without_a_commit(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say(UPDATE + "7")
    say("ROLLBACK")
    yield IN_DOUBT


def by_a_function_twice(say: Say) -> Iterator[Answer | str]:
    say("SELECT book('first')")
    say("SELECT book('b')")
    yield BOOKED


def by_a_function_again_after_an_error(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    with pytest.raises(Refused, match="23505"):
        say("SELECT book('taken')")
    say("ROLLBACK")
    say("BEGIN")
    say("SELECT book('b')")
    say("COMMIT")
    yield BOOKED


def told_before_the_function_s_commit(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SELECT book('b')")
    yield BOOKED
    say("COMMIT")


def told_before_the_commit_behind_a_savepoint(say: Say) -> Iterator[Answer | str]:
    say("BEGIN")
    say("SAVEPOINT s")
    say(INSERT)
    say("RELEASE SAVEPOINT s")
    yield BOOKED
    say("ROLLBACK")


def deaf_behind_a_savepoint(say: Say) -> Iterator[Answer | str]:
    """The insert fails, is undone, and nobody is told; what is committed is something else."""
    say("BEGIN")
    say(UPDATE + "7")
    say("SAVEPOINT s")
    with pytest.raises(Refused, match="23505"):
        say("INSERT INTO booking VALUES ('taken', 1)")
    say("COMMIT")
    yield BOOKED


WRONG = {
    by_a_function_twice: {Rule.NO_HIDDEN_RETRY},
    by_a_function_again_after_an_error: {Rule.NO_HIDDEN_RETRY},
    told_before_the_function_s_commit: {
        Rule.NOTHING_BEFORE_THE_COMMIT,
        Rule.NOTHING_AFTER_THE_OUTCOME,
    },
    told_before_the_commit_behind_a_savepoint: {Rule.NOTHING_BEFORE_THE_COMMIT},
    deaf_behind_a_savepoint: {Rule.NO_SWALLOWED_ERROR},
    again_after_a_conflict: {Rule.NO_HIDDEN_RETRY},
    again_until_the_version_fits: {Rule.NO_HIDDEN_RETRY},
    again_behind_a_savepoint: {Rule.NO_HIDDEN_RETRY},
    deaf_to_its_commit: {Rule.NO_SWALLOWED_ERROR},
    taken_back: {Rule.NO_IMPLICIT_COMPENSATION, Rule.NO_HIDDEN_RETRY},
    told_before_the_commit: {Rule.NOTHING_BEFORE_THE_COMMIT, Rule.NOTHING_AFTER_THE_OUTCOME},
    written_after_the_outcome: {Rule.NOTHING_AFTER_THE_OUTCOME},
    left_open: {Rule.NOTHING_AFTER_THE_OUTCOME},
    left_prepared: {Rule.NOTHING_BEFORE_THE_COMMIT, Rule.NOTHING_AFTER_THE_OUTCOME},
    doubt_without_a_commit: {Rule.DOUBT_WHERE_DUE},
}


@define
class Watch:
    """What the gate reports is seen at once; what is committed, when it is looked for."""

    scene: Scene
    table: psycopg.Connection
    sight: Sight
    snapshots: list[Snapshot]
    now: list[int]

    def see(self) -> None:
        self.scene.events += self.scene.gate.drain()
        for event in self.scene.events:
            list(self.sight.see(event))
        self.scene.events.clear()

    def look(self) -> None:
        rows = self.table.execute("SELECT id, 1 FROM booking ORDER BY id").fetchall()
        self.snapshots.append(Snapshot(self.tick(), "r1", tuple(rows)))

    def tick(self) -> int:
        self.now[0] += 1
        return self.now[0]


@pytest.fixture(scope="module")
def seats(server: Server) -> Iterator[str]:
    with open_target(server=server) as target:
        with psycopg.connect(target.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE seat (id int PRIMARY KEY, taken int, version int)")
            connection.execute("CREATE TABLE booking (id text PRIMARY KEY, seat int)")
            connection.execute(ROUTINES)
        yield target.dsn


@pytest.fixture
def watch(seats: str) -> Iterator[Watch]:
    with psycopg.connect(seats, autocommit=True) as table, Scene(seats) as scene:
        table.execute("TRUNCATE seat, booking")
        table.execute("INSERT INTO seat VALUES (1, 0, 7)")
        table.execute("INSERT INTO booking VALUES ('taken', 1)")
        now = [0]

        def tick() -> int:
            now[0] += 1
            return now[0]

        backends = scene.backends
        sight = Sight(
            tick, backends.has_written, backends.known_names(), backends.reading_functions()
        )
        yield Watch(scene, table, sight, [], now)


def finish(watch: Watch, function: Callable[..., Any], *args: Any) -> Any:
    """Run this to its end. As in a run, each turn waits until what was before it has been seen."""
    scene, talk = watch.scene, watch.scene.talk(function, *args)
    while not talk.done:
        waiting = scene.until(
            lambda: talk.done or next((c for c in scene.gate.of("alice") if c.held), None)
        )
        watch.see()
        if waiting is not True:
            waiting.release()
    return scene.finish(talk)


def rules(watch: Watch, driver: Callable[[str], Any], implementation: Implementation) -> set[Rule]:
    """What one attempt breaks, as the wire shows it."""
    scene, sight = watch.scene, watch.sight
    say = scene.finish(scene.talk(driver, scene.gate.admit("alice")))
    watch.see()
    list(sight.invoked("alice", "a1"))
    scene.gate.hold("alice")
    steps = implementation(say)
    while (told := finish(watch, next, steps)) == LOOK:
        watch.look()
    emitted = watch.tick()
    sight.emitted("alice")
    finish(watch, list, steps)
    watch.see()
    open_ = dict(sight.at_rest())
    left = "its transaction is open" if "a1" in open_ else None
    for name in scene.backends.prepared_transactions():
        assert sight.prepared[name] == "a1"
        left = f"{name} is prepared"
        scene.backends.forget_prepared(name)
    lost = tuple(sight.lost_at.get("a1", ()))
    attempt = Attempt("a1", emitted, told, told.in_doubt, lost, left)
    found = {v.rule for v in judge([attempt], sight.exchanges, watch.snapshots)}
    scene.gate.let_pass("alice")
    scene.finish(scene.talk(say.close))
    return found


@pytest.mark.parametrize("driver", [Psycopg, Asyncpg], ids=["psycopg", "asyncpg"])
@pytest.mark.parametrize("implementation", WRONG, ids=lambda wrong: wrong.__name__)
def test_what_is_wrong_is_convicted(
    watch: Watch, driver: Callable[[str], Any], implementation: Implementation
) -> None:
    assert rules(watch, driver, implementation) == WRONG[implementation]


@pytest.mark.parametrize("driver", [Psycopg, Asyncpg], ids=["psycopg", "asyncpg"])
@pytest.mark.parametrize("implementation", RIGHT, ids=lambda right: right.__name__)
def test_what_comes_near_and_is_right_is_not(
    watch: Watch, driver: Callable[[str], Any], implementation: Implementation
) -> None:
    assert rules(watch, driver, implementation) == set()
