"""Was there a moment at which the units did not fit? One pass over time for all rejections.

Nothing is ever given back, so what is booked only grows, and it is greatest at every moment if each
booking takes effect at its earliest. That one schedule serves all rejections at once, each at its
emission: a rejection that finds room there finds room in every schedule. At equal instants,
bookings come before rejections.

Two things refine this. If the final bookings are unknown, each booking in doubt may have been made
or not: see ``sums``. And if an id that was REJECTED for one request exists for another, that other
booking has to wait until the rejection has had its moment. Both are exact, but for questions that
are said to be open. Their combination is not: without the final bookings, which request of an id
was the one booked is not searched for, and each that is in doubt counts in favour of rejections.
"""

from __future__ import annotations

import enum
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import define, field, frozen

from lastseat.spec.record import NEVER, Attempt, Claim, Record
from lastseat.spec.sums import Totals
from lastseat.spec.vocabulary import Outcome


class Lack(enum.Enum):
    """Why a rejection is not borne out."""

    UNITS = "what could have been booked at most is too little"
    CHOICE = "it would do, yet the rejections before and the capacity leave no total that does"
    OPEN = "the choices among bookings in doubt are too many to tell"


@frozen
class Shortfall:
    """A rejection for which there was room at every moment.

    ``most`` is what could have been booked at most by its last moment.
    """

    attempt: Attempt
    most: int
    lack: Lack = Lack.UNITS


@frozen
class Open:
    """Whether there was room for rejections on a resource was too much to find out."""

    resource_id: str

    def __str__(self) -> str:
        return (
            f"REJECTED: the bookings in doubt on {self.resource_id} are so many, and of such "
            "different sizes, that not every choice among them was looked at"
        )


@frozen
class Overdue:
    """A booking that waits for rejections of its id longer than it can."""

    claim: Claim
    rejection: Attempt


Timed = tuple[float, int]
"""An instant and units."""

Found = tuple[int, int, Lack]
"""The position of a rejection, what could have been booked by then at most, and what is wrong."""

Step = tuple[float, str, int]
"""An instant, a resource, and the units that are booked there from then on."""


Failing = Shortfall | Overdue | Open


def shortfalls(record: Record) -> Iterator[Failing]:
    """Every rejection without a moment at which its units did not fit and its id was free."""
    waiting = Waiting(record)
    if waiting.blocked:
        yield from waiting.run()
    for resource_id, rejected in rejections(record).items():
        capacity = record.header.resources[resource_id].capacity
        rejected.sort(key=lambda attempt: attempt.ended)
        found = with_room(
            capacity,
            *bookings(record, resource_id, waiting.moments),
            [(attempt.ended, attempt.request.requested_units) for attempt in rejected],
        )
        yield from told(resource_id, found, rejected.__getitem__)


def told(
    resource_id: str, found: Iterable[Found], attempt: Callable[[int], Attempt]
) -> Iterator[Shortfall | Open]:
    """What ``with_room`` found on a resource; ``attempt`` gives the rejections by position."""
    is_open = False
    for index, most, lack in found:
        if lack is Lack.OPEN:
            is_open = True
        else:
            yield Shortfall(attempt(index), most, lack)
    if is_open:
        yield Open(resource_id)


def rejections(record: Record) -> dict[str, list[Attempt]]:
    """The rejected attempts of each resource whose truth is decided by the room alone."""
    found: dict[str, list[Attempt]] = defaultdict(list)
    for claim in record.claims.values():
        if claim.exists or claim.request.resource_id not in record.header.resources:
            continue
        if not any(rival.exists for rival in record.rivals(claim)):
            found[claim.request.resource_id] += claim.answered(Outcome.REJECTED)
    return found


def bookings(
    record: Record, resource_id: str, moments: Mapping[Claim, float]
) -> tuple[list[Timed], list[Timed]]:
    """What certainly exists on a resource and what may exist, each at its earliest."""
    certain, possible = [], []
    for claim in record.of_resource[resource_id]:
        if claim.exists:
            moment = moments.get(claim, claim.counted_from)
            certain.append((moment, claim.units))
        elif claim.possible:
            possible.append((claim.earliest, claim.units))
    return sorted(certain), sorted(possible)


def with_room(
    capacity: int,
    certain: Sequence[Timed],
    possible: Sequence[Timed],
    rejected: Iterable[Timed],
) -> Iterator[Found]:
    """The rejections for which there was room at every moment; all are in the order of time."""
    sums = Totals(capacity - sum(units for _, units in certain), [units for _, units in possible])
    booked = done = begun = 0
    for index, (ended, units) in enumerate(rejected):
        while done < len(certain) and certain[done][0] <= ended:
            booked += certain[done][1]
            done += 1
        if booked >= capacity:
            return  # full for good: whoever asks for a unit is rejected rightly from here on
        while begun < len(possible) and possible[begun][0] <= ended:
            sums.maybe(possible[begun][1])
            begun += 1
        needed = capacity - units + 1 - booked
        if needed <= 0:
            continue
        if needed > sums.most:
            yield index, booked + sums.most, Lack.UNITS
        elif not (possible_then := sums.at_least(needed)):
            lack = Lack.OPEN if possible_then is None else Lack.CHOICE
            yield index, booked + sums.most, lack


@define
class Waiting:
    """The schedule at the earliest, where ids were asked for in different ways.

    A booking is ``blocked`` by the rejections of its id for another request: it takes effect as
    soon as all of them have had a moment without room. What waits only ever waits for earlier
    moments of others, so the schedule in which everything happens as soon as it can is again the
    one with the most booked at every moment. ``steps`` are further bookings, which wait for nobody.
    """

    record: Record
    steps: Sequence[Step] = ()
    blocked: dict[Claim, set[Attempt]] = field(factory=dict)
    moments: dict[Claim, float] = field(factory=dict)
    _blocks: dict[Attempt, list[Claim]] = field(factory=dict)
    _begun: set[Claim] = field(factory=set)
    _last: dict[Claim, Attempt] = field(factory=dict)
    _booked: dict[str, int] = field(factory=lambda: defaultdict(int))
    _heaps: dict[str, list[tuple[int, int, Attempt]]] = field(factory=lambda: defaultdict(list))

    def __attrs_post_init__(self) -> None:
        for claims in self.record.of_id.values():
            for claim in claims if len(claims) > 1 else ():
                if claim.exists:
                    self._block(claim)

    def _block(self, claim: Claim) -> None:
        for rival in self.record.rivals(claim):
            for attempt in rival.answered(Outcome.REJECTED):
                if rival.exists or rival.request.resource_id not in self.record.header.resources:
                    continue
                self.blocked.setdefault(claim, set()).add(attempt)
                self._blocks.setdefault(attempt, []).append(claim)

    def run(self) -> Iterator[Shortfall | Overdue]:
        agenda: list[tuple[float, int, Claim | Attempt | Step]] = []
        for claim in self.record.claims.values():
            if claim.exists or claim.possible:
                agenda.append((claim.counted_from, len(agenda), claim))
        for attempt in self._blocks:
            agenda.append((attempt.invoked, len(agenda), attempt))
        agenda += [(step[0], len(agenda) + n, step) for n, step in enumerate(self.steps)]
        agenda.sort(key=lambda entry: entry[:2])
        late = deque(sorted(self._blocks, key=lambda attempt: attempt.ended))
        for index, (now, number, item) in enumerate(agenda):
            self._settle(self._take(item, now, number), now)
            # Everything of one instant is concurrent, so who is late shows after all of it.
            following = agenda[index + 1][0] if index + 1 < len(agenda) else NEVER
            while following > now and late and late[0].ended < following:
                yield from self._give_up(late.popleft(), now)
        for claim, rejection in self._last.items():
            if self.moments.get(claim, NEVER) > claim.latest:
                yield Overdue(claim, rejection)

    def _take(self, item: Claim | Attempt | Step, now: float, number: int) -> str:
        """Begin with ``item``; returns the resource that it is about."""
        if isinstance(item, Claim):
            self._begin(item, now)
        elif isinstance(item, Attempt):
            need = self.capacity(item) - item.request.requested_units + 1
            heapq.heappush(self._heaps[item.request.resource_id], (need, number, item))
        else:
            _, resource_id, units = item
            self._booked[resource_id] += units
            return resource_id
        return item.request.resource_id

    def capacity(self, attempt: Attempt) -> int:
        return self.record.header.resources[attempt.request.resource_id].capacity

    def _begin(self, claim: Claim, now: float) -> None:
        self._begun.add(claim)
        if not self.blocked.get(claim):
            self._apply(claim, now)

    def _apply(self, claim: Claim, now: float) -> None:
        self.moments[claim] = now
        self._booked[claim.request.resource_id] += claim.units

    def _settle(self, resource_id: str, now: float) -> None:
        """Let every rejection have its moment that can, and all that waited for it."""
        touched = [resource_id]
        while touched:
            resource_id = touched.pop()
            heap = self._heaps[resource_id]
            while heap and heap[0][0] <= self._booked[resource_id]:
                touched += self._discharge(heapq.heappop(heap)[2], now)

    def _discharge(self, attempt: Attempt, now: float) -> list[str]:
        """Nothing waits for ``attempt`` any more; returns the resources that are fuller now."""
        touched = []
        for claim in self._blocks[attempt]:
            if attempt in self.blocked[claim]:
                self.blocked[claim].remove(attempt)
                self._last[claim] = attempt
                if not self.blocked[claim] and claim in self._begun:
                    self._apply(claim, now)
                    touched.append(claim.request.resource_id)
        return touched

    def _give_up(self, attempt: Attempt, now: float) -> Iterator[Shortfall]:
        """Its time is over. If it had no moment it is wrong, and nobody waits for it any more."""
        if any(attempt in self.blocked[claim] for claim in self._blocks[attempt]):
            booked = min(self._booked[attempt.request.resource_id], self.capacity(attempt))
            yield Shortfall(attempt, booked)
            for resource_id in self._discharge(attempt, now):
                self._settle(resource_id, now)
