"""A connection through the gate, byte by byte, before the real server."""

from __future__ import annotations

import psycopg
import pytest
from tests.harness.gate.scene import (
    FLUSH,
    SYNC,
    TERMINATE,
    Scene,
    bind,
    execute,
    extended,
    parse,
    query,
)

from lastseat.harness.gate.events import (
    Answered,
    Arrived,
    Broken,
    HungUp,
    Sent,
    Undelivered,
)
from lastseat.harness.gate.messages import message
from lastseat.harness.gate.treatment import LOST

INSERT = "INSERT INTO booking VALUES ('b', 1)"


def names(scene: Scene, *kinds: type) -> list[str]:
    """The kinds of the events since the connection was opened, in their order."""
    return [type(e).__name__ for e in scene.events if not kinds or isinstance(e, kinds)]


def booked(table: psycopg.Connection) -> int:
    return table.execute("SELECT count(*) FROM booking").fetchone()[0]


# Before the first turn.


def test_the_client_s_settings_reach_the_server(scene: Scene) -> None:
    raw = scene.raw_ready(application_name="somebody")
    raw.send(query("SELECT 1 / (current_setting('application_name') = 'somebody')::int"))
    raw.until("Z")
    (answered,) = scene.of(Answered)
    assert answered.answer.tags == ("SELECT 1",)


# What is not the protocol.


@pytest.mark.parametrize(
    "noise",
    [
        b"?\0\0\0\x04",
        b"Q\0\0\0\x01",
        b"Q\xff\xff\xff\xff",
        message("Q", b"SELECT 1"),  # without its zero
        message("B", b"\0\0\0\x05\0"),
        b"p" + message("p", b"secret")[1:],
    ],
)
def test_noise_breaks_the_connection_and_nothing_else(scene: Scene, noise: bytes) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query(INSERT), noise)
    assert raw.to_the_end() == "E"
    raw.send(b"and more of it, which nobody reads any more")
    raw.close()
    scene.until(lambda: scene.of(HungUp))
    assert names(scene) == ["Opened", "Arrived", "Garbled", "Undelivered", "Broken", "HungUp"]
    (broken,) = scene.of(Broken)
    assert broken.error is not None
    assert (broken.by, broken.error.severity, broken.error.sqlstate) == ("gate", "FATAL", "08P01")


# Turns.


def test_turns_wait_and_pass_one_at_a_time(scene: Scene, table: psycopg.Connection) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query("BEGIN"), query(INSERT), query("COMMIT"))
    connection = scene.held()
    scene.until(lambda: len(scene.of(Arrived)) == 3)
    for left in (2, 1, 0):
        connection.release()
        assert connection.in_flight is not None
        raw.until("Z")
        assert len(connection.held) == left
        assert connection.in_flight is None
        assert booked(table) == (0 if left else 1)
    assert connection.status == "I"


def test_a_turn_may_come_in_pieces(scene: Scene) -> None:
    raw = scene.raw_ready()
    for byte in query("SELECT 1"):
        raw.send(bytes([byte]))
        scene.loop.poll(0.01)
    assert raw.until("Z") == "TDCZ"
    assert len(scene.of(Arrived)) == 1


def test_let_pass_releases_what_waits(scene: Scene) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query("SELECT 1"), query("SELECT 2"))
    scene.held()
    scene.gate.let_pass("alice")
    assert raw.until("Z") + raw.until("Z") == "TDCZTDCZ"


def test_what_executes_nothing_passes_while_others_wait(scene: Scene) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(SYNC)
    assert raw.until("Z") == "Z"
    raw.send(parse(INSERT, "named") + SYNC)
    assert raw.until("Z") == "1Z"
    raw.send(query(" -- nothing"))
    assert raw.until("Z") == "IZ"
    raw.send(FLUSH, FLUSH, SYNC)
    assert raw.until("Z") == "Z"
    raw.send(bind("named") + execute() + SYNC)
    assert str(scene.held().held[0]) == INSERT


def test_many_flushes_in_a_row(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(FLUSH * 3000 + SYNC)
    assert raw.until("Z") == "Z"
    assert len(scene.of(Answered)) == 3001


def test_the_answer_to_flush_is_complete_without_ready_for_query(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(extended("SELECT 1") + FLUSH)
    assert raw.until("C") == "12DC"
    (answered,) = scene.of(Answered)
    assert (answered.answer.tags, answered.answer.status) == (("SELECT 1",), None)
    raw.send(SYNC)
    assert raw.until("Z") == "Z"
    assert scene.of(Answered)[1].answer.status == "I"


def test_a_row_limit_suspends(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(parse("SELECT generate_series(1, 3)") + bind() + execute(2) + FLUSH)
    assert raw.until("s") == "12DDs"
    raw.send(execute(2) + SYNC)
    assert raw.until("Z") == "DCZ"
    assert [event.answer.tags for event in scene.of(Answered)] == [("suspended",), ("SELECT 1",)]


def test_after_an_error_the_rest_of_a_batch_is_skipped(
    scene: Scene, table: psycopg.Connection
) -> None:
    """All of it sent at once: the parts behind the error are not answered, and nobody waits."""
    raw = scene.raw_ready()
    raw.send(
        extended("SELECT 1 / 0") + FLUSH,
        extended(INSERT) + FLUSH,
        extended(INSERT) + SYNC,
        extended("SELECT 1") + SYNC,
    )
    # The division fails while it is planned, which is when it is bound.
    assert raw.until("C") == "1EZ12DC"
    answers = [event.answer for event in scene.of(Answered)]
    assert [answer.tags for answer in answers[:3]] == [(), (), ()]
    assert answers[0].error is not None
    assert [answer.status for answer in answers] == [None, None, "I", "I"]
    assert booked(table) == 0


def test_a_substitute_in_a_batch_fails_the_rest_of_it(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(extended(INSERT) + FLUSH, extended(INSERT) + FLUSH, extended(INSERT) + SYNC)
    connection = scene.held()
    connection.substitute("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$")
    assert raw.until("E") == "E"
    assert connection.failed_until_sync
    scene.gate.let_pass("alice")
    assert raw.until("Z") == "Z"
    assert not connection.failed_until_sync
    assert booked(table) == 0


def test_notices_stand_where_the_server_said_them(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(query("SELECT 1; DO $$ BEGIN RAISE WARNING 'w'; END $$; SELECT 1"))
    assert raw.until("Z") == "TDCNCTDCZ"


def test_what_the_server_says_at_rest_reaches_the_client(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = scene.raw_ready()
    raw.send(query("LISTEN news"))
    raw.until("Z")
    table.execute("NOTIFY news")
    assert raw.until("A") == "A"


# COPY.


@pytest.mark.parametrize("early", [b"", SYNC, FLUSH])
def test_rows_may_follow_a_statement_of_the_extended_protocol(
    scene: Scene, table: psycopg.Connection, early: bytes
) -> None:
    """The server ignores Sync while it takes rows, and so the client sends it again."""
    raw = scene.raw_ready()
    raw.send(extended("COPY booking FROM STDIN") + SYNC)
    assert raw.until("G") == "12G"
    raw.send(early, message("d", b"b\t1\n"), message("c"), SYNC, extended("SELECT 1") + SYNC)
    found = raw.until("Z")
    assert found.startswith("CZ")
    scene.until(lambda: len(scene.of(Answered)) == 2)
    assert [event.answer.tags for event in scene.of(Answered)] == [("COPY 1",), ("SELECT 1",)]
    assert booked(table) == 1


def test_a_row_that_is_none_ends_a_copy(scene: Scene, table: psycopg.Connection) -> None:
    raw = scene.raw_ready()
    raw.send(extended("COPY booking FROM STDIN") + SYNC)
    raw.until("G")
    raw.send(message("d", b"b\tno number\n"), message("c"), SYNC, query("SELECT 1"))
    scene.until(lambda: len(scene.of(Answered)) == 2)
    assert (raw.until("C")).startswith("EZ")
    assert booked(table) == 0


def test_the_client_may_give_a_copy_up(scene: Scene, table: psycopg.Connection) -> None:
    raw = scene.raw_ready()
    raw.send(query("COPY booking FROM STDIN"))
    raw.until("G")
    raw.send(message("d", b"b\t1\n"), message("f", b"enough\0"))
    assert raw.until("Z") == "EZ"
    assert booked(table) == 0


# The ends.


def test_a_lost_answer_is_lost_with_its_notices(scene: Scene, table: psycopg.Connection) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query("DO $$ BEGIN RAISE WARNING 'w'; INSERT INTO booking VALUES ('b', 1); END $$"))
    scene.held().release(LOST)
    assert raw.to_the_end() == ""
    (answered,) = scene.of(Answered)
    assert not answered.delivered
    assert booked(table) == 1


def test_after_a_cut_the_client_is_read_to_its_end(scene: Scene) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query("BEGIN"), query(INSERT))
    connection = scene.held()
    scene.until(lambda: len(connection.held) == 2)
    connection.cut()
    assert not connection.alive
    assert not connection.closed
    raw.send(query("COMMIT"), extended("SELECT 1"))
    assert raw.to_the_end() == ""
    raw.close()
    scene.until(lambda: connection.closed)
    assert [str(e.turn) for e in scene.of(Undelivered)] == ["BEGIN", INSERT, "COMMIT", "SELECT 1"]
    assert {e.by for e in scene.of(Undelivered)} == {"gate"}
    assert names(scene, Broken, HungUp) == ["Broken", "HungUp"]


def test_a_client_that_gives_up_on_a_turn_that_waits(scene: Scene) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query(INSERT))
    pid = scene.held().backend_pid
    raw.send(TERMINATE)
    raw.close()
    scene.until(lambda: scene.of(Broken))
    (lost,) = scene.of(Undelivered)
    assert (str(lost.turn), lost.by) == (INSERT, "client")
    assert (scene.of(Broken)[0].by, scene.of(Broken)[0].turn) == ("client", None)
    scene.until(lambda: not scene.backends.alive([pid]))


def test_a_client_that_vanishes_while_its_turn_is_in_flight(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = scene.raw_ready()
    with table.transaction():
        table.execute("LOCK booking")
        raw.send(query(INSERT))
        scene.until(lambda: scene.of(Sent))
        raw.close()
        scene.until(lambda: scene.of(Broken))
    (broken,) = scene.of(Broken)
    assert broken.by == "client"
    assert str(broken.turn) == INSERT
    # The server noticed nothing while it waited: the orphan is executed.
    scene.until(lambda: not scene.backends.alive([broken.backend_pid]))
    assert booked(table) == 1


def test_a_turn_without_its_end_was_said_all_the_same(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(parse("COMMIT") + bind() + execute())
    raw.close()
    scene.until(lambda: scene.of(Broken))
    (unfinished,) = scene.of(Undelivered)
    assert (str(unfinished.turn), unfinished.by) == ("COMMIT", "client")


def test_a_fatal_error_reaches_the_client(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(query("SELECT 1 / 0"))
    raw.until("Z")
    raw.send(query("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert raw.to_the_end() == "TDE"
    (broken,) = scene.of(Broken)
    assert broken.error is not None
    assert (broken.by, broken.error.sqlstate) == ("server", "57P01")
    assert str(broken.turn).startswith("SELECT pg_terminate")


def test_an_earlier_error_is_not_the_last_word(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(query("SELECT 1 / 0"))
    raw.until("Z")
    next(iter(scene.gate.of("alice"))).cut()
    (broken,) = scene.of(Broken)
    assert broken.error is None


def test_a_fatal_error_in_answer_to_flush_is_no_answer(scene: Scene) -> None:
    raw = scene.raw_ready()
    raw.send(extended("SELECT pg_terminate_backend(pg_backend_pid())") + FLUSH)
    assert raw.to_the_end().endswith("E")
    assert not scene.of(Answered)
    assert scene.of(Broken)[0].turn is not None


def test_a_client_that_reads_nothing_stops_nobody(scene: Scene) -> None:
    """Far more than the sockets hold is sent to it, and another client goes on meanwhile."""
    deaf, other = scene.raw_ready(), scene.raw_ready("bob")
    deaf.send(query("SELECT repeat('x', 1000000) FROM generate_series(1, 30)"))
    scene.until(lambda: scene.of(Answered))
    other.send(query("SELECT 1"))
    assert other.until("Z") == "TDCZ"
    assert deaf.until("Z") == "T" + "D" * 30 + "CZ"


def test_closing_the_gate_ends_everything(scene: Scene) -> None:
    raw = scene.raw_ready()
    (connection,) = scene.gate.of("alice")
    scene.gate.close()
    assert raw.to_the_end() == ""
    assert connection.closed
    assert not connection.alive
    assert scene.of(Broken)[0].by == "gate"
