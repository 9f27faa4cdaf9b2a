"""What psycopg 3 sends besides plain statements: pipelines, prepared statements, COPY, cancels."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from tests.harness.gate.scene import Scene
from tests.harness.gate.test_drivers import psycopg3_pipeline

from lastseat.harness.faults import FAULTS
from lastseat.harness.gate.events import Answered, Arrived, Cancelled, Sent

WHOLE = "BEGIN; SELECT taken, version FROM seat WHERE id = $1 [1]; "


def test_a_pipeline_is_one_turn(scene: Scene, table: psycopg.Connection) -> None:
    scene.gate.hold("alice")
    talk = scene.talk(psycopg3_pipeline, scene.gate.admit("alice"), "b")
    (turn,) = scene.release_all(talk)
    assert talk.result == "booked"
    assert turn.startswith(WHOLE)
    assert turn.endswith("COMMIT")
    (answered,) = [event for event in scene.of(Answered) if event.turn.statements]
    assert answered.answer.tags == ("BEGIN", "SELECT 1", "UPDATE 1", "INSERT 0 1", "COMMIT")
    assert answered.answer.status == "I"
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (1,)


def test_a_pipeline_fails_as_a_whole(scene: Scene, table: psycopg.Connection) -> None:
    table.execute("INSERT INTO booking VALUES ('b', 1)")
    scene.gate.hold("alice")
    talk = scene.talk(psycopg3_pipeline, scene.gate.admit("alice"), "b")
    scene.release_all(talk)
    assert talk.result == "23505"
    answered = next(event for event in scene.of(Answered) if event.turn.statements)
    assert answered.answer.tags == ("BEGIN", "SELECT 1", "UPDATE 1")
    assert answered.answer.status == "E"
    assert table.execute("SELECT version FROM seat").fetchone() == (7,)


@pytest.mark.parametrize(
    ("fault", "told", "booked"),
    [
        ("lose-answer", "lost", 1),
        ("lose-request", "lost", 0),
        ("raise-40P01", "40P01", 0),
    ],
)
def test_faults_meet_a_pipeline(
    scene: Scene, table: psycopg.Connection, fault: str, told: str, booked: int
) -> None:
    scene.gate.hold("alice")
    talk = scene.talk(psycopg3_pipeline, scene.gate.admit("alice"), "b")
    FAULTS[fault].trigger(scene.place(scene.held()))
    scene.release_all(talk)
    assert talk.result == told
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (booked,)


def test_a_statement_is_read_by_its_name_once_it_is_prepared(scene: Scene) -> None:
    def repeat(url: str) -> None:
        with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
            for number in range(8):
                connection.execute("SELECT version + %s FROM seat", (number,))

    scene.gate.hold("alice")
    turns = scene.release_all(scene.talk(repeat, scene.gate.admit("alice")))
    # Preparing is a turn of its own that executes nothing, and passes.
    assert turns == [f"SELECT version + $1 FROM seat [{number}]" for number in range(8)]
    arrived = scene.of(Arrived)
    assert len(arrived) == 9
    preparing = arrived[5].turn
    assert ([m.kind for m in preparing.messages], preparing.statements) == (["P", "S"], ())
    assert "P" not in [m.kind for m in arrived[8].turn.messages]


def test_rows_of_a_copy_flow_while_the_turn_is_in_flight(
    scene: Scene, table: psycopg.Connection
) -> None:
    def copy(url: str) -> str:
        with contextlib.closing(psycopg.connect(url, autocommit=True)) as connection:
            cursor = connection.cursor()
            with cursor.copy("COPY booking FROM STDIN") as rows:
                for number in range(3):
                    rows.write_row((f"b{number}", 1))
            with cursor.copy("COPY (SELECT id FROM booking ORDER BY id) TO STDOUT") as out:
                return b"".join(out).decode()

    scene.gate.hold("alice")
    talk = scene.talk(copy, scene.gate.admit("alice"))
    turns = scene.release_all(talk)
    assert [turn.split()[0] for turn in turns] == ["COPY", "COPY"]
    assert scene.finish(talk) == "b0\nb1\nb2\n"
    tags = [event.answer.tags for event in scene.of(Answered)]
    assert tags == [("COPY 3",), ("COPY 3",)]


@pytest.mark.parametrize("protocol", ["3.0", "3.2"])
def test_a_cancel_request_passes(scene: Scene, table: psycopg.Connection, protocol: str) -> None:
    """In protocol 3.2 the key is longer, where the server speaks it."""

    def wait(url: str) -> str:
        with contextlib.closing(
            psycopg.connect(url, autocommit=True, max_protocol_version=protocol)
        ) as connection:
            opened.append(connection)
            try:
                connection.execute("UPDATE seat SET taken = 1")
            except psycopg.errors.QueryCanceled as error:
                return error.sqlstate
        return "not cancelled"

    opened: list[psycopg.Connection] = []
    with table.transaction():
        table.execute("UPDATE seat SET taken = 2")
        talk = scene.talk(wait, scene.gate.admit("alice"))
        pid = (
            scene.until(lambda: next((e for e in scene.of(Sent)), None))
            and next(iter(scene.gate.of("alice"))).backend_pid
        )
        scene.until(lambda: scene.backends.blockers([pid])[pid])
        cancel = scene.talk(lambda: opened[0].cancel_safe(timeout=10))
        scene.finish(cancel)
        assert scene.finish(talk) == "57014"
    (cancelled,) = scene.of(Cancelled)
    assert cancelled.backend_pid == pid
