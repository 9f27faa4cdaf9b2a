"""Which attempts of a large history need to be looked at one by one, and which do not.

A booking id is *plain* if all its attempts asked for the same, every one of them ended at once in
BOOKED, REJECTED or FAILED(CONFLICT), all but one in CONFLICT, and what else is said of them can
break no rule that looks at one id alone. All that is left to judge of plain ids is arithmetic over
a whole resource, and an id that falls short there is plain no longer. The others, some in a
hundred, go to the judge that explains itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, chain, compress

from attrs import define, field

from lastseat.spec.columns import CODES, Columns, Note
from lastseat.spec.events import CommitSent, Evidence, Fence, Final, Phase, Seen, What
from lastseat.spec.failures import WINNER, Crowd, Intervals
from lastseat.spec.record import BEFORE, NEVER
from lastseat.spec.vocabulary import BOOKED, CONFLICT, REJECTED, Answer

_BOOKED, _REJECTED, _CONFLICT = CODES[BOOKED], CODES[REJECTED], CODES[CONFLICT]

_REPORTED: dict[str | None, int] = {
    **dict.fromkeys(("40001", "40P01", "23P01", "55P03"), _CONFLICT),
    "23514": _REJECTED,
}
"""What an attempt is answered that saw just one error, in the most ordinary way."""


_EQUAL = {code: bytes(code == other for other in range(256)) for code in range(len(CODES) + 1)}
"""For ``translate``: turns a code into 1 and all others into 0."""


_UNSETTLED = bytes(code not in (_BOOKED, _REJECTED) for code in range(256))
"""For ``translate``: 1 for what can disturb others even after it has ended."""


def _both(one: bytes | bytearray, other: bytes | bytearray) -> bytes:
    """Byte by byte, where each is 0 or 1: whether both are 1."""
    both = int.from_bytes(one, "little") & int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


@define(eq=False, slots=False)
class Sieve:
    """The attempts of ``columns``, sorted into plain ones and others."""

    columns: Columns
    plain: bytearray
    """By number: 1 if its id is plain."""
    decided: dict[int, int] = field(factory=dict)
    """Which attempt of an id did not end in CONFLICT, by the first one, where that is another."""
    fences: dict[int, float] = field(factory=dict)
    reported: set[int] = field(factory=set)
    """Those that saw one error, from which their answers follow."""
    on: dict[str, Sequence[int]] = field(factory=dict)
    """The attempts on each resource."""
    _crowds: dict[str, Crowd] = field(factory=dict)

    def others(self) -> list[int]:
        """The attempts that are not plain."""
        return list(compress(range(len(self.plain)), self.plain.translate(_EQUAL[0])))

    @cached_property
    def until(self) -> list[float]:
        """Until when each attempt can disturb others: see ``Attempt.until``."""
        found, fences = list(self.columns.ended), self.fences
        for number in compress(range(len(found)), self.columns.answers.translate(_UNSETTLED)):
            fence = fences.get(number, NEVER)
            if found[number] == NEVER or found[number] < fence:
                found[number] = fence
        return found

    def crowd(self, name: str) -> Crowd:
        """All attempts on a resource."""
        if name not in self._crowds:
            self._crowds[name] = self.crowd_of(self.on[name])
        return self._crowds[name]

    def crowd_of(self, numbers: Sequence[int]) -> Crowd:
        """Some attempts, in the order of their invocations."""
        invoked, until = self.columns.invoked, self.until
        # Numbers of one kind are sorted much faster than a mixture of two.
        ends: list[float] = sorted(filter(NEVER.__gt__, map(until.__getitem__, numbers)))
        ends += [NEVER] * (len(numbers) - len(ends))
        return Crowd([invoked[n] for n in numbers], ends)

    def answered(self, answer: Answer, name: str) -> list[int]:
        """The plain attempts on a resource that were answered so."""
        chosen = _both(self.columns.answers.translate(_EQUAL[CODES[answer]]), self.plain)
        numbers = self.on.get(name, ())
        if len(numbers) < len(chosen):
            chosen = bytes(chosen[number] for number in numbers)
        return list(compress(numbers, chosen))

    def lonely(self, name: str) -> list[int]:
        """The attempts on a resource that no other one overlapped."""
        numbers, until = self.on.get(name, ()), self.until
        # One that disturbs others for ever is followed by nobody who is alone.
        endless = next((place for place, n in enumerate(numbers) if until[n] == NEVER), None)
        if endless is not None:
            numbers = numbers[: endless + 2]
        invoked = [self.columns.invoked[n] for n in numbers]
        before = accumulate((until[n] for n in numbers), max, initial=BEFORE)
        after = chain(invoked[1:], (NEVER,))
        ended = self.columns.ended
        return [
            number
            for number, begin, latest, following in zip(
                numbers, invoked, before, after, strict=False
            )
            if latest < begin and ended[number] < following
        ]

    def unexplained(self, final: Final) -> Final:
        """Its rows without those of plain bookings."""
        first, plain = self.columns.of_id.get, [*self.plain, 0]
        rows = (row for row in final.bookings if not plain[first(row[0], -1)])
        return Final(final.resource_id, tuple(rows), final.booked)

    def granted(self, name: str) -> list[tuple[float, int]]:
        """From when on each plain booking on a resource counts, at the earliest, and its units."""
        at, units = self._earliest, self.columns.units
        return [(at[n] or 0, units[n]) for n in self.answered(BOOKED, name)]

    def won(self, name: str) -> list[tuple[float, float]]:
        """When each plain booking on a resource may have taken effect, from the first instant to
        the last."""
        ended = self.columns.ended
        return [(self._earliest[n] or 0, ended[n]) for n in self.answered(BOOKED, name)]

    @property
    def _earliest(self) -> Sequence[int | None]:
        """For a plain booking: when it may have come to exist at the earliest."""
        watched = Evidence.COMMITS in self.columns.header.observed
        return self.columns.commits if watched else self.columns.invoked


def sift(columns: Columns) -> Sieve:
    """Sort the attempts."""
    sieve = Sieve(columns, bytearray(b"\1") * len(columns))
    _by_resource(sieve)
    _by_answers(sieve)
    _by_notes(sieve)
    _by_requests(sieve)
    _by_commits(sieve)
    _by_rows(sieve)
    _spread(sieve)
    others = sieve.plain.count(0)
    for name in columns.header.resources:
        lonely = sieve.lonely(name)
        _by_conflicts(sieve, name, lonely)
        _by_room(sieve, name, lonely)
    if sieve.plain.count(0) > others:
        _spread(sieve)
    return sieve


def _exclude(sieve: Sieve, numbers: Iterable[int]) -> None:
    for number in numbers:
        sieve.plain[number] = 0


def _by_resource(sieve: Sieve) -> None:
    """Unknown resources are not plain, nor those that were read in between."""
    columns = sieve.columns
    names = set(columns.resources)
    if len(names) == 1:
        sieve.on = dict.fromkeys(names, range(len(columns)))
    else:
        on: dict[str, list[int]] = defaultdict(list)
        for number, name in enumerate(columns.resources):
            on[name].append(number)
        sieve.on = dict(on)
    read = {audit.resource_id for audit in columns.audits}
    for name in names:
        if name in read or name not in columns.header.resources:
            _exclude(sieve, sieve.on[name])


def _by_answers(sieve: Sieve) -> None:
    columns = sieve.columns
    usual = bytes(code in (_BOOKED, _REJECTED, _CONFLICT) for code in range(256))
    sieve.plain = bytearray(_both(sieve.plain, columns.answers.translate(usual)))
    _exclude(sieve, columns.times)
    if min(columns.units, default=1) < 1:
        _exclude(sieve, [number for number, units in enumerate(columns.units) if units < 1])


def _by_notes(sieve: Sieve) -> None:
    """A fence, commits, and one error that is answered as it must be, are nothing unusual."""
    columns, answers = sieve.columns, sieve.columns.answers
    followed_by = [_answer_to(*report) for report in columns.reports]
    for number, (_, place, _) in columns.seen.items():
        if answers[number] == followed_by[place]:
            sieve.reported.add(number)
        else:
            sieve.plain[number] = 0
    for number, notes in columns.notes.items():
        fences = [note.at for note in notes if isinstance(note, Fence)]
        if fences:
            sieve.fences[number] = min(fences)
            if sieve.fences[number] < columns.ended[number]:
                sieve.plain[number] = 0  # its server process did not live as long as it did
        rest = [note for note in notes if not isinstance(note, Fence | CommitSent)]
        if len(rest) == 1 and _follows(answers[number], rest[0]):
            sieve.reported.add(number)
        elif rest:
            sieve.plain[number] = 0


def _follows(answer: int, note: Note) -> bool:
    if not isinstance(note, Seen):
        return False
    return _answer_to(note.what, note.sqlstate, note.phase) == answer


def _answer_to(what: What, sqlstate: str | None, phase: Phase | None) -> int | None:
    """What is answered after just this, in the most ordinary way; None: that is not ordinary."""
    if what is What.ERROR and phase is not Phase.CALLER:
        return _REPORTED.get(sqlstate)
    return None


def _by_requests(sieve: Sieve) -> None:
    """Attempts of one id asked for the same, and one of them at most was no CONFLICT."""
    columns = sieve.columns
    for resource in columns.header.resources.values():
        for booking_id in resource.bookings:
            if booking_id in columns.of_id:
                sieve.plain[columns.of_id[booking_id]] = 0
    for number in columns.again:
        first = columns.firsts[number]
        alike = columns.units[number] == columns.units[first]
        if not alike or columns.resources[number] != columns.resources[first]:
            sieve.plain[first] = 0
        if columns.answers[number] != _CONFLICT:
            if columns.answers[first] == _CONFLICT and first not in sieve.decided:
                sieve.decided[first] = number
            else:
                sieve.plain[first] = 0


def _by_commits(sieve: Sieve) -> None:
    """Where commits were watched, a booking was preceded by one."""
    columns = sieve.columns
    if Evidence.COMMITS not in columns.header.observed:
        return
    for name in columns.header.resources:
        for number in sieve.answered(BOOKED, name):
            sent = columns.commits[number]
            if sent is None or sent > columns.ended[number]:
                sieve.plain[number] = 0


def _by_rows(sieve: Sieve) -> None:
    """In the end there is one row for each BOOKED, with its units, and no other."""
    columns = sieve.columns
    found = bytearray(len(columns))
    for final in columns.finals.values():
        for booking_id, units in final.bookings:
            first = columns.of_id.get(booking_id)
            if first is None:
                continue
            number = sieve.decided.get(first, first)
            if (
                columns.answers[number] == _BOOKED
                and not found[number]
                and columns.units[number] == units
                and columns.resources[number] == final.resource_id
            ):
                found[number] = 1
            else:
                sieve.plain[first] = 0
    for name in columns.finals:
        numbers, answers = sieve.on.get(name, ()), columns.answers
        _exclude(sieve, [n for n in numbers if answers[n] == _BOOKED and not found[n]])


def _by_conflicts(sieve: Sieve, name: str, lonely: Iterable[int]) -> None:
    """A conflict that nobody reported has somebody who overlaps it, and a winner if promised."""
    columns, reported = sieve.columns, sieve.reported
    _exclude(sieve, [n for n in lonely if columns.answers[n] == _CONFLICT and n not in reported])
    if WINNER not in columns.header.promises or Evidence.SERVER not in columns.header.observed:
        return
    unreported = [n for n in sieve.answered(CONFLICT, name) if n not in reported]
    if unreported:
        winners = Intervals(sieve.won(name))
        for number in unreported:
            if not winners.meet(columns.invoked[number], columns.ended[number]):
                sieve.plain[number] = 0


def _by_room(sieve: Sieve, name: str, lonely: Sequence[int]) -> None:
    """A booking that nobody overlapped found room for itself, whatever became of those in doubt."""
    columns = sieve.columns
    alone = [n for n in lonely if sieve.plain[n] and columns.answers[n] == _BOOKED]
    if Evidence.SERVER not in columns.header.observed or not alone:
        return
    capacity = columns.header.resources[name].capacity
    units = columns.units
    other = columns.header.resources[name].booked
    other += sum(max(0, units[n]) for n in sieve.on.get(name, ()) if not sieve.plain[n])
    booked = sieve.answered(BOOKED, name)
    booked.sort(key=columns.ended.__getitem__)
    ends = [columns.ended[n] for n in booked]
    sums = list(accumulate((units[n] for n in booked), initial=other))
    for number in alone:
        before = sums[bisect_left(ends, columns.invoked[number])]
        if before + units[number] > capacity:
            sieve.plain[number] = 0


def _spread(sieve: Sieve) -> None:
    """An id is plain only if all its attempts are."""
    plain, firsts = sieve.plain, sieve.columns.firsts
    for number in sieve.columns.again:
        if not plain[number]:
            plain[firsts[number]] = 0
    for number in sieve.columns.again:
        if not plain[firsts[number]]:
            plain[number] = 0
