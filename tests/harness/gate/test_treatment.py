"""Answers that do not arrive as they are, clients that are not let in, turns that are stuck."""

from __future__ import annotations

import socket

import psycopg
import pytest
from tests.harness.gate.scene import (
    SYNC,
    Raw,
    Scene,
    bind,
    describe,
    execute,
    extended,
    parse,
    query,
)

from lastseat.harness.gate import treatment
from lastseat.harness.gate.events import (
    Answered,
    Broken,
    HungUp,
    Ignored,
    Refused,
    Sent,
    Undelivered,
    Withheld,
)
from lastseat.harness.gate.messages import cut
from lastseat.harness.gate.treatment import LOST, Reception, Shown, Then, Treatment

INSERT = "INSERT INTO booking VALUES ('b', 1)"
LOOK = (parse("SELECT taken FROM seat"), bind(), describe(), execute(), SYNC)
WHOLE = "12TDCZ"


def held(scene: Scene, *said: bytes) -> Raw:
    """A client that has said this, and whose turn waits at the gate."""
    raw = scene.raw_ready()
    raw.data.clear()
    scene.gate.hold("alice")
    raw.send(*said)
    scene.held()
    return raw


def rows(table: psycopg.Connection) -> int:
    row = table.execute("SELECT count(*) FROM booking").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("shown", "kinds"),
    [
        (treatment.nothing, ""),
        (treatment.first(1), "1"),
        (treatment.first(2), "12"),
        (treatment.first(3), "12T"),
        (treatment.first(99), "12TDC"),
        (treatment.all_but_the_last, "12TDC"),
    ],
)
def test_an_answer_is_cut_between_its_messages(scene: Scene, shown: Shown, kinds: str) -> None:
    raw = held(scene, *LOOK)
    scene.held().release(Treatment(shown))
    assert raw.to_the_end() == kinds
    (answered,) = scene.of(Answered)
    assert (answered.delivered, answered.told, answered.answer.status) == (False, False, "I")
    assert scene.of(Broken)[0].by == "gate"


def test_an_answer_is_cut_in_the_middle_of_a_message(scene: Scene) -> None:
    raw = held(scene, *LOOK)
    scene.held().release(Treatment(treatment.up_to_half_a_message))
    scene.until(lambda: raw.ended)
    data = bytearray(raw.data)
    assert "".join(message.kind for message in cut(data)) == "12TD"
    assert data.startswith(b"C")
    assert b"SELECT 1\0".startswith(data[5:])


def test_an_error_that_was_read_before_the_cut_is_told(scene: Scene) -> None:
    raw = held(scene, query("SELECT 1 / 0"))
    scene.held().release(Treatment(treatment.all_but_the_last))
    assert raw.to_the_end() == "E"
    (answered,) = scene.of(Answered)
    assert (answered.delivered, answered.told) == (False, True)


def test_a_garbled_answer_does_not_begin_as_an_answer(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = held(scene, query(INSERT))
    scene.held().release(Treatment(treatment.garbled))
    scene.until(lambda: raw.ended)
    assert raw.data[0] not in b"12TDCZENSAK"
    assert rows(table) == 1


@pytest.mark.parametrize("count", [1, 20_000])
def test_a_garbled_answer_announces_more_than_comes_and_little_more(
    scene: Scene, count: int
) -> None:
    """pgx and pg8000 reserve what is announced, before they read it."""
    raw = held(scene, query(f"SELECT repeat('x', 100) FROM generate_series(1, {count})"))
    scene.held().release(Treatment(treatment.garbled))
    scene.until(lambda: raw.ended)
    announced = int.from_bytes(raw.data[1:5], "big", signed=True)
    came = len(raw.data) - 1
    assert came < announced <= came + (1 << 17)


def test_an_answer_comes_twice_and_then_the_end(scene: Scene) -> None:
    raw = held(scene, *LOOK)
    scene.held().release(Treatment(treatment.twice, whole=True))
    assert raw.to_the_end() == WHOLE * 2
    assert scene.of(Answered)[0].delivered


def test_who_reads_the_last_words_sees_the_end_with_them(scene: Scene) -> None:
    raw = held(scene, *LOOK)
    scene.loop.forget(raw.sock)
    raw.ended = True
    connection = scene.held()
    connection.release(Treatment(treatment.everything, whole=True))
    scene.until(lambda: scene.of(Answered))
    raw.sock.settimeout(5)
    assert raw.sock.recv(1 << 20)
    raw.sock.settimeout(0)
    assert raw.sock.recv(1) == b""  # at once, not later


def test_a_fatal_error_stands_in_the_place_of_an_answer(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = held(scene, query(INSERT))
    says = treatment.replaced_by(treatment.panic("58030", "could not fsync"))
    scene.held().release(Treatment(says))
    scene.until(lambda: raw.ended)
    assert b"VPANIC\0" in raw.data
    assert b"C58030\0" in raw.data
    assert rows(table) == 1


def test_a_fatal_error_comes_before_the_end_of_a_connection_whose_turn_is_lost(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = held(scene, query(INSERT))
    scene.held().cut(says=treatment.fatal("57P01", "terminating connection"))
    assert raw.to_the_end() == "E"
    (broken,) = scene.of(Broken)
    assert broken.error is not None
    assert (broken.error.severity, broken.error.sqlstate) == ("FATAL", "57P01")
    assert rows(table) == 0


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_ends_in_order_or_by_a_reset(scene: Scene, *, reset: bool) -> None:
    raw = held(scene, query(INSERT))
    scene.loop.forget(raw.sock)
    raw.ended = True
    scene.held().cut(reset=reset)
    raw.sock.settimeout(5)
    if reset:
        with pytest.raises(ConnectionResetError):
            raw.sock.recv(1)
        assert scene.of(HungUp), "nothing more can come from this client"
    else:
        assert raw.sock.recv(1) == b""


def test_before_a_reset_what_the_client_has_sent_is_heard(scene: Scene) -> None:
    raw = held(scene, query("BEGIN"))
    raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as drivers do
    raw.send(query("COMMIT"))
    scene.held().cut(reset=True)
    assert [str(event.turn) for event in scene.of(Undelivered)] == ["BEGIN", "COMMIT"]


def test_garbage_in_the_place_of_a_turn_ends_the_session(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = held(scene, query(INSERT))
    scene.held().garble_request()
    assert raw.to_the_end() == "E"
    (broken,) = scene.of(Broken)
    assert broken.by == "server"
    assert broken.error is not None
    assert (broken.error.severity, broken.error.sqlstate) == ("FATAL", "08P01")
    assert rows(table) == 0


@pytest.mark.parametrize("commit", [query("COMMIT"), extended("COMMIT") + SYNC])
def test_the_server_itself_answers_rollback_to_a_commit(
    scene: Scene, table: psycopg.Connection, commit: bytes
) -> None:
    raw = scene.raw_ready()
    raw.send(query("BEGIN"), query(INSERT))
    raw.until("Z")
    raw.until("Z")
    scene.gate.hold("alice")
    raw.send(commit)
    scene.held().release(behind="DO $$ BEGIN RAISE EXCEPTION 'unseen'; END $$")
    assert "E" not in raw.until("Z")
    answered = scene.of(Answered)[-1]
    assert (answered.answer.tags, answered.answer.error, answered.answer.status) == (
        ("ROLLBACK",),
        None,
        "I",
    )
    assert rows(table) == 0


# What is stuck in the network.


@pytest.mark.parametrize("arrives", [False, True])
def test_a_turn_that_is_stuck_outlives_its_client(
    scene: Scene, table: psycopg.Connection, *, arrives: bool
) -> None:
    raw = held(scene, query(INSERT))
    connection = scene.held()
    connection.withhold()
    raw.close()
    scene.until(lambda: connection.closed)
    assert connection.alive
    assert (scene.of(Withheld) != [], scene.of(Sent)[1:], scene.of(Undelivered)) == (True, [], [])
    if arrives:
        connection.deliver()
        scene.until(lambda: not connection.alive)
        assert not scene.of(Answered)[-1].delivered
    else:
        connection.drop()
        assert len(scene.of(Undelivered)) == 1
    assert scene.of(Broken)[-1].by == "client"
    assert rows(table) == int(arrives)


def test_who_waits_for_a_stuck_turn_is_answered_when_it_arrives(scene: Scene) -> None:
    raw = held(scene, *LOOK)
    connection = scene.held()
    connection.withhold()
    connection.deliver()
    assert raw.until("Z") == WHOLE
    assert scene.of(Answered)[-1].delivered


def test_behind_a_silent_answer_nothing_arrives_either(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = held(scene, *LOOK)
    connection = scene.held()
    connection.release(Treatment(treatment.nothing, Then.SILENCE))
    scene.until(lambda: scene.of(Answered))
    assert connection.alive
    assert (raw.data, raw.ended) == (bytearray(), False)
    raw.send(query(INSERT))
    assert raw.to_the_end() == ""
    assert len(scene.of(Undelivered)) == 1
    assert rows(table) == 0


# Clients that are not let in.


@pytest.mark.parametrize(
    ("reception", "kinds"),
    [
        (Reception(treatment.fatal("53300", "too many clients")), "E"),
        (Reception(None), ""),
    ],
)
def test_the_next_connection_is_refused_and_the_one_after_it_is_let_in(
    scene: Scene, reception: Reception, kinds: str
) -> None:
    first = scene.raw_ready()
    scene.gate.receive("alice", reception)
    assert first.to_the_end().endswith("")
    second = scene.raw()
    second.log_in()
    assert second.to_the_end() == kinds
    (refused,) = scene.of(Refused)
    assert (refused.error is None) == (kinds == "")
    assert scene.raw_ready().until("") == ""


def test_a_connection_is_reset_while_it_is_made(scene: Scene) -> None:
    scene.gate.receive("alice", Reception(None, Then.RESET))
    raw = scene.raw()
    raw.ask_in()
    scene.loop.forget(raw.sock)
    raw.ended = True
    raw.show(raw.password)
    scene.until(lambda: scene.of(Refused))
    raw.sock.settimeout(5)
    with pytest.raises(ConnectionResetError):
        raw.sock.recv(1)


def test_nobody_answers_a_client_that_connects(scene: Scene) -> None:
    scene.gate.receive("alice", Reception(None, Then.SILENCE))
    raw = scene.raw()
    raw.log_in()
    scene.until(lambda: scene.of(Ignored))
    assert (raw.data, raw.ended) == (bytearray(), False)
    number = scene.of(Ignored)[0].connection
    assert not scene.gate.left(number)
    raw.sock.shutdown(socket.SHUT_RDWR)
    scene.until(lambda: scene.of(HungUp))
    assert scene.gate.left(number)


def test_as_usual_undoes_what_was_to_meet_the_next_connection(scene: Scene) -> None:
    scene.gate.receive("alice", Reception(None))
    scene.gate.receive_as_usual()
    scene.raw_ready()
    assert scene.of(Refused) == []


def test_a_lost_answer_is_a_treatment_like_the_others(scene: Scene) -> None:
    raw = held(scene, *LOOK)
    scene.held().release(LOST)
    assert raw.to_the_end() == ""
