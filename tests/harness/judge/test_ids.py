"""Whether a statement names a booking, whatever its id is made of."""

from __future__ import annotations

import uuid

import pytest

from lastseat.harness.gate.turns import Statement
from lastseat.harness.judge.ids import Ids

UUID = "1b671a64-40d5-491e-99b0-da01ff1f3341"


def array(*elements: bytes) -> bytes:
    """As PostgreSQL writes an array in binary: a header, then a length before each element."""
    head = (1).to_bytes(4, "big") * 5
    return head + b"".join(len(e).to_bytes(4, "big") + e for e in elements)


@pytest.mark.parametrize(
    ("word", "statement"),
    [
        ("x-1-b1", Statement("SELECT 1 FROM booking WHERE id = 'x-1-b1'")),
        ("x-1-b1", Statement("SELECT $1", ("x-1-b1",))),
        ("x-1-b1", Statement("SELECT $1", ("{x-1-b1,x-2-b2}",))),
        ("x-1-b1", Statement("SELECT $1", (array(b"x-1-b1", b"x-2-b2"),))),
        (UUID, Statement("SELECT $1", (uuid.UUID(UUID).bytes,))),
        (UUID, Statement("SELECT $1", (array(uuid.UUID(UUID).bytes),))),
        ("1000001", Statement("SELECT $1", ((1000001).to_bytes(8, "big"),))),
        ("1000001", Statement("SELECT $1", (array((1000001).to_bytes(4, "big")),))),
        ("1000001", Statement("SELECT $1", (array((1000001).to_bytes(8, "big")),))),
    ],
)
def test_it_is_named(word: str, statement: Statement) -> None:
    assert Ids.of(word).named_in(statement)


@pytest.mark.parametrize(
    ("word", "statement"),
    [
        ("x-1-b1", Statement("SELECT 1 FROM booking WHERE id = 'x-1-b10'")),
        ("x-1-b1", Statement("SELECT $1", (array(b"x-2-b2"), None))),
        ("1000001", Statement("SELECT $1", ((1000002).to_bytes(8, "big"),))),
        (UUID, Statement("SELECT $1", (uuid.UUID(int=1).bytes,))),
        ("", Statement("SELECT $1", (array(b"x-2-b2"),))),
    ],
)
def test_another_one_is(word: str, statement: Statement) -> None:
    assert not Ids.of(word).named_in(statement)
