"""Errors in the place of a batch: the statement that they meet, and what comes before and after."""

from __future__ import annotations

import psycopg
import pytest
from tests.harness.gate.scene import SYNC, Raw, Scene, extended, query

from lastseat.harness.faults import FAULTS, Circumstances, Constraint, Database
from lastseat.harness.gate.events import Answered
from lastseat.harness.gate.isolation import Level

UPDATE = "UPDATE seat SET taken = taken + 1"
INSERT = "INSERT INTO booking VALUES ('b', 1)"
KEY = Constraint("23505", "duplicate key", "public", "booking", "booking_pkey")
FULL = Constraint("23514", "new row violates", "public", "seat", "seat_check")


def raised(scene: Scene, fault: str, *said: bytes) -> Raw:
    """A client whose turn meets the fault."""
    raw = scene.raw_ready()
    raw.data.clear()
    scene.gate.hold("alice")
    raw.send(*said)
    place = scene.place(scene.held())
    assert FAULTS[fault].available(place)
    FAULTS[fault].trigger(place)
    return raw


@pytest.mark.parametrize(
    ("said", "kinds"),
    [
        (query(f"BEGIN; {UPDATE}; COMMIT"), "CEZ"),
        (extended("BEGIN") + extended(UPDATE) + extended("COMMIT") + SYNC, "12CEZ"),
    ],
)
def test_what_begins_a_batch_is_answered_before_the_error(
    scene: Scene, table: psycopg.Connection, said: bytes, kinds: str
) -> None:
    """As the server does: COMMIT is skipped, and the transaction is left open and failed."""
    raw = raised(scene, "raise-40P01", said)
    assert raw.until("Z") == kinds
    (answered,) = scene.of(Answered)
    assert answered.answer.tags == ("BEGIN",)
    assert answered.answer.error is not None
    assert (answered.answer.error.sqlstate, answered.answer.status) == ("40P01", "E")
    assert table.execute("SELECT taken FROM seat").fetchone() == (0,)


def test_a_batch_that_the_server_begins_itself_fails_as_a_whole(
    scene: Scene, table: psycopg.Connection
) -> None:
    raw = raised(scene, "raise-40P01", extended(UPDATE) + extended(INSERT) + SYNC)
    assert raw.until("Z") == "EZ"
    assert scene.of(Answered)[0].answer.status == "I"
    assert table.execute("SELECT count(*) FROM booking").fetchone() == (0,)


@pytest.mark.parametrize("end", ["COMMIT", "PREPARE TRANSACTION 'x'"])
def test_behind_the_end_of_a_transaction_that_failed_none_is_open(scene: Scene, end: str) -> None:
    raw = scene.raw_ready()
    raw.send(query(f"BEGIN; {UPDATE}"))
    raw.until("Z")
    scene.gate.hold("alice")
    raw.send(query(end))
    FAULTS["raise-53200"].trigger(scene.place(scene.held()))
    raw.until("Z")
    assert scene.of(Answered)[-1].answer.status == "I"


@pytest.mark.parametrize("sql", ["BEGIN", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "ROLLBACK"])
def test_no_conflict_is_raised_where_none_is_looked_for(scene: Scene, sql: str) -> None:
    raw = scene.raw_ready()
    if sql != "BEGIN":
        raw.send(query("BEGIN ISOLATION LEVEL SERIALIZABLE; SAVEPOINT s"))
        raw.until("Z")
    scene.gate.hold("alice")
    raw.send(query(sql))
    place = scene.place(scene.held())
    found = {name for name, fault in FAULTS.items() if fault.available(place)}
    assert {name for name in found if name.startswith("raise-")} == {"raise-57014", "raise-53200"}


@pytest.mark.parametrize(
    ("sql", "constraint", "triggered", "true"),
    [
        (INSERT, KEY, (), True),
        (f"{INSERT} ON CONFLICT DO NOTHING", KEY, (), False),
        (UPDATE, KEY, (), False),
        (UPDATE, KEY, ("seat",), True),
        (UPDATE, FULL, (), True),
        (INSERT, FULL, (), False),
        (INSERT, FULL, ("booking",), True),
        ("DELETE FROM seat", FULL, (), False),
        ("SELECT attempt('b')", KEY, (), True),
        ("SELECT taken FROM seat", FULL, (), False),
    ],
)
def test_a_violation_is_raised_where_the_statement_can_run_into_the_constraint(
    scene: Scene, sql: str, constraint: Constraint, triggered: tuple[str, ...], *, true: bool
) -> None:
    raw = scene.raw_ready()
    scene.gate.hold("alice")
    raw.send(query(sql))
    where = Circumstances(Database(triggered=frozenset(triggered)), Level.READ_COMMITTED)
    found = {constraint.sqlstate: constraint}
    place = scene.place(scene.held(), violated=found.get, where=where)
    assert FAULTS[f"raise-{constraint.sqlstate}"].available(place) == true
