"""Partial-order reduction: of schedules that differ in the order of independent moves only, one.

Source-DPOR (Abdulla, Aronis, Jonsson, Sagonas: Optimal dynamic partial order reduction, 2014) with
sleep sets. A schedule is run to its end. Every two of its moves that race, that is, depend on each
other with nothing in between that orders them, could have come the other way round: the state
before the first of them is noted as one where the second one's client, or who led to it, should go
instead. A client *sleeps* where all that could follow from its going has been, or will be, run from
elsewhere.

Nothing is run here: a ``Tree`` says which prefix to run next, and is told what came of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

from attrs import Factory, define, field, frozen

from lastseat.harness.schedule.footprint import Footprint, dependent

Place = tuple[str, tuple[str, ...]]
Way = tuple[Place, ...]
"""A state, told by how it was reached."""


@frozen
class Event:
    """A move of one client, as it was made: an attempt's start goes with its first turn."""

    client: str
    touched: Footprint
    words: str = ""
    """The turn that was sent."""
    woke: frozenset[str] = frozenset()
    """Clients that had waited for a lock, and that this move let go on."""
    then: tuple[str, ...] = ()
    """Who could go afterwards. The server chooses who of several is woken, and whom a deadlock
    hits: where it chose otherwise, there is another state."""

    @property
    def place(self) -> Place:
        """A step of the way to the state that it led to."""
        return self.client, self.then


@frozen
class Made:
    """One event of a trace, and what else could have been done in its place."""

    event: Event
    enabled: tuple[str, ...]
    asleep: Mapping[str, Event]
    """Who slept there, each with the event that would have been his."""


@frozen
class Task:
    """A prefix to run: on this way, then ``client`` goes, and then these sleep.

    Without a client: whoever can go.
    """

    way: Way = ()
    client: str | None = None
    asleep: Mapping[str, Event] = field(factory=dict)


@frozen
class Trace:
    """What came of a task. ``complete``: did all attempts end before everybody slept?"""

    made: tuple[Made, ...]
    complete: bool


def wake(asleep: Mapping[str, Event], event: Event) -> dict[str, Event]:
    """Who still sleeps when this has happened: those whom it cannot concern."""
    return {
        client: other
        for client, other in asleep.items()
        if client != event.client
        and client not in event.woke
        and event.client not in other.woke
        and not dependent(event.touched, other.touched)
    }


@define
class _Node:
    """A state: the clients that were or are to be sent on from here, in the order of sending."""

    enabled: tuple[str, ...]
    asleep: Mapping[str, Event]
    chosen: dict[str, Event | None] = Factory(dict)
    """Each with its event, once that is known."""
    sent: set[str] = Factory(set)
    """Those that are being run, or were."""

    @property
    def waiting(self) -> list[str]:
        """Those that are still to be sent on."""
        return [c for c in self.chosen if c not in self.sent and c not in self.asleep]


@define
class Tree:
    """All that is known of the schedules of one scenario. Tasks may be run side by side."""

    edges: set[tuple[str, str]] = Factory(set)
    """Turns that were found to race with each other."""
    forks: set[tuple[Way, str]] = Factory(set)
    """Moves that led to different states, since the server chose differently."""
    _nodes: dict[Way, _Node] = Factory(dict)
    _open: dict[Way, None] = Factory(dict)
    """Where somebody is still to be sent on."""
    _begun: bool = False

    def next(self) -> Task | None:
        """A task that can be begun now, the deepest first; None: none, or not yet."""
        if not self._begun:
            self._begun = True
            return Task()
        for way in reversed(self._open):
            task = self._task(way)
            if task is not None:
                if not self._nodes[way].waiting:
                    del self._open[way]
                return task
        return None

    @property
    def remaining(self) -> int:
        """How many prefixes are known to be needed that were not begun."""
        return sum(len(self._nodes[way].waiting) for way in self._open)

    def _task(self, way: Way) -> Task | None:
        node = self._nodes[way]
        asleep = dict(node.asleep)
        for client, event in node.chosen.items():
            if client in node.waiting:
                node.sent.add(client)
                return Task(way, client, asleep)
            if client in asleep:
                continue
            if event is None:
                return None  # who goes after him must know what he did, to let him sleep
            asleep[client] = event
        return None

    def again(self, task: Task) -> None:
        """It could not be brought about: give it out once more."""
        if task.client is not None:
            self._nodes[task.way].sent.discard(task.client)
            self._open[task.way] = None

    def give_up(self, task: Task) -> None:
        """It cannot be brought about."""
        if task.client is not None:
            del self._nodes[task.way].chosen[task.client]

    def take(self, task: Task, trace: Trace) -> bool:
        """Learn from the trace that came of a task; False if it went another way."""
        ways = list(itertools.accumulate(((made.event.place,) for made in trace.made), initial=()))
        known = 0
        while known < len(task.way) and ways[known + 1 : known + 2] == [task.way[: known + 1]]:
            known += 1
        for at in range(known, len(trace.made)):
            self._learn(ways[at], trace.made[at])
        events = [made.event for made in trace.made]
        before = happens_before(events)
        for second in range(known, len(events)):
            for first in _racing(events, before, second):
                self.edges.add((events[first].words, events[second].words))
                self._reverse(ways[first], events, before, first, second)
        went = [made.event.client for made in trace.made[known:]]
        return known == len(task.way) and task.client in {None, *went[:1]}

    def _learn(self, way: Way, made: Made) -> None:
        node = self._nodes.setdefault(way, _Node(made.enabled, made.asleep))
        client = made.event.client
        before = node.chosen.get(client)
        if before is not None and before.then != made.event.then:
            self.forks.add((way, client))
        else:
            node.chosen[client] = made.event
        node.sent.add(client)

    def _reverse(
        self,
        way: Way,
        events: Sequence[Event],
        before: Sequence[frozenset[int]],
        first: int,
        second: int,
    ) -> None:
        """See to it that from before ``first`` somebody goes who leads to ``second`` without it."""
        node = self._nodes[way]
        path = [at for at in range(first + 1, second) if first not in before[at]]
        path.append(second)
        initials = [
            events[at].client for at in path if not any(other in before[at] for other in path)
        ]
        if any(client in node.chosen or client in node.asleep for client in initials):
            return
        able = [client for client in initials if client in node.enabled]
        if able:
            node.chosen[able[0]] = None
            self._open[way] = None


def happens_before(events: Sequence[Event]) -> list[frozenset[int]]:
    """For each event those that must come before it, since each depends on the one before."""
    before: list[frozenset[int]] = []
    for at, event in enumerate(events):
        found: set[int] = set()
        for earlier in range(at - 1, -1, -1):
            if earlier not in found and _ordered(events[earlier], event):
                found |= {earlier, *before[earlier]}
        before.append(frozenset(found))
    return before


def _ordered(earlier: Event, later: Event) -> bool:
    return (
        earlier.client == later.client
        or later.client in earlier.woke
        or earlier.client in later.woke
        or dependent(earlier.touched, later.touched)
    )


def _racing(
    events: Sequence[Event], before: Sequence[frozenset[int]], second: int
) -> Iterator[int]:
    """The events that race with this one: it depends on them, and on nothing that follows them."""
    event = events[second]
    for first in sorted(before[second], reverse=True):
        other = events[first]
        if other.client == event.client or event.client in other.woke:
            continue
        between = (at for at in before[second] if at > first)
        if _ordered(other, event) and not any(first in before[at] for at in between):
            yield first
