"""Streams of client messages, cut into turns; and parameters, in words."""

from __future__ import annotations

import struct
import uuid

import pytest
from tests.harness.gate.scene import FLUSH, SYNC, bind, describe, execute, extended, parse, query

from lastseat.harness.gate.messages import BadFraming, cut, message
from lastseat.harness.gate.turns import Cutter, Statement, Turn


def turns(*stream: bytes) -> list[Turn]:
    """The turns of a stream, as one connection's."""
    cutter = Cutter()
    return [
        turn for part in cut(bytearray(b"".join(stream))) if (turn := cutter.feed(part)) is not None
    ]


def shown(*stream: bytes) -> list[tuple[str, str]]:
    return [(turn.ends_with, str(turn)) for turn in turns(*stream)]


def test_a_turn_ends_where_a_client_waits() -> None:
    stream = [
        query("BEGIN; SELECT 1"),
        extended("SELECT $1", "7") + SYNC,
        parse("COMMIT", "c") + describe() + FLUSH,
        bind("c") + execute() + SYNC,
        message("F", b"\0" * 10),
    ]
    found = shown(*stream)
    assert found == [
        ("Q", "BEGIN; SELECT 1"),
        ("S", "SELECT $1 [7]"),
        ("H", "nothing to execute"),
        ("S", "COMMIT"),
        ("F", "nothing to execute"),
    ]
    assert [turn.raw for turn in turns(*stream)] == stream
    assert [turn.number for turn in turns(*stream)] == [1, 2, 3, 4, 5]


def test_a_statement_counts_where_it_is_executed() -> None:
    assert shown(
        parse("UPDATE x", "u") + SYNC,
        bind("u") + SYNC,
        execute() + execute() + SYNC,
        bind("unheard of") + execute() + SYNC,
    ) == [
        ("S", "nothing to execute"),
        ("S", "nothing to execute"),
        ("S", "UPDATE x; UPDATE x"),
        ("S", 'EXECUTE "unheard of"'),
    ]


def test_a_name_stands_for_what_it_was_last_given_to() -> None:
    found = shown(
        parse("SELECT 1", "s"), bind("s"), parse("SELECT 2", "s"), execute(), SYNC,
        bind("s"), execute(), SYNC,
    )  # fmt: skip
    assert found == [("S", "SELECT 1"), ("S", "SELECT 2")]


def test_what_lacks_its_end_is_a_rest() -> None:
    cutter = Cutter()
    for part in cut(bytearray(query("BEGIN") + parse("COMMIT") + bind() + execute())):
        cutter.feed(part)
    rest = cutter.rest()
    assert rest is not None
    assert (str(rest), rest.ends_with) == ("COMMIT", "E")
    assert cutter.rest() is None


def test_preparing_alone_is_no_rest() -> None:
    cutter = Cutter()
    for part in cut(bytearray(parse("COMMIT"))):
        cutter.feed(part)
    assert cutter.rest() is None


@pytest.mark.parametrize("kind", "QPBE")
@pytest.mark.parametrize("payload", [b"", b"no zero", b"\xff"])
def test_a_message_that_ends_too_early(kind: str, payload: bytes) -> None:
    with pytest.raises(BadFraming):
        turns(message(kind, payload))


def test_formats_may_be_given_for_none_for_all_or_for_each() -> None:
    values = struct.pack("!i", 1) + b"a" + struct.pack("!i", -1) + struct.pack("!i", 1) + b"\x07"

    def bound(*codes: int) -> tuple[str | bytes | None, ...]:
        head = b"\0\0" + struct.pack(f"!h{len(codes)}hh", len(codes), *codes, 3)
        (turn,) = turns(message("B", head + values + b"\0\0") + execute() + SYNC)
        return turn.statements[0].parameters

    assert bound() == ("a", None, "\x07")
    assert bound(1) == (b"a", None, b"\x07")
    assert bound(0, 0, 1) == ("a", None, b"\x07")


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("text", "text"),
        (None, "NULL"),
        (struct.pack("!h", -2), "-2"),
        (struct.pack("!i", 1), "1"),
        (struct.pack("!q", 1 << 40), str(1 << 40)),
        ("plätze-7".encode(), "plätze-7"),
        (b"b1", "b1"),
        (uuid.UUID(int=7).bytes, str(uuid.UUID(int=7))),
        (b"\0\x01\x02", "000102"),
    ],
)
def test_a_binary_parameter_is_shown_as_what_it_most_likely_is(
    parameter: str | bytes | None, words: str
) -> None:
    assert str(Statement("SELECT\n  $1", (parameter,))) == f"SELECT $1 [{words}]"
