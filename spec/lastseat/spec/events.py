"""Recorded events: what a history is made of, and when a sequence of events is one.

The lines of a file carry ``at``, a logical time that never decreases. Events of one instant are
concurrent, audits and fences among them, and the order of their lines convicts nothing: an attempt
precedes another one only if it was emitted at an instant before the other's invocation. ``ms`` is a
monotonic time in milliseconds, where the recorder has one.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import define, field, frozen

from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import Answer, Request

FORMAT = "lastseat-history/1"

Rows = tuple[tuple[str, int], ...]
"""Booking ids and units as they were read, in a list: two rows of one id can be told apart."""


class Evidence(enum.Enum):
    """Which evidence a recorder records completely. What it did not record convicts nobody."""

    FAULTS = "faults"
    """``fault`` lines: every disturbance of the environment."""

    SERVER = "server"
    """``seen`` lines: every error, loss or refusal that reached an attempt."""

    COMMITS = "commits"
    """``commit-sent`` lines: all that the attempts sent was watched for commits."""


class What(enum.Enum):
    """What reached an attempt."""

    ERROR = "error"
    """The server answered with an error, and the connection lived on: a definite answer."""

    LOST = "lost"
    """The connection ended; ``sqlstate`` is that of the fatal message, if there was one."""

    REFUSED = "refused"
    """No connection was made, because the other side refused it."""

    DEADLINE = "deadline"
    """A deadline expired, or an answer did not come and the client gave up waiting for it."""

    EXHAUSTED = "exhausted"
    """There was no connection to be had."""


class Phase(enum.Enum):
    """When in the attempt's life something reached it."""

    CONNECT = "connect"
    """Before its first own statement: a dead connection may still be replaced by another one."""

    STATEMENT = "statement"

    COMMIT = "commit"
    """In answer to its commit. An ERROR without ``sqlstate`` is a COMMIT answered ROLLBACK."""

    CLEANUP = "cleanup"
    """After the answer that decided it, while it rolled back or gave its connection back."""

    CALLER = "caller"
    """The caller gave it up: with DEADLINE, the attempt was cancelled from outside."""


def _frozen_mapping(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@frozen
class Header:
    """What is known of the run beforehand: the resources with prior bookings, what was recorded.

    ``deadline_ms`` and ``grace_ms`` bound the time from an invocation to its emission; it is judged
    where both are declared. An attempt that took ``deadline_ms`` by its ``ms`` has met its
    deadline, whether or not it is recorded as seen. ``promises`` are those of the mechanism under
    test.
    """

    resources: Mapping[str, Resource] = field(converter=_frozen_mapping)
    observed: frozenset[Evidence] = frozenset({Evidence.FAULTS})
    promises: frozenset[str] = frozenset()
    deadline_ms: float | None = None
    grace_ms: float | None = None


@frozen
class Invoke:
    """An attempt begins."""

    at: int
    attempt: str
    client: str
    request: Request
    ms: float | None = None


@frozen
class Emit:
    """An attempt ends with an answer."""

    at: int
    attempt: str
    answer: Answer
    ms: float | None = None


@frozen
class Raise:
    """An attempt ends with an exception: a programming error, or it was cancelled."""

    at: int
    attempt: str
    message: str
    in_doubt: bool
    ms: float | None = None


@frozen
class Seen:
    """Something other than success reached an attempt.

    At the instant of one of its commits it is the answer to it only if ``phase`` says so.
    """

    at: int
    attempt: str
    what: What
    sqlstate: str | None = None
    phase: Phase | None = None
    ms: float | None = None


@frozen
class CommitSent:
    """The client sent the attempt's commit, with a write of its booking: from here on its effect is
    possible. Recorded before it is passed on to the server."""

    at: int
    attempt: str
    ms: float | None = None


@frozen
class Fault:
    """A disturbance of the environment, from the instant ``start`` to ``end`` (None: for ever).

    It concerns one ``client`` or, without one, all of them. It lasts until the connection that it
    broke is closed or replaced. One fault stands for one broken connection of each client that it
    concerns; a recorder writes as many as there are.
    """

    kind: str
    start: int
    end: int | None = None
    client: str | None = None
    at: int | None = None
    ms: float | None = None


@frozen
class Fence:
    """The proof that an attempt's server process is gone and can do nothing more.

    It may come before the attempt's commit is sent, or before its answer.
    """

    at: int
    attempt: str
    ms: float | None = None


@frozen
class Audit:
    """The bookings of a resource in one snapshot while the run goes on, and its counter, if any.

    ``at`` is the moment of the snapshot itself: the recorder writes down no other event between the
    one and the other.
    """

    at: int
    resource_id: str
    bookings: Rows
    booked: int | None = None
    ms: float | None = None


@frozen
class Final:
    """The bookings of a resource after every server process has ended or was fenced."""

    resource_id: str
    bookings: Rows
    booked: int | None = None


@frozen
class End:
    """The recorder ended in order. Without it a missing emission may be a truncated recording."""

    at: int
    ms: float | None = None


Event = Invoke | Emit | Raise | Seen | CommitSent | Fault | Fence | Audit | Final | End
"""Whatever may follow the header."""


@frozen
class History:
    """A recorded run. An attempt that neither emits nor raises is pending, and in doubt."""

    header: Header
    events: tuple[Event, ...]


class MalformedHistory(Exception):
    """This is no history; ``line`` counts from 1, ``reason`` says what is wrong with it."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class Disorder(Exception):
    """An event that cannot stand where it stands."""


def assemble(items: Iterable[Header | Event]) -> History:
    """The history that these lines make up, in the order of the file.

    Raises:
        MalformedHistory: they make up none; the line is the item's position, from 1.
    """
    number = 0
    header: Header | None = None
    events: list[Event] = []
    order = Order()
    for number, item in enumerate(items, start=1):
        try:
            if isinstance(item, Header):
                if header is not None:
                    raise Disorder("a second header")
                order.open(item)
                header = item
            elif header is None:
                raise Disorder("the first line must be the header")
            else:
                order.accept(item)
                events.append(item)
        except Disorder as disorder:
            raise MalformedHistory(number, str(disorder)) from None
    if header is None:
        raise MalformedHistory(number + 1, "there is no header")
    return History(header, tuple(events))


@define
class Order:
    """What came so far, as far as it restricts what may come next."""

    resources: set[str] = field(factory=set)
    now: int | None = None
    ended: bool = False
    invoked: set[str] = field(factory=set)
    emitted: set[str] = field(factory=set)
    final: set[str] = field(factory=set)

    def open(self, header: Header) -> None:
        """Begin with ``header``; raises Disorder if its bookings contradict each other."""
        self.resources = set(header.resources)
        ids: set[str] = set()
        for name, resource in header.resources.items():
            if resource.booked > resource.capacity:
                raise Disorder(f"the prior bookings exceed the capacity of {name}")
            for booking_id in resource.bookings:
                if booking_id in ids:
                    raise Disorder(f"booking {booking_id} is booked twice beforehand")
                ids.add(booking_id)

    def accept(self, event: Event) -> None:
        """Take ``event`` as the next one; raises Disorder if it cannot be."""
        if self.ended:
            raise Disorder("an event after the end")
        if isinstance(event, Final):
            self._read_finally(event)
        elif isinstance(event, Fault):
            if event.end is not None and event.end < event.start:
                raise Disorder("a fault that ends before it begins")
            if event.at is not None:
                self._advance(event.at)
        else:
            self._advance(event.at)
            if self.final and not isinstance(event, End):
                raise Disorder("an event after the final bookings")
            self._place(event)

    def accepts(self, event: Event) -> bool:
        """Take ``event`` as the next one, if it can be."""
        try:
            self.accept(event)
        except Disorder:
            return False
        return True

    def _advance(self, at: int) -> None:
        if self.now is not None and at < self.now:
            raise Disorder(f"time runs backwards, from {self.now} to {at}")
        self.now = at

    def _place(self, event: Event) -> None:
        match event:
            case Invoke(attempt=attempt):
                if attempt in self.invoked:
                    raise Disorder(f"attempt {attempt} is invoked twice")
                self.invoked.add(attempt)
            case Emit(attempt=attempt) | Raise(attempt=attempt):
                self._known(attempt)
                if attempt in self.emitted:
                    raise Disorder(f"attempt {attempt} ends twice")
                self.emitted.add(attempt)
            case Seen(attempt=attempt) | CommitSent(attempt=attempt) | Fence(attempt=attempt):
                self._known(attempt)
            case Audit(resource_id=resource_id):
                self._declared(resource_id)
            case End():
                self.ended = True

    def _read_finally(self, event: Final) -> None:
        self._declared(event.resource_id)
        if event.resource_id in self.final:
            raise Disorder(f"the final bookings of {event.resource_id} appear twice")
        self.final.add(event.resource_id)

    def _known(self, attempt: str) -> None:
        if attempt not in self.invoked:
            raise Disorder(f"attempt {attempt} is not invoked before")

    def _declared(self, resource_id: str) -> None:
        if resource_id not in self.resources:
            raise Disorder(f"resource {resource_id} is not in the header")
