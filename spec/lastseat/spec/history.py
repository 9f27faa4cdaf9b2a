"""The format ``lastseat-history/1``: a history as JSON Lines, one event a line.

Every line is an object with a ``type``. Fields that the format does not know are refused, as are
unknown versions: a judge that guesses at evidence convicts the wrong one. A JSON Schema of the
lines, for other languages, is beside this module: see ``SCHEMA``. What a schema of single lines
cannot say, their order, is in ``events.assemble``; readers that decode by other means share it.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from attrs import frozen

from lastseat.spec.events import (
    FORMAT,
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
    History,
    Invoke,
    MalformedHistory,
    Phase,
    Raise,
    Rows,
    Seen,
    What,
    assemble,
)
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import ANSWERS, Answer, Cause, Outcome, Request

__all__ = [
    "FORMAT",
    "SCHEMA",
    "Audit",
    "CommitSent",
    "Emit",
    "End",
    "Event",
    "Evidence",
    "Fault",
    "Fence",
    "Final",
    "Header",
    "History",
    "Invoke",
    "MalformedHistory",
    "Phase",
    "Raise",
    "Rows",
    "Seen",
    "What",
    "assemble",
    "encode",
    "parse_line",
    "read",
]

SCHEMA = Path(__file__).parent / "schemas" / "history-1.json"
"""JSON Schema of one line."""

_ENCODER = json.JSONEncoder(separators=(",", ":"))

E = TypeVar("E", bound=enum.Enum)
Check = Callable[[Any], Any]
"""Turns a field's JSON value into the model's; raises ValueError saying what is wrong with it."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a string")
    return value


def _integer(value: Any) -> int:
    # JSON has no integers of its own: 1.0 is one, here as in JSON Schema.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("is not an integer")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is not a number")
    return value


def _duration(value: Any) -> float:
    if _number(value) < 0:
        raise ValueError("is negative")
    return _number(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _sqlstate(value: Any) -> str:
    if not re.fullmatch("[0-9A-Z]{5}", _text(value)):
        raise ValueError("is not an SQLSTATE: five digits or capital letters")
    return str(value)


def _one_of(kind: type[E]) -> Callable[[Any], E]:
    def check(value: Any) -> E:
        try:
            return kind(_text(value))
        except ValueError:
            raise ValueError(f"is not one of {', '.join(m.value for m in kind)}") from None

    return check


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("is not a list")
    return value


def _rows(value: Any) -> Rows:
    rows = []
    for row in _list(value):
        if len(_list(row)) != 2:
            raise ValueError("is not a list of pairs of booking id and units")
        rows.append((_text(row[0]), _integer(row[1])))
    return tuple(rows)


def _resource(value: Any) -> Resource:
    fields = _fields(value, {"capacity": _integer}, {"bookings": _rows})
    if fields["capacity"] < 0:
        raise ValueError("has a negative capacity")
    rows: Rows = fields.get("bookings", ())
    if any(units < 1 for _, units in rows):
        raise ValueError("has a prior booking of less than one unit")
    if len(dict(rows)) != len(rows):
        raise ValueError("has two prior bookings of one id")
    return Resource(fields["capacity"], dict(rows))


def _resources(value: Any) -> Mapping[str, Resource]:
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    return {name: _resource(resource) for name, resource in value.items()}


def _observed(value: Any) -> frozenset[Evidence]:
    return frozenset(map(_one_of(Evidence), _list(value)))


def _promises(value: Any) -> frozenset[str]:
    return frozenset(map(_text, _list(value)))


def _format(value: Any) -> str:
    if value != FORMAT:
        raise ValueError(f"is {json.dumps(value)}; this reads {FORMAT}")
    return FORMAT


def _fields(
    record: Any, required: Mapping[str, Check], optional: Mapping[str, Check]
) -> dict[str, Any]:
    """The checked fields of ``record``: all of ``required``, perhaps some of ``optional``."""
    if not isinstance(record, dict):
        raise ValueError("is not an object")
    for name in required:
        if name not in record:
            raise ValueError(f"lacks the field {name}")
    values = {}
    for name, value in record.items():
        check = required.get(name) or optional.get(name)
        if check is None:
            raise ValueError(f"has the unknown field {name}")
        try:
            values[name] = check(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return values


def _header(**fields: Any) -> Header:
    del fields["format"]  # it has been checked
    return Header(**fields)


def _invoke(*, booking_id: str, resource_id: str, requested_units: int, **fields: Any) -> Invoke:
    return Invoke(request=Request(booking_id, resource_id, requested_units), **fields)


def _emit(
    *, outcome: Outcome, cause: Cause | None = None, in_doubt: bool | None = None, **fields: Any
) -> Emit:
    if outcome is Outcome.FAILED:
        if cause is None or in_doubt is None:
            raise ValueError("FAILED has a cause and says whether it is in doubt")
    elif cause is not None or in_doubt is not None:
        raise ValueError(f"{outcome.value} has no cause and is never in doubt")
    answer = Answer(outcome, cause, bool(in_doubt))
    if answer not in ANSWERS:
        raise ValueError("only FAILED(INFRASTRUCTURE) is in doubt")
    return Emit(answer=answer, **fields)


def _fault(*, to: int | None = None, **fields: Any) -> Fault:
    return Fault(start=fields.pop("from"), end=to, **fields)


@frozen
class _Line:
    """One type of line: what it builds, from which fields."""

    build: Callable[..., Header | Event]
    required: Mapping[str, Check]
    optional: Mapping[str, Check]


_MS: dict[str, Check] = {"ms": _number}
_TIMED: dict[str, Check] = {"at": _integer}
_OF_ATTEMPT: dict[str, Check] = {"at": _integer, "attempt": _text}
_READING: dict[str, Check] = {"resource_id": _text, "bookings": _rows}
_REQUEST: dict[str, Check] = {
    "booking_id": _text,
    "resource_id": _text,
    "requested_units": _integer,
}
_DOUBT: dict[str, Check] = {"cause": _one_of(Cause), "in_doubt": _flag}

_LINES: Mapping[str, _Line] = {
    "header": _Line(
        _header,
        {"format": _format, "resources": _resources},
        {
            "observed": _observed,
            "promises": _promises,
            "deadline_ms": _duration,
            "grace_ms": _duration,
        },
    ),
    "invoke": _Line(_invoke, _OF_ATTEMPT | {"client": _text} | _REQUEST, _MS),
    "emit": _Line(_emit, _OF_ATTEMPT | {"outcome": _one_of(Outcome)}, _DOUBT | _MS),
    "raise": _Line(Raise, _OF_ATTEMPT | {"message": _text, "in_doubt": _flag}, _MS),
    "seen": _Line(
        Seen,
        _OF_ATTEMPT | {"what": _one_of(What)},
        {"sqlstate": _sqlstate, "phase": _one_of(Phase)} | _MS,
    ),
    "commit-sent": _Line(CommitSent, _OF_ATTEMPT, _MS),
    "fault": _Line(
        _fault,
        {"kind": _text, "from": _integer},
        {"to": _integer, "client": _text} | _TIMED | _MS,
    ),
    "fence": _Line(Fence, _OF_ATTEMPT, _MS),
    "audit": _Line(Audit, _TIMED | _READING, {"booked": _integer} | _MS),
    "final": _Line(Final, _READING, {"booked": _integer}),
    "end": _Line(End, _TIMED, _MS),
}


def parse_line(text: str, number: int) -> Header | Event:
    """The event that one line, the file's ``number``-th from 1, tells of.

    Raises:
        MalformedHistory: it is no JSON object, or not one of the format's.
    """
    try:
        record = json.loads(
            text, object_pairs_hook=_object, parse_constant=_not_json, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise MalformedHistory(number, f"malformed JSON: {error}") from None
    try:
        return _event(record)
    except ValueError as error:
        raise MalformedHistory(number, str(error)) from None


def read(lines: Iterable[str]) -> History:
    """The history that the lines of a file are.

    Raises:
        MalformedHistory: at the first line that cannot stand where it stands.
    """
    return assemble(parse_line(text, number) for number, text in enumerate(lines, start=1))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return names


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too great a number")
    return value


def _event(record: Any) -> Header | Event:
    if not isinstance(record, dict):
        raise ValueError("the line is not an object")
    kind = record.pop("type", None)
    line = _LINES.get(kind) if isinstance(kind, str) else None
    if line is None:
        raise ValueError(f"unknown type {json.dumps(kind)}")
    try:
        return line.build(**_fields(record, line.required, line.optional))
    except ValueError as error:
        raise ValueError(f"{kind}: {error}") from None


def encode(event: Header | Event) -> str:
    """One line of JSON, without its line break, which ``parse_line`` turns into ``event`` again."""
    return _ENCODER.encode(_record(event))


def _record(event: Header | Event) -> dict[str, Any]:
    if isinstance(event, Header):
        return _header_record(event)
    if isinstance(event, Fault):
        names = {"from": event.start, "to": event.end, "client": event.client}
        return _line("fault", {"kind": event.kind} | names, event.at, event.ms)
    if isinstance(event, Audit | Final):
        rows = [list(row) for row in event.bookings]
        fields = {"resource_id": event.resource_id, "bookings": rows, "booked": event.booked}
        if isinstance(event, Final):
            return _line("final", fields)
        return _line("audit", fields, event.at, event.ms)
    if isinstance(event, End):
        return _line("end", {}, event.at, event.ms)
    kind, fields = _of_attempt(event)
    return _line(kind, {"attempt": event.attempt} | fields, event.at, event.ms)


def _of_attempt(
    event: Invoke | Emit | Raise | Seen | CommitSent | Fence,
) -> tuple[str, dict[str, Any]]:
    match event:
        case Invoke(client=client, request=request):
            return "invoke", {
                "client": client,
                "booking_id": request.booking_id,
                "resource_id": request.resource_id,
                "requested_units": request.requested_units,
            }
        case Emit(answer=Answer(outcome=outcome, cause=None)):
            return "emit", {"outcome": outcome.value}
        case Emit(answer=Answer(outcome=outcome, cause=Cause() as cause, in_doubt=in_doubt)):
            return "emit", {"outcome": outcome.value, "cause": cause.value, "in_doubt": in_doubt}
        case Raise(message=message, in_doubt=in_doubt):
            return "raise", {"message": message, "in_doubt": in_doubt}
        case Seen(what=what, sqlstate=sqlstate, phase=phase):
            name = None if phase is None else phase.value
            return "seen", {"what": what.value, "sqlstate": sqlstate, "phase": name}
        case CommitSent():
            return "commit-sent", {}
    return "fence", {}


def _header_record(header: Header) -> dict[str, Any]:
    resources = {}
    for name, resource in header.resources.items():
        rows = [list(row) for row in resource.bookings.items()]
        resources[name] = {"capacity": resource.capacity} | ({"bookings": rows} if rows else {})
    fields = {
        "format": FORMAT,
        "resources": resources,
        "observed": sorted(evidence.value for evidence in header.observed),
        "promises": sorted(header.promises) or None,
        "deadline_ms": header.deadline_ms,
        "grace_ms": header.grace_ms,
    }
    return _line("header", fields)


def _line(
    kind: str, fields: dict[str, Any], at: int | None = None, ms: float | None = None
) -> dict[str, Any]:
    record = {"type": kind, "at": at} | fields | {"ms": ms}
    return {name: value for name, value in record.items() if value is not None}
