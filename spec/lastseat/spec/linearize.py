"""Is there an order of effects that explains what was observed? A search that knows no shortcuts.

An observed history is linearizable if every attempt that took effect, and every one that was
rejected, can be given one moment within its time such that the sequential step, taken at these
moments one after the other, gives every answer, every audit, and the final bookings. Attempts in
doubt or pending may take effect or not; the other failures never do.

``legality`` decides the same by arithmetic, because nothing is ever given back. This search is
that of Wing and Gong with the memory of Lowe: it takes one possible next moment after the other,
goes back where it is stuck, and never visits the same configuration twice. It is exponential at
worst, so it has a budget, and it is what ``legality`` is compared with. It would also serve a
model in which capacity comes back, for which no such arithmetic is known.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterator, Mapping

from attrs import define, evolve, field, frozen

from lastseat.spec.events import (
    Audit,
    CommitSent,
    Emit,
    Evidence,
    Fence,
    Final,
    History,
    Invoke,
    Phase,
    Raise,
    Seen,
    What,
)
from lastseat.spec.resource import Verdict, decide
from lastseat.spec.vocabulary import BOOKED, IN_DOUBT, REJECTED, Answer, Request

NEVER = float("inf")

BUDGET = 1_000_000
"""Configurations, for each group of resources that some booking id connects."""


class Found(enum.Enum):
    """What a search came to."""

    ORDER = "an order explains everything"
    NO_ORDER = "no order explains it"
    BUDGET_SPENT = "not decided: the budget is spent"


@frozen
class Linearization:
    """What came of it, with a witness: the attempts in the order of their moments.

    If there is no order, ``witness`` is one that goes as far as any, and ``stuck`` are the attempts
    that it leaves without a moment.
    """

    found: Found
    witness: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    """Those that it was not found for, or all."""
    configurations: int = 0


@define
class _Operation:
    """An attempt that has a moment, or may have one, between ``first`` and ``last``."""

    name: str
    request: Request
    first: float
    last: float = NEVER
    answer: Answer | None = None
    """BOOKED and REJECTED need a moment; IN_DOUBT and None, for pending, may have one."""
    told: list[CommitSent | Seen] = field(factory=list)
    commits: list[int] = field(factory=list)
    """When it sent a commit that was not refused."""
    fence: float = NEVER
    idle: bool = False
    """It never takes effect and shows nothing of the bookings: it has no moment."""

    @property
    def needed(self) -> bool:
        return self.answer in (BOOKED, REJECTED)

    def end(self, event: Emit | Raise) -> None:
        """It emits its answer, or raises."""
        self.last = event.at
        self.answer = event.answer if isinstance(event, Emit) else IN_DOUBT
        if isinstance(event, Raise):
            self.idle = not event.in_doubt
        else:
            self.idle = event.answer not in (BOOKED, REJECTED, IN_DOUBT)

    def hear(self, event: CommitSent | Seen | Fence) -> None:
        """What becomes of its commits, and of its server process."""
        if isinstance(event, Fence):
            self.fence = min(self.fence, event.at)
        else:
            self.told.append(event)

    def settle(self) -> None:
        """Keep the commits that were not refused. What it sees at the instant of a commit came
        before the commit, unless it is said to have been the answer to it."""

        def order(event: CommitSent | Seen) -> tuple[int, int]:
            if isinstance(event, CommitSent):
                return event.at, 1
            return event.at, 2 if event.phase is Phase.COMMIT else 0

        self.told.sort(key=order)
        awaited = False
        for event in self.told:
            if isinstance(event, CommitSent):
                self.commits.append(event.at)
                awaited = True
            elif event.phase is not Phase.CLEANUP:
                if awaited and event.what is What.ERROR:
                    self.commits.pop()
                awaited = False


@frozen
class _Reading:
    """The bookings of a resource at one moment."""

    name: str
    resource_id: str
    rows: tuple[tuple[str, int], ...]
    first: float

    @property
    def last(self) -> float:
        return self.first

    needed = True


_Point = _Operation | _Reading


def linearize(history: History, budget: int = BUDGET) -> Linearization:
    """Search for an order; resources that no booking id connects are searched one by one."""
    operations = _operations(history)
    readings = [
        _Reading(f"audit at {event.at}", event.resource_id, event.bookings, event.at)
        for event in history.events
        if isinstance(event, Audit)
    ]
    finals = {event.resource_id: event for event in history.events if isinstance(event, Final)}
    witness: tuple[str, ...] = ()
    configurations = 0
    undecided: tuple[str, ...] = ()
    for names in _groups(history, operations):
        search = _Search(
            history,
            [
                *(each for each in operations if each.request.resource_id in names),
                *(each for each in readings if each.resource_id in names),
            ],
            {name: final for name, final in finals.items() if name in names},
            budget,
        )
        result = search.run(names)
        configurations += result.configurations
        if result.found is Found.NO_ORDER:
            return result
        if result.found is Found.BUDGET_SPENT:
            undecided += result.resources
        witness += result.witness
    found = Found.BUDGET_SPENT if undecided else Found.ORDER
    return Linearization(found, witness, (), undecided, configurations)


def _operations(history: History) -> list[_Operation]:
    """The attempts that have a moment or may have one."""
    by_name: dict[str, _Operation] = {}
    for event in history.events:
        if isinstance(event, Invoke):
            by_name[event.attempt] = _Operation(event.attempt, event.request, event.at)
        elif isinstance(event, Emit | Raise):
            by_name[event.attempt].end(event)
        elif isinstance(event, CommitSent | Seen | Fence):
            by_name[event.attempt].hear(event)
    for operation in by_name.values():
        operation.settle()
        if operation.answer is None or operation.answer == IN_DOUBT:
            operation.last = operation.fence
    return [each for each in by_name.values() if not each.idle]


def _groups(history: History, operations: list[_Operation]) -> list[frozenset[str]]:
    """The resources, those together that one booking id was asked for on."""
    group = {name: frozenset({name}) for name in history.header.resources}
    asked: dict[str, set[str]] = defaultdict(set)
    for name, resource in history.header.resources.items():
        for booking_id in resource.bookings:
            asked[booking_id].add(name)
    for operation in operations:
        asked[operation.request.booking_id].add(operation.request.resource_id)
    for names in asked.values():
        joined = frozenset().union(*(group.get(name, frozenset({name})) for name in names))
        group.update(dict.fromkeys(joined, joined))
    return list(dict.fromkeys(group.values()))


@frozen
class _Configuration:
    """Which points have had their moment, what is booked, and how late it is."""

    done: frozenset[int]
    booked: frozenset[Request]
    now: float = -NEVER


@define
class _Search:
    """One group of resources."""

    history: History
    points: list[_Point]
    finals: Mapping[str, Final]
    budget: int
    met: set[_Configuration] = field(factory=set)
    best: tuple[int, ...] = ()

    def run(self, names: frozenset[str]) -> Linearization:
        """Depth first, on a stack of our own: histories are longer than Python's."""
        start = self._settle(_Configuration(frozenset(), self._prior(names)), ())
        stack = [iter([start])]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            configuration, order = step
            if configuration in self.met:
                continue
            self.met.add(configuration)
            if len(order) > len(self.best):
                self.best = order
            if self._complete(configuration):
                return self._result(Found.ORDER, order, names)
            if len(self.met) >= self.budget:
                return self._result(Found.BUDGET_SPENT, self.best, names)
            stack.append(self._next(configuration, order))
        return self._result(Found.NO_ORDER, self.best, names)

    def _prior(self, names: frozenset[str]) -> frozenset[Request]:
        return frozenset(
            Request(booking_id, name, units)
            for name, resource in self.history.header.resources.items()
            if name in names
            for booking_id, units in resource.bookings.items()
        )

    def _result(self, found: Found, order: tuple[int, ...], names: frozenset[str]) -> Linearization:
        witness = tuple(self.points[index].name for index in order)
        stuck: tuple[str, ...] = ()
        if found is Found.NO_ORDER:
            left = (p for index, p in enumerate(self.points) if index not in set(order))
            stuck = tuple(point.name for point in left if point.needed)
        return Linearization(found, witness, stuck, tuple(sorted(names)), len(self.met))

    def _complete(self, configuration: _Configuration) -> bool:
        """Everything that needs a moment has had it, and the rest is as it was read."""
        if any(p.needed and i not in configuration.done for i, p in enumerate(self.points)):
            return False
        return all(
            _holds(configuration.booked, name, final.bookings)
            for name, final in self.finals.items()
        )

    def _next(
        self, configuration: _Configuration, order: tuple[int, ...]
    ) -> Iterator[tuple[_Configuration, tuple[int, ...]]]:
        """Everything that can have the next moment."""
        remaining = [
            (index, point)
            for index, point in enumerate(self.points)
            if index not in configuration.done
        ]
        # Whatever comes next must leave time for all that still need a moment.
        latest = min((point.last for _, point in remaining if point.needed), default=NEVER)
        for index, point in remaining:
            moment = max(configuration.now, point.first)
            if moment > min(point.last, latest):
                continue
            after = self._take(configuration, index, point, moment)
            if after is not None and after.now <= latest:
                yield self._settle(after, (*order, index))

    def _take(
        self, configuration: _Configuration, index: int, point: _Point, moment: float
    ) -> _Configuration | None:
        """The configuration after ``point`` at ``moment``, or None if it contradicts it."""
        done = configuration.done | {index}
        booked = configuration.booked
        if isinstance(point, _Reading):
            if not _holds(booked, point.resource_id, point.rows):
                return None
            return _Configuration(done, booked, moment)
        verdict = self._decide(booked, point.request)
        if verdict.answer != (REJECTED if point.answer == REJECTED else BOOKED):
            return None
        if verdict is not Verdict.FITS:
            # In doubt and without effect is the same as having had no moment.
            return _Configuration(done, booked, moment) if point.needed else None
        last = min(point.last, point.fence)
        if Evidence.COMMITS in self.history.header.observed:
            moment = max(moment, next((at for at in point.commits if at <= last), NEVER))
        if moment > last or moment == NEVER:
            return None
        return _Configuration(done, booked | {point.request}, moment)

    def _decide(self, booked: frozenset[Request], request: Request) -> Verdict:
        """The sequential step; what it raises an exception for is answered by no outcome."""
        name = request.resource_id
        resource = self.history.header.resources.get(name)
        if resource is None or request.requested_units < 1:
            return Verdict.INCONSISTENT
        own = [each for each in booked if each.booking_id == request.booking_id]
        return decide(
            resource.capacity,
            sum(each.requested_units for each in booked if each.resource_id == name),
            next((each.requested_units for each in own if each.resource_id == name), None),
            any(each.resource_id != name for each in own),
            request.requested_units,
        )

    def _settle(
        self, configuration: _Configuration, order: tuple[int, ...]
    ) -> tuple[_Configuration, tuple[int, ...]]:
        """Give their moments to all that can have them now and change nothing.

        An answer that is true now may not be true later; taking it takes nothing from the others.
        """
        for index, point in enumerate(self.points):
            if index in configuration.done or not point.needed or point.first > configuration.now:
                continue
            if point.last < configuration.now:
                continue
            after = self._take(configuration, index, point, configuration.now)
            if after is not None and after.booked == configuration.booked:
                configuration, order = evolve(after, now=configuration.now), (*order, index)
        return configuration, order


def _holds(booked: frozenset[Request], name: str, rows: tuple[tuple[str, int], ...]) -> bool:
    """Whether exactly these rows are booked on a resource."""
    held = sorted((r.booking_id, r.requested_units) for r in booked if r.resource_id == name)
    return held == sorted(rows)
