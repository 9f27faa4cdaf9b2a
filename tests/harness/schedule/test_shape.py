"""A statement is the same whatever values stand in it; anything else in it must be as it was."""

from collections.abc import Sequence

import pytest

from lastseat.harness.gate.turns import Statement, Turn
from lastseat.harness.names import Fresh, Names
from lastseat.harness.schedule.shape import Shapes, difference


def shapes(kind: str = "text") -> tuple[Shapes, Names]:
    names = Names(Fresh(kind))
    for logical in ("r1", "b1", "b2"):
        names.physical(logical)
    return Shapes(names.in_order), names


def shape(sql: str, *parameters: str | bytes | None, kind: str = "text") -> str:
    """Of one statement, in which ``{b1}`` stands for the id that the database sees."""
    made, names = shapes(kind)
    ids = {logical: names.physical(logical) for logical in ("r1", "b1", "b2")}
    filled = [p.format(**ids) if isinstance(p, str) else p for p in parameters]
    return made.of("alice", Turn(1, (), (Statement(sql.format(**ids), tuple(filled)),)))


UUID, OTHER_UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "a3bb189e-8bf9-3888-9912-ace4e6543002"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(
            ("INSERT INTO t VALUES ($1, $2)", UUID, "{b1}"),
            ("INSERT INTO t VALUES ($1, $2)", OTHER_UUID, "{b1}"),
            id="a row id",
        ),
        pytest.param(
            (f"INSERT INTO t VALUES ('{UUID}', '{{b1}}')",),
            (f"INSERT INTO t VALUES ('{OTHER_UUID}', '{{b1}}')",),
            id="a row id in the text",
        ),
        pytest.param(
            ("SELECT 1 WHERE t < '2026-11-26 22:00:00+00'",),
            ("SELECT 1 WHERE t < '2026-11-26 22:00:01.5+00'",),
            id="a moment",
        ),
        pytest.param(
            ("UPDATE t SET v = 17 WHERE id = '{b1}'",),
            ("UPDATE t SET v = 4711 WHERE id = '{b1}'",),
            id="a number",
        ),
        pytest.param(
            ("INSERT INTO t VALUES ($1)", '{{"id": "{b1}", "at": 17}}'),
            ("INSERT INTO t VALUES ($1)", '{{"id": "{b1}", "at": 18}}'),
            id="a document with an id in it",
        ),
        pytest.param(
            ("SELECT 1 /* trace 17ab */",), ("SELECT 1 /* trace 99fe */",), id="a comment"
        ),
        pytest.param(('SAVEPOINT "s1_x1"',), ('SAVEPOINT "s9_x7"',), id="a savepoint"),
        pytest.param(("RELEASE SAVEPOINT a",), ("RELEASE SAVEPOINT b",), id="its release"),
        pytest.param(("ROLLBACK TO SAVEPOINT a",), ("ROLLBACK TO SAVEPOINT b",), id="back to it"),
        pytest.param(("EXECUTE s_17 ('x')",), ("EXECUTE s_18 ('y')",), id="a prepared statement"),
        pytest.param(("DEALLOCATE pdo_1",), ("DEALLOCATE pdo_2",), id="its end"),
        pytest.param(("FETCH 10 FROM c1",), ("FETCH 10 FROM c2",), id="a cursor"),
        pytest.param(("PREPARE TRANSACTION 'a'",), ("PREPARE TRANSACTION 'b'",), id="two phases"),
        pytest.param(("SELECT $1", b"\x00\x11"), ("SELECT $1", b"\x00\x12"), id="a binary value"),
    ],
)
def test_values_that_are_made_up_make_no_difference(
    one: Sequence[str], other: Sequence[str]
) -> None:
    assert shape(*one) == shape(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("SELECT $1", "{b1}"), ("SELECT $1", "{b2}"), id="another booking"),
        pytest.param(("SELECT '{b1}'",), ("SELECT '{b2}'",), id="another booking in the text"),
        pytest.param(("SELECT $1", "{b1}"), ("SELECT $1", "b1"), id="no id of the scenario"),
        pytest.param(("SELECT $1", None), ("SELECT $1", "x"), id="nothing"),
        pytest.param(("SELECT a FROM t",), ("SELECT a FROM t FOR UPDATE",), id="a lock"),
        pytest.param(("SELECT a FROM t",), ("SELECT b FROM t",), id="a column"),
        pytest.param(("SELECT $1, $2", "1", "2"), ("SELECT $1", "1"), id="fewer values"),
        pytest.param(("SELECT $1, $2", "1", "2"), ("SELECT $2, $1", "1", "2"), id="their order"),
        pytest.param(("SAVEPOINT a",), ("RELEASE a",), id="what is done with a name"),
        pytest.param(("DO $$ BEGIN a; END $$",), ("DO $$ BEGIN b; END $$",), id="code"),
        pytest.param(("DEALLOCATE ALL",), ("DEALLOCATE s1",), id="all of them"),
    ],
)
def test_anything_else_does(one: Sequence[str], other: Sequence[str]) -> None:
    assert shape(*one) != shape(*other)


@pytest.mark.parametrize("kind", ["text", "uuid", "integer"])
def test_ids_are_kept_whatever_they_look_like(kind: str) -> None:
    assert shape("SELECT '{b1}', $1", "{r1}", kind=kind) == "SELECT b1 , $1 [r1]"


def follow(*sqls: str, client: str = "alice") -> list[str]:
    made, _ = shapes()
    return [made.of(client, Turn(1, (), (Statement(sql),))) for sql in sqls]


def test_made_up_names_are_told_apart_by_the_order_in_which_they_appear() -> None:
    same = follow("SAVEPOINT a1", "SAVEPOINT a2", "ROLLBACK TO a1")
    assert same == follow('SAVEPOINT "x9"', "SAVEPOINT x7", "ROLLBACK TO x9")
    assert same != follow("SAVEPOINT a1", "SAVEPOINT a2", "ROLLBACK TO a2")


def test_the_difference_is_named() -> None:
    recorded, met = shape("SELECT a FROM t WHERE id = $1", "{b1}"), shape("SELECT a FROM u")
    assert difference(recorded, met) == "«u» in the place of «t WHERE id»"
    locked = shape("SELECT a FROM t WHERE id = $1 FOR UPDATE", "{b1}")
    assert difference(recorded, locked) == "«FOR UPDATE [b1]» in the place of «[b1]»"
    assert difference("SELECT 1", "SELECT") == "«nothing more» in the place of «1»"
