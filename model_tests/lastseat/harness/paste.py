"""A schedule as a string that can be pasted into a message, a ticket or a command."""

from __future__ import annotations

import base64
import binascii
import zlib

import msgspec

from lastseat.harness.record import MalformedSchedule, Schedule, read_schedule, to_json

PREFIX = "lastseat1."
_MOST = 10_000_000  # bytes that a string may unfold to


def pack(schedule: Schedule) -> str:
    """The schedule without what was merely observed: enough to run it again, strictly."""
    data = to_json(schedule)
    for decision in data["decisions"]:
        decision["observed"] = []
    data["scenario"]["why"] = ""
    folded = zlib.compress(msgspec.json.encode(data), 9)
    return PREFIX + base64.urlsafe_b64encode(folded).decode().rstrip("=")


def unpack(text: str) -> Schedule:
    """Read what ``pack`` wrote; raises MalformedSchedule."""
    folded = text.strip().removeprefix(PREFIX)
    try:
        raw = base64.b64decode(folded + "=" * (-len(folded) % 4), altchars=b"-_", validate=True)
        unfolding = zlib.decompressobj()
        data = unfolding.decompress(raw, _MOST)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise MalformedSchedule(f"this string is no schedule: {error}") from error
    if not unfolding.eof:
        raise MalformedSchedule("this string is no schedule, or not all of it")
    return read_schedule(data)
