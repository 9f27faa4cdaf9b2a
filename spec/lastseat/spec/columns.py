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
    Phase,
    Raise,
    Seen,
    What,
)
from lastseat.spec.record import BEFORE, NEVER
from lastseat.spec.vocabulary import ANSWERS, Answer, Request

NONE = 0
"""In place of an answer: the attempt is pending, or it raised."""

CODES = {answer: code for code, answer in enumerate(ANSWERS, start=1)}
"""Each answer as a small number."""

Note = Raise | Seen | CommitSent | Fence

Report = tuple[What, str | None, Phase | None]
"""What reached some attempt at some time: ``what``, ``sqlstate`` and ``phase`` of a ``Seen``."""


class Irregular(Exception):
    """The event cannot stand where it stands; an ``Order`` says why."""


@define(eq=False, slots=False)
class Columns:
    """A history that grows event by event.

    ``add`` takes any event. Who has the lines of a file may fill the columns without it, and leaves
    them as ``add`` would: see ``batches`` in the harness.
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

    seen: dict[int, tuple[int, int, float | None]] = field(factory=dict)
    """Of an attempt that saw one thing, of which nothing else is said beyond the columns and which
    sent no commit: when, the place of what it saw in ``reports``, and when in milliseconds."""
    reports: list[Report] = field(factory=list)
    """Few things are seen again and again: each is kept once."""
    notes: dict[int, list[Note]] = field(factory=dict)
    """What is said of any other attempt beyond the columns, in its order: all if it is more than
    one commit. The commit of the column is repeated here."""
    times: dict[int, tuple[float | None, float | None]] = field(factory=dict)
    """When in milliseconds it began and ended, for those whose deadline had expired by then."""
    faults: list[Fault] = field(factory=list)
    audits: list[Audit] = field(factory=list)
    finals: dict[str, Final] = field(factory=dict)
    end: End | None = None

    now: float = field(default=BEFORE, init=False)
    """The latest instant so far."""
    closed: bool = field(default=False, init=False)
    """No more attempts: the final bookings or the end have come."""
    limit: float | None = field(default=None, init=False)
    """After how many milliseconds the deadline of an attempt expires, if that is declared."""
    begun_ms: list[float | None] = field(factory=list, init=False)
    """When in milliseconds each attempt began, if there is a limit."""
    shared: dict[str, str] = field(factory=dict, init=False)
    """Clients and resources are few, and named again and again: each name is kept once."""

    def __attrs_post_init__(self) -> None:
        self.limit = self.header.deadline_ms

    def index(self) -> Columns:
        """Look up the attempts of each id, now that the history is complete."""
        _ = self.again
        return self

    @cached_property
    def _ids(self) -> tuple[dict[str, int], list[int]]:
        of_id: dict[str, int] = {}
        return of_id, list(map(of_id.setdefault, self.booking_ids, range(len(self))))

    @property
    def of_id(self) -> dict[str, int]:
        """The first attempt of each booking id."""
        return self._ids[0]

    @property
    def firsts(self) -> list[int]:
        """The first attempt of the same id, for each attempt."""
        return self._ids[1]

    @cached_property
    def again(self) -> list[int]:
        """The attempts that were not the first of their ids."""
        return [number for number, first in enumerate(self.firsts) if first != number]

    def __len__(self) -> int:
        return len(self.invoked)

    def add(self, event: Event) -> None:
        """Make ``event`` the next one.

        Raises:
            Irregular: it cannot be; nothing has changed.
        """
        match event:
            case Invoke():
                self._invoke(event)
            case Emit(answer=answer):
                number = self._end(event)
                self.answers[number] = CODES[answer]
            case Raise():
                self._note(self._end(event), event)
            case CommitSent():
                self._commit(event)
            case Seen():
                self._see(event)
            case Fence():
                self._note(self.number_of(event.attempt, event.at), event)
            case _:
                self._add_other(event)

    def _invoke(self, event: Invoke) -> None:
        if event.at < self.now or self.closed or event.attempt in self.numbers:
            raise Irregular
        self.now = event.at
        request = event.request
        self.numbers[event.attempt] = len(self)
        self.clients.append(self.shared.setdefault(event.client, event.client))
        self.resources.append(self.shared.setdefault(request.resource_id, request.resource_id))
        self.booking_ids.append(request.booking_id)
        self.units.append(request.requested_units)
        self.invoked.append(event.at)
        self.ended.append(NEVER)
        self.answers.append(NONE)
        self.commits.append(None)
        if self.limit is not None:
            self.begun_ms.append(event.ms)

    def _end(self, event: Emit | Raise) -> int:
        number = self.numbers.get(event.attempt)
        if number is None or self.ended[number] != NEVER or event.at < self.now or self.closed:
            raise Irregular
        self.now = event.at
        self.ended[number] = event.at
        if self.limit is not None:
            self.took(number, event.ms)
        return number

    def took(self, number: int, ms: float | None) -> None:
        """Note when an attempt ended, if its deadline had expired by then."""
        began = self.begun_ms[number]
        if began is None or ms is None or self.limit is None:
            return
        if ms - began >= self.limit:
            self.times[number] = began, ms

    def number_of(self, attempt: str, at: int) -> int:
        """The number of an attempt of which the next event speaks.

        Raises:
            Irregular: there is no such attempt, or it is too late, or too early, for events.
        """
        number = self.numbers.get(attempt)
        if number is None or at < self.now or self.closed:
            raise Irregular
        self.now = at
        return number

    def untold(self, number: int) -> bool:
        """Whether nothing is said of an attempt but when it began, and perhaps how it ended."""
        return self.commits[number] is None and number not in self.seen and number not in self.notes

    def _commit(self, event: CommitSent) -> None:
        number = self.number_of(event.attempt, event.at)
        if not self.untold(number):
            self._note(number, event)
        if self.commits[number] is None:
            self.commits[number] = event.at

    def _see(self, event: Seen) -> None:
        number = self.number_of(event.attempt, event.at)
        if self.untold(number):
            place = self.place((event.what, event.sqlstate, event.phase))
            self.seen[number] = event.at, place, event.ms
        else:
            self._note(number, event)

    def place(self, report: Report) -> int:
        """The place of ``report`` among the reports."""
        if report not in self.reports:
            self.reports.append(report)
        return self.reports.index(report)

    def _note(self, number: int, event: Note) -> None:
        if number not in self.notes:
            self.notes[number] = list(self._noted(number, event.attempt))
            self.seen.pop(number, None)
        self.notes[number].append(event)

    def _noted(self, number: int, name: str) -> Iterator[Note]:
        """All that is said of an attempt beyond the columns, and its commits."""
        commit = self.commits[number]
        if number in self.notes:
            yield from self.notes[number]
        elif number in self.seen:
            at, place, ms = self.seen[number]
            yield Seen(at, name, *self.reports[place], ms)
        elif commit is not None:
            yield CommitSent(commit, name)

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
                began = self.begun_ms[number]
            yield Invoke(
                self.invoked[number], name, self.clients[number], self.request(number), began
            )
            yield from self._noted(number, name)
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
