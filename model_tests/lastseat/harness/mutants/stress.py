"""Free-running threads, as a stress test has them: would they have found it, in the same time?

The implementation is asked directly, past the gate: nobody orders anything, nothing fails. What the
threads were answered and what is booked in the end is judged by the same model.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import define, field, frozen

from lastseat.harness.asking import Asking
from lastseat.harness.implementations.host import Host
from lastseat.harness.implementations.protocol import PROTOCOL, Raised, read_attempt, read_start
from lastseat.harness.judge.audit import Auditor
from lastseat.harness.stage import DEADLINE_MS
from lastseat.spec import events, legality
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import Request

THREADS = 32
_CAPACITY = 20
_IDS = 24  # of so many threads some ask for the same booking


@frozen
class Stressed:
    """How many rounds it took, in which every thread makes one attempt, and what they broke."""

    rounds: int
    seconds: float
    rules: tuple[str, ...]


def stress(factory: str, dsn: str, seconds: float) -> Stressed:
    """Let threads run for so many seconds, or until the model objects."""
    hosts = [Host(factory) for _ in range(THREADS)]
    try:
        declared = read_start(hosts[0].reply({"cmd": "start", "protocol": PROTOCOL})["result"])
        hosts[0].reply({"cmd": "prepare", "dsn": dsn})
        for host in hosts:
            host.reply({"cmd": "connect", "dsn": dsn, "deadline_ms": DEADLINE_MS})
        with Asking(dsn) as asking, ThreadPoolExecutor(THREADS) as pool:
            return _rounds(hosts, dsn, Auditor(asking, declared), pool, seconds)
    finally:
        for host in hosts:
            host.end()


def _rounds(
    hosts: list[Host], dsn: str, auditor: Auditor, pool: ThreadPoolExecutor, seconds: float
) -> Stressed:
    began = time.monotonic()
    for number in itertools.count(1):
        resource = f"stress-{number}"
        asked = {"cmd": "declare", "dsn": dsn, "resource_id": resource, "capacity": _CAPACITY}
        hosts[0].reply(asked)
        one = _Round(resource)
        list(pool.map(one.attempt, range(THREADS), hosts))
        (reading,) = auditor.read([resource])
        judged = legality.judge(one.history(reading.rows, reading.booked))
        rules = tuple(sorted({violation.rule.value for violation in judged.violations}))
        took = time.monotonic() - began
        if rules or took >= seconds:
            return Stressed(number, took, rules)
    raise AssertionError


@define
class _Round:
    """What the threads did with one resource, in the order in which it was seen."""

    resource: str
    _events: list[events.Event] = field(factory=list, init=False)
    _clock: itertools.count[int] = field(factory=itertools.count, init=False)
    _order: threading.Lock = field(factory=threading.Lock, init=False)
    _together: threading.Barrier = field(init=False, factory=lambda: threading.Barrier(THREADS))

    def attempt(self, thread: int, host: Host) -> None:
        """One attempt of one thread, when all are ready."""
        booking = thread % _IDS
        request = Request(f"{self.resource}-{booking}", self.resource, 1 + booking % 2)
        name = f"thread-{thread}"
        self._together.wait()
        with self._order:
            self._events.append(events.Invoke(next(self._clock), name, name, request))
        reply = host.reply(_asking(request))
        with self._order:
            self._events.append(_ended(next(self._clock), name, reply))

    def history(self, rows: events.Rows, booked: int | None) -> events.History:
        """What a judge reads."""
        resources = {self.resource: Resource(_CAPACITY)}
        final = events.Final(self.resource, rows, booked)
        end = events.End(next(self._clock))
        header = events.Header(resources, frozenset())
        return events.History(header, (*self._events, final, end))


def _asking(request: Request) -> Mapping[str, Any]:
    return {
        "cmd": "attempt",
        "booking_id": request.booking_id,
        "resource_id": request.resource_id,
        "requested_units": request.requested_units,
    }


def _ended(at: int, name: str, reply: dict[str, Any]) -> events.Event:
    told = read_attempt(reply)
    if isinstance(told, Raised):
        return events.Raise(at, name, told.message, told.in_doubt)
    return events.Emit(at, name, told)
