"""What real drivers send, read by the gate, and what they make of faults."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlparse

import asyncpg
import django
import django.db
import pg8000.native
import psycopg
import psycopg2
import pytest
import sqlalchemy
from attrs import frozen
from django.conf import settings
from tests.harness import node
from tests.harness.gate.scene import Scene, Talk

from lastseat.harness.faults import FAULTS
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import Answered, Broken, Sent, Undelivered
from lastseat.harness.gate.turns import Turn

READ = "SELECT taken, version FROM seat WHERE id = "
UPDATE = "UPDATE seat SET taken = taken + 1, version = version + 1 WHERE version = "
INSERT = "INSERT INTO booking VALUES ("

Book = Callable[[str, str], str]
"""Books a seat under an id, at the URL; returns 'booked', the SQLSTATE, or 'lost'."""


def _told(error: Exception) -> str:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "lost"
    return "lost" if state == "08003" else state  # asyncpg's own name for it


def psycopg3(url: str, booking: str) -> str:
    try:
        with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute("BEGIN")
            _, version = connection.execute(READ + "%s", (1,)).fetchone()
            connection.execute(UPDATE + "%s", (version,))
            connection.execute(INSERT + "%s, %s)", (booking, 1))
            connection.execute("COMMIT")
    except psycopg.Error as error:
        return _told(error)
    return "booked"


def psycopg3_async(url: str, booking: str) -> str:
    async def book() -> None:
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        try:
            await connection.execute("BEGIN")
            _, version = await (await connection.execute(READ + "%s", (1,))).fetchone()
            await connection.execute(UPDATE + "%s", (version,))
            await connection.execute(INSERT + "%s, %s)", (booking, 1))
            await connection.execute("COMMIT")
        finally:
            await connection.close()

    try:
        asyncio.run(book())
    except psycopg.Error as error:
        return _told(error)
    return "booked"


def psycopg3_pipeline(url: str, booking: str) -> str:
    try:
        with (
            contextlib.closing(psycopg.connect(url, autocommit=True)) as connection,
            connection.pipeline(),
        ):
            connection.execute("BEGIN")
            connection.execute(READ + "%s", (1,))
            connection.execute(UPDATE + "%s", (7,))
            connection.execute(INSERT + "%s, %s)", (booking, 1))
            connection.execute("COMMIT")
    except psycopg.Error as error:
        return _told(error)
    return "booked"


def psycopg2_(url: str, booking: str) -> str:
    try:
        with contextlib.closing(psycopg2.connect(url)) as connection:
            cursor = connection.cursor()
            cursor.execute(READ + "%s", (1,))
            _, version = cursor.fetchone()
            cursor.execute(UPDATE + "%s", (version,))
            cursor.execute(INSERT + "%s, %s)", (booking, 1))
            connection.commit()
    except psycopg2.Error as error:
        return _told(error)
    return "booked"


def asyncpg_(url: str, booking: str) -> str:
    async def book() -> None:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction():
                row = await connection.fetchrow(READ + "$1", 1)
                await connection.execute(UPDATE + "$1", row["version"])
                await connection.execute(INSERT + "$1, $2)", booking, 1)
        finally:
            # Not close(): it waits for an answer on a connection that may be lost.
            connection.terminate()

    try:
        asyncio.run(book())
    except asyncpg.PostgresError as error:
        return _told(error)
    except (asyncpg.InterfaceError, OSError):
        return "lost"
    return "booked"


def pg8000_(url: str, booking: str) -> str:
    at = urlparse(url)
    connection = pg8000.native.Connection(
        at.username, at.hostname, at.path[1:], at.port, at.password
    )
    try:
        connection.run("BEGIN")
        ((_, version),) = connection.run(READ + ":id", id=1)
        connection.run(UPDATE + ":version", version=version)
        connection.run(INSERT + ":id, :seat)", id=booking, seat=1)
        connection.prepare("COMMIT").run()  # run() would make it a simple Query
    except pg8000.native.DatabaseError as error:
        return error.args[0]["C"]
    except (pg8000.native.InterfaceError, OSError):
        return "lost"
    finally:
        usock = connection._usock
        with contextlib.suppress(pg8000.native.InterfaceError, OSError):
            connection.close()
        usock.close()  # which it forgets where it cannot say good-bye
    return "booked"


def sqlalchemy_(url: str, booking: str) -> str:
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            found = connection.execute(sqlalchemy.text(READ + ":id"), {"id": 1}).one()
            update = sqlalchemy.text(UPDATE + ":version")
            connection.execute(update, {"version": found.version})
            insert = sqlalchemy.text(INSERT + ":id, :seat)")
            connection.execute(insert, {"id": booking, "seat": 1})
    except sqlalchemy.exc.DBAPIError as error:
        return _told(error.orig)
    finally:
        engine.dispose()
    return "booked"


def django_(url: str, booking: str) -> str:
    at = urlparse(url)
    if not settings.configured:
        engine = {"ENGINE": "django.db.backends.postgresql"}
        settings.configure(DATABASES={"default": engine}, INSTALLED_APPS=[])
        django.setup()
    connection = django.db.connections.create_connection("default")
    given = {
        "HOST": at.hostname,
        "PORT": at.port,
        "USER": at.username,
        "PASSWORD": at.password,
        "NAME": at.path[1:],
    }
    connection.settings_dict = connection.settings_dict | given
    django.db.connections["default"] = connection  # of this thread
    try:
        with django.db.transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(READ + "%s", [1])
            _, version = cursor.fetchone()
            cursor.execute(UPDATE + "%s", [version])
            cursor.execute(INSERT + "%s, %s)", [booking, 1])
    except django.db.Error as error:
        return _told(error.__cause__ or error)
    finally:
        connection.close()
    return "booked"


def on_node(driver: str) -> Book:
    def book(url: str, booking: str) -> str:
        command = ["node", str(node.DRIVERS / "book.mjs"), driver, url, booking]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return book


@frozen
class Driver:
    """``turns``: what it sends for a booking, and with which last message; ``asks_first`` counts
    those by which it gets to know a server before."""

    book: Book
    turns: tuple[tuple[str, str], ...]
    asks_first: int = 0


def _extended(ending: str, *, insert: str = "b, 1") -> tuple[tuple[str, str], ...]:
    return (
        (f"{READ}$1 [1]", ending),
        (f"{UPDATE}$1 [7]", ending),
        (f"{INSERT}$1, $2) [{insert}]", ending),
    )


_SIMPLE = (
    ("BEGIN", "Q"),
    (f"{READ}1", "Q"),
    (f"{UPDATE}7", "Q"),
    (f"{INSERT}'b', 1)", "Q"),
    ("COMMIT", "Q"),
)

DRIVERS = {
    "psycopg 3": Driver(psycopg3, (("BEGIN", "Q"), *_extended("S"), ("COMMIT", "Q"))),
    "psycopg 3 async": Driver(psycopg3_async, (("BEGIN", "Q"), *_extended("S"), ("COMMIT", "Q"))),
    "psycopg2": Driver(psycopg2_, _SIMPLE),
    "asyncpg": Driver(asyncpg_, (("BEGIN", "Q"), *_extended("S"), ("COMMIT", "Q"))),
    "pg8000": Driver(pg8000_, (("BEGIN", "Q"), *_extended("H"), ("COMMIT", "H"))),
    "SQLAlchemy": Driver(sqlalchemy_, (("BEGIN", "Q"), *_extended("S"), ("COMMIT", "Q")), 9),
    "Django": Driver(django_, _SIMPLE),
}
if node.HERE:
    DRIVERS |= {
        "node-postgres": Driver(on_node("pg"), DRIVERS["psycopg 3"].turns),
        "postgres.js": Driver(
            on_node("postgres"), (("begin", "Q"), *_extended("S"), ("commit", "S")), 1
        ),
    }


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


@pytest.fixture
def talk(scene: Scene, driver: Driver) -> Talk:
    """The driver at work behind a gate that holds its turns."""
    scene.gate.hold("alice")
    return scene.talk(driver.book, scene.gate.admit("alice"), "b")


def turns(scene: Scene, talk: Talk) -> Iterator[Connection]:
    """Every connection with a turn that waits, until the driver has finished."""
    while True:
        waiting = scene.until(
            lambda: (
                talk.done
                or next((c for c in scene.gate.of("alice") if c.held and not c.in_flight), None)
            )
        )
        if talk.done:
            return
        yield waiting


def meet(scene: Scene, talk: Talk, words: str, fault: str) -> None:
    """Release all turns but the first that begins with these words: the fault meets it.

    Upper case or lower, as the driver says them.
    """
    met = False
    for connection in turns(scene, talk):
        if not met and _says(connection.held[0], words):
            assert FAULTS[fault].available(scene.place(connection))
            FAULTS[fault].trigger(scene.place(connection))
            met = True
        else:
            connection.release()
    assert met


def _says(turn: Turn, words: str) -> bool:
    return str(turn).upper().startswith(words.upper())


def scheduled(scene: Scene) -> list[Answered]:
    return [event for event in scene.of(Answered) if event.turn.statements]


def test_each_turn_is_held_and_read(
    scene: Scene, driver: Driver, talk: Talk, table: psycopg.Connection
) -> None:
    seen = []
    for connection in turns(scene, talk):
        turn = connection.held[0]
        seen.append((str(turn), turn.ends_with))
        connection.release()
    assert talk.error is None
    assert talk.result == "booked"
    booking = slice(driver.asks_first, driver.asks_first + len(driver.turns))
    assert tuple(seen[booking]) == driver.turns
    answers = [event.answer for event in scheduled(scene)][booking]
    tags = [tag for answer in answers for tag in answer.tags]
    assert [tag for tag in tags if tag != "suspended"] in (
        ["BEGIN", "SELECT 1", "UPDATE 1", "INSERT 0 1", "COMMIT"],
        ["BEGIN", "UPDATE 1", "INSERT 0 1", "COMMIT"],  # one row was asked for, and was there
    )
    assert not any(answer.error for answer in answers)
    assert [answer.rows for answer in answers] == [0, 1, 0, 0, 0]
    assert table.execute("SELECT id FROM booking").fetchall() == [("b",)]


def test_a_turn_that_is_held_has_not_happened(
    scene: Scene, talk: Talk, table: psycopg.Connection
) -> None:
    for connection in turns(scene, talk):
        if _says(connection.held[0], "COMMIT"):
            assert table.execute("SELECT count(*) FROM booking").fetchone() == (0,)
        connection.release()
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (1,)


def test_a_lost_answer_to_commit(scene: Scene, talk: Talk, table: psycopg.Connection) -> None:
    meet(scene, talk, "COMMIT", "lose-answer")
    assert talk.error is None
    assert talk.result == "lost"
    (lost,) = [event for event in scene.of(Answered) if not event.delivered]
    assert _says(lost.turn, "COMMIT")
    assert lost.answer.tags == ("COMMIT",)
    broken = scene.of(Broken)[0]  # Django connects again at once, and says nothing
    assert (broken.by, broken.turn) == ("gate", None)
    assert table.execute("SELECT id FROM booking").fetchall() == [("b",)]


def test_a_lost_request_to_commit(scene: Scene, talk: Talk, table: psycopg.Connection) -> None:
    meet(scene, talk, "COMMIT", "lose-request")
    assert talk.error is None
    assert talk.result == "lost"
    lost = scene.of(Undelivered)[0]
    assert _says(lost.turn, "COMMIT")
    assert lost.by == "gate"
    assert not [event for event in scene.of(Sent) if _says(event.turn, "COMMIT")]
    pid = scene.of(Broken)[0].backend_pid
    scene.until(lambda: not scene.backends.alive([pid]))
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (0,)


def test_a_garbled_answer_to_commit_is_a_lost_one(
    scene: Scene, talk: Talk, table: psycopg.Connection
) -> None:
    began = time.monotonic()
    meet(scene, talk, "COMMIT", "garble-answer")
    assert talk.error is None
    assert talk.result == "lost"
    assert time.monotonic() - began < 20, "no driver waits for what was announced"
    assert table.execute("SELECT id FROM booking").fetchall() == [("b",)]


def test_a_garbled_request_is_answered_and_lost(
    scene: Scene, talk: Talk, table: psycopg.Connection
) -> None:
    meet(scene, talk, "COMMIT", "garble-request")
    assert talk.error is None
    assert talk.result in {"08P01", "lost"}
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (0,)


@pytest.mark.parametrize("words", [UPDATE, "COMMIT"])
def test_an_error_in_the_place_of_a_turn(
    scene: Scene, talk: Talk, table: psycopg.Connection, words: str
) -> None:
    meet(scene, talk, words, "raise-40001")
    assert talk.error is None
    assert talk.result == "40001"
    (raised,) = [event for event in scene.of(Answered) if event.substituted]
    assert raised.answer.error is not None
    assert (raised.answer.error.sqlstate, raised.answer.tags) == ("40001", ())
    assert FAULTS["raise-40001"].fired(None, "alice", scene.events) == raised.connection
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (0,)
    assert table.execute("SELECT version FROM seat").fetchone() == (7,)


def test_a_server_process_that_is_terminated(
    scene: Scene, talk: Talk, table: psycopg.Connection
) -> None:
    met = False
    for connection in turns(scene, talk):
        if _says(connection.held[0], "COMMIT"):
            FAULTS["terminate"].trigger(scene.place(connection))
            scene.until(lambda: scene.of(Broken))
            met = True
        else:
            connection.release()
    assert met
    assert talk.error is None
    assert talk.result in {"lost", "57P01"}
    broken = scene.of(Broken)[0]
    assert broken.by == "server"
    assert broken.error is not None
    assert broken.error.sqlstate == "57P01"
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (0,)
