"""Adapter protocol 1: one JSON object a line, one reply a request, ``seq`` echoed."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import frozen

from lastseat.spec.vocabulary import ANSWERS, Answer, Cause, Outcome

PROTOCOL = 1


class AdapterError(Exception):
    """The adapter itself failed: never an outcome."""


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
    except msgspec.DecodeError as error:
        raise AdapterError(f"a reply that is not JSON ({error}): {_quoted(line)}") from error
    if not isinstance(reply, dict) or reply.get("seq") != seq:
        raise AdapterError(f"a reply without the seq {seq} of its request: {_quoted(line)}")
    if "errored" in reply:
        raise AdapterError(f"the adapter says: {_message(reply['errored'], line)}")
    if "result" not in reply and "raised" not in reply:
        raise AdapterError(f"a reply with neither result nor raised: {_quoted(line)}")
    return reply


def read_start(result: Any) -> Start:
    """The result of ``start``; raises AdapterError."""
    try:
        named, audit = result["implementation"], result["audit"]
        ids = str(result.get("ids", "text"))
        start = Start(
            name=str(named["name"]),
            language=str(named.get("language", "")),
            mechanism=str(result.get("mechanism", "")),
            promises=frozenset(result.get("promises", ())),
            ids=ids,
            bookings_sql=str(audit["bookings"]),
            booked_sql=audit["booked"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise AdapterError(f"the result of start lacks or mistypes {error}: {result}") from error
    if ids not in {"text", "uuid", "integer"}:
        raise AdapterError(f"ids must be text, uuid or integer, not {ids!r}")
    return start


def read_attempt(reply: dict[str, Any]) -> Answer | Raised:
    """The reply to ``attempt``; raises AdapterError."""
    if "raised" in reply:
        raised = reply["raised"]
        return Raised(_message(raised, b""), bool(raised.get("in_doubt", False)))
    result = reply["result"]
    try:
        cause = result.get("cause")
        answer = Answer(
            Outcome(result["outcome"]),
            Cause(cause) if cause is not None else None,
            bool(result.get("in_doubt", False)),
        )
    except (KeyError, ValueError, AttributeError) as error:
        raise AdapterError(f"not an outcome: {result}") from error
    if answer not in ANSWERS:
        raise AdapterError(f"cause and doubt do not fit the outcome: {result}")
    return answer


def _message(value: Any, line: bytes) -> str:
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        return str(value["message"])
    raise AdapterError(f"no message in {value!r} {_quoted(line)}")


def _quoted(line: bytes) -> str:
    return repr(line[:300].decode("utf-8", "replace"))
