"""Replies held against the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from lastseat.harness.implementations.protocol import (
    AdapterError,
    Raised,
    encode,
    read_attempt,
    read_start,
)
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED, Answer

STARTED: dict[str, Any] = {
    "implementation": {"name": "it", "language": "Forth", "version": "1"},
    "mechanism": "optimistic",
    "audit": {"bookings": "SELECT 1", "booked": "SELECT 2"},
}


def test_a_request_is_one_line() -> None:
    line = encode(3, "attempt", booking_id="b\n1", requested_units=2)
    assert line == b'{"seq":3,"cmd":"attempt","booking_id":"b\\n1","requested_units":2}\n'


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"outcome": "BOOKED"}, BOOKED),
        ({"outcome": "BOOKED", "cause": None, "in_doubt": False, "detail": "x"}, BOOKED),
        ({"outcome": "REJECTED"}, REJECTED),
        ({"outcome": "FAILED", "cause": "CONFLICT"}, CONFLICT),
        ({"outcome": "FAILED", "cause": "INFRASTRUCTURE"}, INFRASTRUCTURE),
        ({"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": True}, IN_DOUBT),
    ],
)
def test_an_outcome(result: dict[str, Any], answer: Answer) -> None:
    assert read_attempt({"result": result}) == answer


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "BOOKED",
        {},
        {"outcome": "booked"},
        {"outcome": None},
        {"outcome": "FAILED"},
        {"outcome": "FAILED", "cause": "BAD LUCK"},
        {"outcome": "FAILED", "cause": "CONFLICT", "in_doubt": True},
        {"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": "false"},
        {"outcome": "BOOKED", "cause": "CONFLICT"},
        {"outcome": "BOOKED", "in_doubt": True},
    ],
)
def test_no_outcome(result: Any) -> None:
    with pytest.raises(AdapterError):
        read_attempt({"result": result})


def test_an_exception() -> None:
    assert read_attempt({"raised": {"message": "x"}}) == Raised("x", in_doubt=False)
    assert read_attempt({"raised": {"message": "x", "in_doubt": True}}) == Raised("x", True)


@pytest.mark.parametrize("raised", [None, "x", {}, {"message": 1}, {"message": "x", "in_doubt": 1}])
def test_no_exception(raised: Any) -> None:
    with pytest.raises(AdapterError):
        read_attempt({"raised": raised})


def test_what_may_be_left_out_of_start() -> None:
    start = read_start({"implementation": {"name": "it"}, "audit": {"bookings": "SELECT 1"}})
    assert (start.language, start.mechanism, start.ids) == ("", "", "text")
    assert (start.promises, start.booked_sql) == (frozenset(), None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"implementation": None}, "the result of start is not right"),
        ({"implementation": {}}, "lacks 'name'"),
        ({"audit": {}}, "lacks 'bookings'"),
        ({"audit": {"bookings": 7}}, "bookings: Expected `str`"),
        ({"audit": {"bookings": "x", "booked": 7}}, "booked: Expected `str | null`"),
        ({"promises": "winner"}, "promises: Expected `array`"),
        ({"ids": "serial"}, "ids: Invalid enum value 'serial'"),
    ],
)
def test_what_is_wrong_with_start(change: dict[str, Any], words: str) -> None:
    with pytest.raises(AdapterError) as error:
        read_start({**STARTED, **change})
    assert words in str(error.value)


@pytest.mark.parametrize("result", [None, [], "it", 7])
def test_start_is_an_object(result: Any) -> None:
    with pytest.raises(AdapterError, match="the result of start"):
        read_start(result)
