"""Adapters that do one thing wrong, each as a program for ``python -c``."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from typing import Any

_LOOP = """
import json, os, signal, sys, time
for line in sys.stdin:
    request = json.loads(line)
    seq, cmd = request["seq"], request["cmd"]
    def reply(**fields):
        print(json.dumps({"seq": seq, **fields}), flush=True)
    if cmd == "attempt":
"""

_ELSE = """
    reply(result={})
"""


def adapter(attempt: str) -> tuple[str, ...]:
    """The command of an adapter that replies {} to everything but ``attempt``."""
    body = textwrap.indent(textwrap.dedent(attempt).strip() + "\ncontinue", " " * 8)
    return (sys.executable, "-c", _LOOP + body + _ELSE)


# A factory, for the host.

AUDIT = {"bookings": "SELECT 1", "booked": None}
PROMISES = ["winner"]


class Wanted:
    """Does what the booking's id says."""

    def __init__(self, dsn: str, deadline: float) -> None:
        self.dsn = dsn
        self.deadline = deadline

    def attempt_booking(self, booking_id: str, resource_id: str, units: int) -> Any:
        match booking_id:
            case "print":
                print("this is not a reply")
            case "raise":
                raise ValueError("not this one")
            case "in doubt":
                error = TimeoutError("cancelled")
                error.in_doubt = True  # type: ignore[attr-defined]
                raise error
            case "exit":
                raise SystemExit(7)
            case "object":
                return Result()
            case "coroutine":
                return self._later()
        return {"outcome": "BOOKED", "detail": f"{self.dsn} {self.deadline:g}"}

    async def _later(self) -> Mapping[str, Any]:
        return {"outcome": "REJECTED"}

    def close(self) -> None:
        pass


class Result:
    """An object in the place of a mapping."""

    outcome = "FAILED"
    cause = "INFRASTRUCTURE"
    in_doubt = True


def wanted(dsn: str, deadline_seconds: float) -> Wanted:
    """Whatever is wanted."""
    return Wanted(dsn, deadline_seconds)


def broken(dsn: str, deadline_seconds: float) -> Wanted:
    """Never to be had."""
    raise RuntimeError("it cannot be made")


def prepare(dsn: str) -> None:
    if dsn == "wrong":
        raise ConnectionError("no such database")


async def declare(dsn: str, resource_id: str, capacity: int) -> None:
    if capacity < 0:
        raise ValueError(f"{capacity} of {resource_id}")
