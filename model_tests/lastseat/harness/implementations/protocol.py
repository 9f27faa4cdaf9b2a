"""Adapter protocol 1: one JSON object a line, one reply a request, ``seq`` echoed."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from attrs import frozen

from lastseat.harness.mistakes import Mistake
from lastseat.spec.vocabulary import ANSWERS, Answer, Cause, Outcome

PROTOCOL = 1


class AdapterError(Mistake):
    """The adapter itself failed: never an outcome. ``advice`` says what to do about it."""

    def __init__(self, words: str, advice: str = "") -> None:
        super().__init__(f"{words}\n  what to do: {advice}" if advice else words)
        self.advice = advice


@frozen
class Start:
    """What an adapter says of the implementation behind it."""

    name: str
    language: str
    mechanism: str
    promises: frozenset[str]
    ids: str
    bookings_sql: str
    booked_sql: str | None


@frozen
class Raised:
    """An exception that escaped an attempt: a programming error, or a cancelled attempt."""

    message: str
    in_doubt: bool


def encode(seq: int, cmd: str, **fields: object) -> bytes:
    """One request line."""
    return msgspec.json.encode({"seq": seq, "cmd": cmd, **fields}) + b"\n"


def decode(line: bytes, seq: int) -> dict[str, Any]:
    """One reply line to request ``seq``; raises AdapterError."""
    try:
        reply = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AdapterError(
            f"a reply that is not JSON ({error}): {quoted(line)}",
            "print each reply as JSON in one line of standard output, and nothing else there;"
            " logs go to standard error",
        ) from error
    if not isinstance(reply, dict) or reply.get("seq") != seq:
        raise AdapterError(
            f"a reply without the seq {seq} of its request: {quoted(line)}",
            "answer every request once, in order, and copy its seq into the reply",
        )
    if "errored" in reply:
        raise AdapterError(
            f"the adapter says: {_message(reply, 'errored')}",
            "errored is for an adapter that cannot do its part;"
            " what the use case throws at its caller is raised",
        )
    if ("result" in reply) == ("raised" in reply):
        raise AdapterError(
            f"a reply with not one of result and raised: {quoted(line)}",
            "say what came of it as result; what the use case throws at its caller, as raised",
        )
    return reply


def read_start(result: Any) -> Start:
    """The result of ``start``; raises AdapterError."""
    try:
        return Start(
            name=_field(result["implementation"], "name", str),
            language=_field(result["implementation"], "language", str, ""),
            mechanism=_field(result, "mechanism", str, ""),
            promises=frozenset(_field(result, "promises", list, [])),
            ids=_field(result, "ids", Literal["text", "uuid", "integer"], "text"),
            bookings_sql=_field(result["audit"], "bookings", str),
            booked_sql=_field(result["audit"], "booked", str | None, None),
        )
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise AdapterError(f"the result of start is not right ({_why(error)}): {result}") from error


def read_attempt(reply: dict[str, Any]) -> Answer | Raised:
    """The reply to ``attempt``; raises AdapterError."""
    if "raised" in reply:
        doubt = _in_doubt(reply["raised"])
        return Raised(_message(reply, "raised"), doubt)
    result = reply["result"]
    try:
        cause = result.get("cause")
        answer = Answer(
            Outcome(result["outcome"]),
            Cause(cause) if cause is not None else None,
            _in_doubt(result),
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise AdapterError(f"not an outcome: {result}") from error
    if answer not in ANSWERS:
        raise AdapterError(f"cause and doubt do not fit the outcome: {result}")
    return answer


def quoted(line: bytes) -> str:
    """A line as it was received, for a message about it."""
    return repr(line[:300].decode("utf-8", "replace"))


_REQUIRED: Any = object()


def _field(holder: Any, name: str, kind: Any, default: Any = _REQUIRED) -> Any:
    """A field of that type; raises KeyError or ValidationError, which name it."""
    if name not in holder and default is not _REQUIRED:
        return default
    try:
        return msgspec.convert(holder[name], kind)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{name}: {error}") from error


def _why(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _in_doubt(holder: Any) -> bool:
    doubt = holder.get("in_doubt", False) if isinstance(holder, dict) else False
    if not isinstance(doubt, bool):
        raise AdapterError(f"in_doubt must be true or false, not {doubt!r}")
    return doubt


def _message(reply: dict[str, Any], kind: str) -> str:
    value = reply[kind]
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        return str(value["message"])
    raise AdapterError(f"{kind} without a message: {value!r}")
