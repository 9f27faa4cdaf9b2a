"""A history in columns: what ``record`` says of attempts in objects, for a million of them.

Each column has one entry for each attempt, in the order of their invocations; an attempt's place
in them is its *number*. What is said of few attempts only is kept beside the columns. Nothing is
lost that a judge looks at, so that the events of any attempts can be had back: see ``events_of``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from attrs import define, field

from lastseat.spec.events import (
    Audit,
    CommitSent,
    Emit,
    End,
    Event,
    Fault,
    Fence,
    Final,
    Header,
    History,
    Invoke,
    Order,
    Raise,
    Seen,
)
from lastseat.spec.record import BEFORE, NEVER
from lastseat.spec.vocabulary import ANSWERS, Answer, Request

NONE = 0
"""In place of an answer: the attempt is pending, or it raised."""

CODES = {answer: code for code, answer in enumerate(ANSWERS, start=1)}
"""Each answer as a small number."""

Note = Raise | Seen | CommitSent | Fence


class Irregular(Exception):
    """The event cannot stand where it stands; an ``Order`` says why."""


@define(eq=False, slots=False)
class Columns:
    """A history that grows event by event.

    Every method that takes one raises Irregular, and changes nothing, if it cannot come next.
    """

    header: Header
    numbers: dict[str, int] = field(factory=dict)
    """The number of each attempt, by its name."""
    clients: list[str] = field(factory=list)
    booking_ids: list[str] = field(factory=list)
    resources: list[str] = field(factory=list)
    units: list[int] = field(factory=list)
    invoked: list[int] = field(factory=list)
    ended: list[float] = field(factory=list)
    """``NEVER`` while it is pending."""
    answers: bytearray = field(factory=bytearray)
    """The codes of what they emitted, or ``NONE``."""
    commits: list[int | None] = field(factory=list)
    """When it first sent a commit."""

    notes: dict[int, list[Note]] = field(factory=dict)
    """What is said of an attempt beyond the columns, in its order: all if it is more than one
    commit. The commit of the column is repeated here."""
    times: dict[int, tuple[float | None, float | None]] = field(factory=dict)
    """When in milliseconds it began and ended, for those that may have taken too long."""
    faults: list[Fault] = field(factory=list)
    audits: list[Audit] = field(factory=list)
    finals: dict[str, Final] = field(factory=dict)
    end: End | None = None

    now: float = field(default=BEFORE, init=False)
    """The latest instant so far."""
    closed: bool = field(default=False, init=False)
    """No more attempts: the final bookings or the end have come."""
    limit: float | None = field(default=None, init=False)
    """How many milliseconds an attempt may take, if that is judged."""
    _begun_ms: list[float | None] = field(factory=list, init=False)
    shared: dict[str, str] = field(factory=dict, init=False)
    """Clients and resources are few, and named again and again: each name is kept once."""

    def __attrs_post_init__(self) -> None:
        header = self.header
        if header.deadline_ms is not None and header.grace_ms is not None:
            self.limit = header.deadline_ms + header.grace_ms

    def index(self) -> Columns:
        """Look up the attempts of each id, now that the history is complete."""
        _ = self.again
        return self

    @cached_property
    def of_id(self) -> dict[str, int]:
        """The first attempt of each booking id."""
        numbers = range(len(self) - 1, -1, -1)
        return dict(zip(reversed(self.booking_ids), numbers, strict=True))

    @cached_property
    def firsts(self) -> list[int]:
        """The first attempt of the same id, for each attempt."""
        return list(map(self.of_id.__getitem__, self.booking_ids))

    @cached_property
    def again(self) -> list[int]:
        """The attempts that were not the first of their ids."""
        return [number for number, first in enumerate(self.firsts) if first != number]

    def __len__(self) -> int:
        return len(self.invoked)

    def invoke(
        self,
        at: int,
        attempt: str,
        client: str,
        booking_id: str,
        resource_id: str,
        units: int,
        ms: float | None,
    ) -> None:
        """An attempt begins: see ``Invoke``."""
        if at < self.now or self.closed or attempt in self.numbers:
            raise Irregular
        self.now = at
        number = len(self.invoked)
        self.numbers[attempt] = number
        self.clients.append(self.shared.setdefault(client, client))
        self.resources.append(self.shared.setdefault(resource_id, resource_id))
        self.booking_ids.append(booking_id)
        self.units.append(units)
        self.invoked.append(at)
        self.ended.append(NEVER)
        self.answers.append(NONE)
        self.commits.append(None)
        if self.limit is not None:
            self._begun_ms.append(ms)

    def emit(self, at: int, attempt: str, code: int, ms: float | None) -> None:
        """An attempt ends with the answer of that code: see ``Emit``."""
        number = self.numbers.get(attempt)
        if number is None or self.ended[number] != NEVER or at < self.now or self.closed:
            raise Irregular
        self.now = at
        self.ended[number] = at
        self.answers[number] = code
        if self.limit is not None:
            self._took(number, ms)

    def commit_sent(self, at: int, attempt: str) -> None:
        """It sends a commit: see ``CommitSent``."""
        number = self._number(attempt, at)
        first = self.commits[number] is None
        if first:
            self.commits[number] = at
        if not first or number in self.notes:
            self._note(number, CommitSent(at, attempt))

    def note(self, event: Raise | Seen | Fence) -> None:
        """Anything else that is said of one attempt."""
        number = self._number(event.attempt, event.at)
        self._note(number, event)

    def _number(self, attempt: str, at: int) -> int:
        number = self.numbers.get(attempt)
        if number is None or at < self.now or self.closed:
            raise Irregular
        self.now = at
        return number

    def _note(self, number: int, event: Note) -> None:
        notes = self.notes.get(number)
        if notes is None:
            first = self.commits[number]
            notes = [] if first is None else [CommitSent(first, event.attempt)]
            self.notes[number] = notes
        notes.append(event)

    def _took(self, number: int, ms: float | None) -> None:
        began = self._begun_ms[number]
        if began is None or ms is None or self.limit is None:
            return
        if ms - began > self.limit:
            self.times[number] = began, ms

    def add(self, event: Event) -> None:
        """Any event, whatever its kind."""
        match event:
            case Invoke(at=at, attempt=attempt, client=client, request=request, ms=ms):
                self.invoke(
                    at,
                    attempt,
                    client,
                    request.booking_id,
                    request.resource_id,
                    request.requested_units,
                    ms,
                )
            case Emit(at=at, attempt=attempt, answer=answer, ms=ms):
                self.emit(at, attempt, CODES[answer], ms)
            case CommitSent(at=at, attempt=attempt):
                self.commit_sent(at, attempt)
            case Seen() | Fence():
                self.note(event)
            case Raise():
                self._raise(event)
            case _:
                self._add_other(event)

    def _raise(self, event: Raise) -> None:
        number = self.numbers.get(event.attempt)
        if number is not None and self.ended[number] != NEVER:
            raise Irregular
        self.note(event)
        if number is not None:
            self.ended[number] = event.at
            if self.limit is not None:
                self._took(number, event.ms)

    def _add_other(self, event: Fault | Audit | Final | End) -> None:
        """Those that are few are checked by the ``Order`` itself."""
        order = Order(set(self.header.resources), ended=self.end is not None)
        order.now = None if self.now == BEFORE else int(self.now)
        order.final = set(self.finals)
        if not order.accepts(event):
            raise Irregular
        if order.now is not None:
            self.now = order.now
        match event:
            case Fault():
                self.faults.append(event)
            case Audit():
                self.audits.append(event)
            case Final(resource_id=name):
                self.finals[name] = event
                self.closed = True
            case End():
                self.end = event
                self.closed = True

    def order(self) -> Order:
        """What came so far, to ask it why an event cannot come next."""
        return Order(
            set(self.header.resources),
            None if self.now == BEFORE else int(self.now),
            self.end is not None,
            set(self.numbers),
            {name for name, number in self.numbers.items() if self.ended[number] != NEVER},
            set(self.finals),
        )

    def request(self, number: int) -> Request:
        """What the attempt of that number asked for."""
        return Request(self.booking_ids[number], self.resources[number], self.units[number])

    def answer(self, number: int) -> Answer | None:
        """What the attempt of that number was answered."""
        code = self.answers[number]
        return None if code == NONE else ANSWERS[code - 1]

    def events_of(self, chosen: Iterable[int], names: list[str]) -> Iterator[Event]:
        """What is said of some attempts, one after the other; ``names`` are all, by number."""
        for number in chosen:
            name, answer = names[number], self.answer(number)
            began, done = self.times.get(number, (None, None))
            if self.limit is not None:
                began = self._begun_ms[number]
            yield Invoke(
                self.invoked[number], name, self.clients[number], self.request(number), began
            )
            commit = self.commits[number]
            if number in self.notes:
                yield from self.notes[number]
            elif commit is not None:
                yield CommitSent(commit, name)
            if answer is not None:
                yield Emit(int(self.ended[number]), name, answer, done)


def columns_of(history: History) -> Columns:
    """The history in columns.

    Raises:
        Irregular: an event cannot stand where it stands.
    """
    columns = Columns(history.header)
    for event in history.events:
        columns.add(event)
    return columns
