"""The judge of large histories: says what ``legality`` says, in a tenth of its time.

``sieve`` finds the attempts that need to be looked at one by one; they make up a small history,
and all rules that look at one id, or at one attempt and its evidence, are those of ``effects`` and
``failures``, applied to it. What counts over a whole resource (does it fit, was there room for a
rejection, did anybody overlap) is counted here, over the columns of all attempts.

Nothing is judged differently: on random histories both judges find the same violations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from attrs import evolve, frozen

from lastseat.spec import effects, failures
from lastseat.spec.columns import CODES, Columns
from lastseat.spec.events import Event, History
from lastseat.spec.evidence import Kind
from lastseat.spec.legality import gaps_in_evidence, gaps_in_time, open_questions
from lastseat.spec.record import NEVER, Attempt, Claim, Record, fold
from lastseat.spec.rules import Judgement
from lastseat.spec.sieve import Sieve, sift
from lastseat.spec.sweep import (
    Failing,
    Step,
    Timed,
    Waiting,
    bookings,
    rejections,
    told,
    with_room,
)
from lastseat.spec.vocabulary import BOOKED, CONFLICT, REJECTED


def judge(columns: Columns) -> Judgement:
    """Every violation that a history proves, and what it lacks the evidence to judge."""
    sieve = sift(columns)
    small = _Small.of(sieve)
    record = small.record
    read = evolve(record, finals=columns.finals)
    around = _Surroundings(small)
    failing = tuple(_shortfalls(small))
    violations = (
        *effects.capacity(read, _Holdings(small)),
        *effects.counter(read),
        *effects.booked(record),
        *effects.unwarranted(record),
        *effects.one_id(record),
        *effects.rejected(record, failing),
        *failures.one_outcome(record),
        *failures.conflict(record, around),
        *failures.infrastructure(record, around),
        *failures.in_doubt(record),
        *failures.transience(record, around),
        *failures.determinism(record, around),
        *failures.programming_error(record),
    )
    kinds = frozenset({Kind.CONFLICT} if CODES[CONFLICT] in columns.answers else ())
    gaps = (*gaps_in_time(record), *gaps_in_evidence(record, kinds))
    return Judgement(violations, gaps, open_questions(failing))


@frozen(eq=False)
class _Small:
    """The attempts that are not plain, folded, beside the sieve that holds the others."""

    sieve: Sieve
    record: Record
    names: list[str]
    """Of all attempts, by number."""
    attempts: dict[int, Attempt]
    """Those that are not plain."""

    @classmethod
    def of(cls, sieve: Sieve) -> _Small:
        columns = sieve.columns
        names = list(columns.numbers)
        chosen = sieve.others()
        events: list[Event] = [*columns.events_of(chosen, names), *columns.faults, *columns.audits]
        events += map(sieve.unexplained, columns.finals.values())
        events += [columns.end] if columns.end is not None else []
        record = fold(History(columns.header, tuple(events)))
        for name in columns.header.resources:
            record.ceiling[name] += sum(columns.units[n] for n in sieve.answered(BOOKED, name))
        return cls(sieve, record, names, dict(zip(chosen, record.attempts, strict=True)))

    def attempt(self, number: int) -> Attempt:
        """The attempt of that number, with its notes unless it is plain."""
        if number in self.attempts:
            return self.attempts[number]
        columns = self.sieve.columns
        return Attempt(
            self.names[number],
            columns.clients[number],
            columns.request(number),
            columns.invoked[number],
            invoked_ms=None,
            ended=columns.ended[number],
            answer=columns.answer(number),
        )

    def first(self, claim: Claim) -> int:
        """A number that puts claims in order: by their first attempts, after the prior ones."""
        numbers = self.sieve.columns.numbers
        return numbers[claim.attempts[0].name] if claim.attempts else -1

    def existing(self, name: str) -> list[Claim]:
        return [claim for claim in self.record.of_resource[name] if claim.exists]


class _Holdings(effects.Holdings):
    """What exists on each resource, by the columns."""

    def __init__(self, small: _Small) -> None:
        super().__init__(small.record)
        self._small = small

    def total(self, name: str) -> int:
        units = self._small.sieve.columns.units
        plain = self._small.sieve.answered(BOOKED, name)
        return super().total(name) + sum(units[number] for number in plain)

    def tip(self, name: str, limit: int) -> effects.Tip | None:
        columns = self._small.sieve.columns
        plain = self._small.sieve.answered(BOOKED, name)
        claims = self._small.existing(name)
        held: list[int | Claim] = [*plain, *claims]
        if not held:
            return None
        latest = [*map(columns.ended.__getitem__, plain), *(claim.latest for claim in claims)]
        first = [*map(columns.firsts.__getitem__, plain), *map(self._small.first, claims)]
        units = [*map(columns.units.__getitem__, plain)]
        units += (claim.units for claim in claims)
        order = [place for _, _, place in sorted(zip(latest, first, count(), strict=False))]
        at = effects.tipping(limit, map(units.__getitem__, order))
        names = self._last_names([held[place] for place in order[: at + 1]])
        return effects.Tip(latest[order[at]], self._booking_id(held[order[at]]), names)

    def _last_names(self, order: list[int | Claim]) -> tuple[str, ...]:
        names: list[str] = []
        for held in reversed(order):
            if len(names) >= effects.NAMED:
                break
            names = [*self._names(held), *names]
        return tuple(names[-effects.NAMED :])

    def _booking_id(self, held: int | Claim) -> str:
        if isinstance(held, Claim):
            return held.request.booking_id
        return self._small.sieve.columns.booking_ids[held]

    def _names(self, held: int | Claim) -> Iterator[str]:
        if isinstance(held, Claim):
            yield from (attempt.name for attempt in held.appliers)
        else:
            yield self._small.names[held]


class _Surroundings(failures.Surroundings):
    """What went on around each attempt, by the columns."""

    def __init__(self, small: _Small) -> None:
        super().__init__(small.record)
        self._small = small

    def crowd(self, name: str) -> failures.Crowd:
        return self._small.sieve.crowd(name)

    def everybody(self) -> failures.Crowd:
        return self._small.sieve.crowd_of(range(len(self._small.names)))

    def winners(self, name: str) -> Iterable[tuple[float, float]]:
        return [*super().winners(name), *self._small.sieve.won(name)]

    def certain(self, name: str) -> Iterable[tuple[float, int]]:
        columns = self._small.sieve.columns
        plain = self._small.sieve.answered(BOOKED, name)
        return [*super().certain(name), *((columns.ended[n], columns.units[n]) for n in plain)]


def _shortfalls(small: _Small) -> Iterator[Failing]:
    """See ``sweep.shortfalls``."""
    waiting = Waiting(small.record)
    if waiting.blocked:
        waiting.steps = tuple(_steps(small))
        yield from waiting.run()
    special = rejections(small.record)
    for name, resource in small.record.header.resources.items():
        certain, possible = bookings(small.record, name, waiting.moments)
        certain = sorted([*certain, *small.sieve.granted(name)])
        full = _full_from(resource.capacity, certain)
        rejected = _rejected(small, name, special.get(name, ()), full)
        ended, units = small.sieve.columns.ended, small.sieve.columns.units
        found = with_room(
            resource.capacity,
            certain,
            possible,
            ((ended[number], units[number]) for number in rejected),
        )

        def attempt(place: int, numbers: list[int] = rejected) -> Attempt:
            return small.attempt(numbers[place])

        yield from told(name, found, attempt)


def _steps(small: _Small) -> Iterator[Step]:
    for name in small.record.header.resources:
        yield from ((at, name, units) for at, units in small.sieve.granted(name))


def _full_from(capacity: int, certain: Iterable[Timed]) -> float:
    """The instant from which on nothing is left for anybody, given what is certainly booked."""
    booked = 0
    for at, units in certain:
        booked += units
        if booked >= capacity:
            return at
    return NEVER


def _rejected(small: _Small, name: str, special: Iterable[Attempt], full: float) -> list[int]:
    """The numbers of the attempts whose rejection is judged, in the order in which they ended.

    Those that ended when all was ``full`` need not be: they are most, and are left out unsorted.
    """
    numbers, columns = small.sieve.columns.numbers, small.sieve.columns
    found = small.sieve.answered(REJECTED, name)
    found += sorted(numbers[attempt.name] for attempt in special)
    found = [number for number in found if columns.ended[number] < full]
    found.sort(key=columns.firsts.__getitem__)
    found.sort(key=columns.ended.__getitem__)
    return found
