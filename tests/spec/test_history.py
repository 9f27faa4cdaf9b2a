"""The format of recorded histories: what is read, what is refused and where, and its schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lastseat.spec.history import (
    SCHEMA,
    Audit,
    CommitSent,
    Emit,
    End,
    Event,
    Evidence,
    Fault,
    Fence,
    Final,
    Header,
    Invoke,
    MalformedHistory,
    Phase,
    Raise,
    Seen,
    What,
    assemble,
    encode,
    parse_line,
    read,
)
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import ANSWERS, BOOKED, Request

HEADER = Header({"r": Resource(3)})
INVOKE = Invoke(1, "a", "c", Request("b", "r", 1))

EVENTS: list[Header | Event] = [
    HEADER,
    Header(
        {"r": Resource(3, {"old": 1}), "s": Resource(0)},
        observed=frozenset(Evidence),
        promises=frozenset({"winner"}),
        deadline_ms=2000,
        grace_ms=0.5,
    ),
    INVOKE,
    Invoke(1, "ä\ud800", "c", Request("", "nowhere", -1), ms=0.25),
    *(Emit(2, "a", answer) for answer in ANSWERS),
    Raise(2, "a", "no such resource", in_doubt=False),
    Raise(2, "a", "cancelled", in_doubt=True, ms=3),
    *(Seen(2, "a", what, "40001", phase) for what in What for phase in Phase),
    Seen(2, "a", What.LOST),
    CommitSent(2, "a"),
    Fault("cut", 1),
    Fault("cut", 1, 2, "c", at=3, ms=4),
    Fence(3, "a"),
    Audit(3, "r", ()),
    Audit(3, "r", (("b", 1), ("b", 2)), 3, ms=4),
    Final("r", (("b", 1),)),
    Final("r", (), 0),
    End(4),
    End(4, ms=5),
]


def line(kind: object, /, **fields: Any) -> str:
    return json.dumps({"type": kind} | fields)


def header(**fields: Any) -> str:
    return line("header", **{"format": "lastseat-history/1", "resources": {}} | fields)


def emit(**fields: Any) -> str:
    return line("emit", **{"at": 1, "attempt": "a"} | fields)


def invoke(**fields: Any) -> str:
    request = {"booking_id": "b", "resource_id": "r", "requested_units": 1}
    return line("invoke", **{"at": 1, "attempt": "a", "client": "c"} | request | fields)


def seen(**fields: Any) -> str:
    return line("seen", **{"at": 1, "attempt": "a", "what": "error"} | fields)


REFUSED = {
    "not an object": ("[1]", "the line is not an object"),
    "no type": ("{}", "unknown type null"),
    "a type that is no string": (line(7), "unknown type 7"),
    "an unknown type": (line("begin"), 'unknown type "begin"'),
    "an unknown version": (
        header(format="lastseat-history/2"),
        'header: format is "lastseat-history/2"; this reads lastseat-history/1',
    ),
    "a header without resources": (
        line("header", format="lastseat-history/1"),
        "header: lacks the field resources",
    ),
    "a negative capacity": (
        header(resources={"r": {"capacity": -1}}),
        "header: resources has a negative capacity",
    ),
    "a resource with a colour": (
        header(resources={"r": {"capacity": 1, "colour": 1}}),
        "header: resources has the unknown field colour",
    ),
    "resources in a list": (header(resources=[]), "header: resources is not an object"),
    "a prior booking of nothing": (
        header(resources={"r": {"capacity": 1, "bookings": [["b", 0]]}}),
        "prior booking of less than one unit",
    ),
    "unknown evidence": (header(observed=["rumours"]), "is not one of faults, server, commits"),
    "a negative grace": (header(grace_ms=-1), "header: grace_ms is negative"),
    "a missing field": (line("fence", at=1), "fence: lacks the field attempt"),
    "an unknown field": (line("end", at=1, why=""), "end: has the unknown field why"),
    "a time that is no number": (line("end", at="1"), "end: at is not an integer"),
    "a time between instants": (line("end", at=1.5), "end: at is not an integer"),
    "a time that is a truth": (line("end", at=True), "end: at is not an integer"),
    "ms that is no number": (line("end", at=1, ms="2"), "end: ms is not a number"),
    "an attempt that is no string": (invoke(attempt=1), "invoke: attempt is not a string"),
    "units that are no integer": (invoke(requested_units="1"), "requested_units is not an integer"),
    "an unknown outcome": (emit(outcome="MAYBE"), "outcome is not one of BOOKED, REJECTED, FAILED"),
    "a booking with a cause": (
        emit(outcome="BOOKED", cause="CONFLICT", in_doubt=False),
        "emit: BOOKED has no cause and is never in doubt",
    ),
    "a rejection in doubt": (
        emit(outcome="REJECTED", in_doubt=True),
        "emit: REJECTED has no cause and is never in doubt",
    ),
    "a failure without a cause": (
        emit(outcome="FAILED", in_doubt=False),
        "emit: FAILED has a cause and says whether it is in doubt",
    ),
    "a failure silent about doubt": (
        emit(outcome="FAILED", cause="CONFLICT"),
        "emit: FAILED has a cause and says whether it is in doubt",
    ),
    "a conflict in doubt": (
        emit(outcome="FAILED", cause="CONFLICT", in_doubt=True),
        "emit: only FAILED(INFRASTRUCTURE) is in doubt",
    ),
    "doubt that is no truth": (
        emit(outcome="FAILED", cause="INFRASTRUCTURE", in_doubt=1),
        "emit: in_doubt is neither true nor false",
    ),
    "an SQLSTATE of four": (seen(sqlstate="4000"), "seen: sqlstate is not an SQLSTATE"),
    "an SQLSTATE with a line break": (seen(sqlstate="40001\n"), "sqlstate is not an SQLSTATE"),
    "an unknown phase": (seen(phase="later"), "seen: phase is not one of connect, statement"),
    "a phase that is null": (seen(phase=None), "seen: phase is not one of connect"),
    "a fault without a beginning": (line("fault", kind="cut"), "fault: lacks the field from"),
    "rows that are no pairs": (
        line("final", resource_id="r", bookings=[["b"]]),
        "final: bookings is not a list of pairs of booking id and units",
    ),
    "rows as an object": (
        line("final", resource_id="r", bookings={"b": 1}),
        "final: bookings is not a list",
    ),
    "a final line with a time": (
        line("final", resource_id="r", bookings=[], at=1),
        "final: has the unknown field at",
    ),
}

ACCEPTED = {
    "integers that are written as floats": line("end", at=1.0),
    "a request for no units, which is a programming error": invoke(requested_units=0),
    "evidence named twice": header(observed=["server", "server"]),
    "no evidence": header(observed=[]),
    # Not the event's text: a set in it is written in another order by every process.
    **{f"{index}: {type(e).__name__}": encode(e) for index, e in enumerate(EVENTS)},
}

SCHEMA_OF_LINES = Draft202012Validator(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_is_written_is_read_again(event: Header | Event) -> None:
    text = encode(event)
    assert "\n" not in text
    assert parse_line(text, 1) == event


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_by_reader_and_schema(text: str) -> None:
    parse_line(text, 1)
    SCHEMA_OF_LINES.validate(json.loads(text))


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_reader_and_schema(text: str, reason: str) -> None:
    with pytest.raises(MalformedHistory) as caught:
        parse_line(text, 17)
    assert caught.value.line == 17
    assert reason in caught.value.reason
    assert str(caught.value).startswith("line 17: ")
    assert not SCHEMA_OF_LINES.is_valid(json.loads(text))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        '{"type":"end","at":1',
        '{"type":"end","at":1} {}',
        '{"type":"end","at":NaN}',
        '{"type":"end","at":1,"ms":1e999}',
        '{"type":"end","at":1,"at":2}',
        "[" * 100_000,
        "1" * 5_000,
    ],
)
def test_malformed_json(text: str) -> None:
    """The schema speaks of JSON values; what is none, or says a name twice, never gets there."""
    with pytest.raises(MalformedHistory, match="line 3: malformed JSON"):
        parse_line(text, 3)


DISORDER: dict[str, tuple[list[Header | Event], int, str]] = {
    "no line at all": ([], 1, "there is no header"),
    "no header": ([INVOKE], 1, "the first line must be the header"),
    "two headers": ([HEADER, HEADER], 2, "a second header"),
    "prior bookings beyond the capacity": (
        [Header({"r": Resource(1, {"old": 2})})],
        1,
        "the prior bookings exceed the capacity of r",
    ),
    "an id booked twice beforehand": (
        [Header({"r": Resource(1, {"old": 1}), "s": Resource(1, {"old": 1})})],
        1,
        "booking old is booked twice beforehand",
    ),
    "time runs backwards": ([HEADER, INVOKE, End(0)], 3, "time runs backwards, from 1 to 0"),
    "an attempt is invoked twice": ([HEADER, INVOKE, INVOKE], 3, "attempt a is invoked twice"),
    "an unknown attempt emits": ([HEADER, Emit(1, "a", BOOKED)], 2, "attempt a is not invoked"),
    "an unknown attempt is fenced": ([HEADER, Fence(1, "a")], 2, "attempt a is not invoked"),
    "an unknown attempt sees an error": (
        [HEADER, Seen(1, "a", What.ERROR)],
        2,
        "attempt a is not invoked",
    ),
    "two answers": (
        [HEADER, INVOKE, Emit(1, "a", BOOKED), Emit(2, "a", BOOKED)],
        4,
        "attempt a ends twice",
    ),
    "an answer and an exception": (
        [HEADER, INVOKE, Emit(1, "a", BOOKED), Raise(2, "a", "", in_doubt=False)],
        4,
        "attempt a ends twice",
    ),
    "a fault that ends before it begins": ([HEADER, Fault("cut", 2, 1)], 2, "ends before it"),
    "an audit of an unknown resource": ([HEADER, Audit(1, "s", ())], 2, "s is not in the header"),
    "final bookings of an unknown resource": ([HEADER, Final("s", ())], 2, "s is not in the"),
    "final bookings twice": ([HEADER, Final("r", ()), Final("r", ())], 3, "of r appear twice"),
    "an attempt after the final bookings": (
        [HEADER, Final("r", ()), INVOKE],
        3,
        "an event after the final bookings",
    ),
    "an event after the end": ([HEADER, End(1), Fault("cut", 1)], 3, "an event after the end"),
}


@pytest.mark.parametrize(("items", "number", "reason"), DISORDER.values(), ids=DISORDER.keys())
def test_refused_for_its_order(items: list[Header | Event], number: int, reason: str) -> None:
    for attempt in (lambda: assemble(items), lambda: read(map(encode, items))):
        with pytest.raises(MalformedHistory) as caught:
            attempt()
        assert caught.value.line == number
        assert reason in caught.value.reason


def test_an_orderly_history() -> None:
    events = [
        Fault("cut", 5, 6),
        INVOKE,
        Seen(1, "a", What.LOST),
        Emit(1, "a", BOOKED),
        CommitSent(2, "a"),
        Fence(2, "a"),
        Audit(3, "r", (("b", 1),)),
        Final("r", (("b", 1),)),
        Fault("cut", 1, 1, at=4),
        End(4),
    ]
    history = read(map(encode, [HEADER, *events]))
    assert history.header == HEADER
    assert history.events == tuple(events)


def test_a_malformed_line_in_a_file_is_named() -> None:
    with pytest.raises(MalformedHistory, match="line 3: malformed JSON"):
        read([encode(HEADER), encode(INVOKE), '{"type":"emi'])
