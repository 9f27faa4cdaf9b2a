"""Some lines of a recorded history at once, in columns: what a million attempts are read in.

Lines are decoded by msgspec, which is as strict as the format except for names that appear twice in
one object; those are found by counting. What is true of each line alone, and of their order among
themselves, is asked here, so that another process can do it; ``Filler`` asks the rest.
"""

from __future__ import annotations

import itertools
import marshal
import operator
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from attrs import astuple, frozen

from lastseat.spec import columns, events
from lastseat.spec.columns import CODES, NONE, Columns
from lastseat.spec.record import NEVER
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED

_ANSWERS = {
    ("BOOKED", None, None): CODES[BOOKED],
    ("REJECTED", None, None): CODES[REJECTED],
    ("FAILED", "CONFLICT", False): CODES[CONFLICT],
    ("FAILED", "INFRASTRUCTURE", False): CODES[INFRASTRUCTURE],
    ("FAILED", "INFRASTRUCTURE", True): CODES[IN_DOUBT],
}
"""The codes of answers by their fields."""

_NOBODY = sys.maxsize
"""The number of an attempt that has not begun."""

Milliseconds = int | float
Sqlstate = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Z]{5}\Z")]


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A line of the file. Fields that are absent are None; a null in the file is refused."""


class _Invoke(_Line, tag="invoke"):
    at: int
    attempt: str
    client: str
    booking_id: str
    resource_id: str
    requested_units: int
    ms: Milliseconds = None  # type: ignore[assignment]


class _Emit(_Line, tag="emit"):
    at: int
    attempt: str
    outcome: str
    cause: str = None  # type: ignore[assignment]
    in_doubt: bool = None  # type: ignore[assignment]
    ms: Milliseconds = None  # type: ignore[assignment]


class _CommitSent(_Line, tag="commit-sent"):
    at: int
    attempt: str
    ms: Milliseconds = None  # type: ignore[assignment]


class _Seen(_Line, tag="seen"):
    at: int
    attempt: str
    what: events.What
    sqlstate: Sqlstate = None  # type: ignore[assignment]
    phase: events.Phase = None  # type: ignore[assignment]
    ms: Milliseconds = None  # type: ignore[assignment]


class _Fence(_Line, tag="fence"):
    at: int
    attempt: str
    ms: Milliseconds = None  # type: ignore[assignment]


_Told = _CommitSent | _Seen | _Fence
_decoder = msgspec.json.Decoder(_Invoke | _Emit | _Told)


Report = tuple[str, str | None, str | None]
"""The values of ``what``, ``sqlstate`` and ``phase``, as they stand in the file."""

Fact = tuple[str, int, float | None, Report | None]
"""What is said of an attempt beside its beginning and its end: the line's type, ``at`` and ``ms``;
the report of what was seen."""

Coded = tuple[list[str], list[int]]
"""Few words, and the place of one among them for each entry of a column."""


@frozen
class Batch:
    """Lines that follow on each other, and the columns of what they say.

    An attempt is told by its place among ``names`` if it began here, before the line that speaks of
    it; else by ``~place`` among the ``earlier`` ones.
    """

    lines: int
    first: int
    """The instant of the first line."""
    last: int

    earlier: list[str]
    """Names of attempts that must have begun before; some may stand here more than once."""

    names: list[str]
    """Of the attempts that begin here; so with the next columns."""
    clients: Coded
    booking_ids: list[str]
    resources: Coded
    units: list[int]
    invoked: list[int]
    begun_ms: list[float | None]

    endings: list[int]
    """The attempts that end here; so with the next columns."""
    ended: list[int]
    ended_ms: list[float | None]
    answers: bytes
    """As codes."""

    told: list[int]
    """The attempts of which something else is said; so with the next columns."""
    facts: list[Fact]

    def packed(self) -> bytes:
        """For another process: much faster than pickle."""
        return marshal.dumps(astuple(self, recurse=False))

    @classmethod
    def unpacked(cls, data: bytes) -> Batch:
        """What was packed."""
        return cls(*marshal.loads(data))


def batch_of(text: bytes) -> Batch | None:
    """Some lines as a batch. None: one of them is unusual, or cannot stand where it stands."""
    lines = _decoded(text)
    instants = [line.at for line in lines]
    if not lines or instants != sorted(instants):
        return None
    begun, ends, told = list[_Invoke](), list[_Emit](), list[_Told]()
    places, earlier = dict[str, int](), list[str]()
    endings, told_about = list[int](), list[int]()
    for line in lines:
        kind = type(line)
        if kind is _Invoke:
            places[line.attempt] = len(begun)
            begun.append(line)
            continue
        place = places.get(line.attempt)
        if place is None:
            place = ~len(earlier)
            earlier.append(line.attempt)
        if kind is _Emit:
            ends.append(line)
            endings.append(place)
        else:
            told.append(line)
            told_about.append(place)
    begun_ms: list[float | None] = [line.ms for line in begun]
    ended_ms: list[float | None] = [line.ms for line in ends]
    facts = [_fact(line) for line in told]
    answers = [_ANSWERS.get((line.outcome, line.cause, line.in_doubt), NONE) for line in ends]
    names = 7 * len(begun) + sum(map(_names_of, facts))
    names += sum(4 if line.cause is None else 6 for line in ends)  # a cause, and in_doubt
    names += sum(
        ms is not None for ms in itertools.chain(begun_ms, ended_ms, (fact[2] for fact in facts))
    )
    if len(places) < len(begun) or NONE in answers or not _once_each(text, names):
        return None
    return Batch(
        lines=len(lines),
        first=instants[0],
        last=instants[-1],
        earlier=earlier,
        names=list(places),
        clients=_coded([line.client for line in begun]),
        booking_ids=[line.booking_id for line in begun],
        resources=_coded([line.resource_id for line in begun]),
        units=[line.requested_units for line in begun],
        invoked=[line.at for line in begun],
        begun_ms=begun_ms,
        endings=endings,
        ended=[line.at for line in ends],
        ended_ms=ended_ms,
        answers=bytes(answers),
        told=told_about,
        facts=facts,
    )


def _decoded(text: bytes) -> list[Any]:
    """The lines, if all are as usual and one object each; else none."""
    text = text.removesuffix(b"\n")
    try:
        lines = _decoder.decode_lines(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    # No field holds an object, so that each line which begins with a brace begins one. Where that
    # is as many as there are objects, none goes on to another line and no line holds two.
    each = text.startswith(b"{") and text.count(b"\n{") == text.count(b"\n") == len(lines) - 1
    return lines if each else []


def _fact(line: _Told) -> Fact:
    kind = type(line)
    if kind is _CommitSent:
        return "commit-sent", line.at, line.ms, None
    if kind is _Fence:
        return "fence", line.at, line.ms, None
    assert isinstance(line, _Seen)
    phase = None if line.phase is None else line.phase.value
    return "seen", line.at, line.ms, (line.what.value, line.sqlstate, phase)


def _names_of(fact: Fact) -> int:
    """How many names its line has, without ``ms``."""
    return 3 if fact[3] is None else 6 - fact[3].count(None)


def _coded(words: list[str]) -> Coded:
    places: dict[str, int] = {}
    column = [places.setdefault(word, len(places)) for word in words]
    return list(places), column


def _once_each(text: bytes, names: int) -> bool:
    """Whether no name stands twice in one object, if there are so many different ones.

    What is counted stands behind each name, and elsewhere only within strings: counting it never
    gives less than the number of names. What is counted fastest comes first.
    """
    if text.count(b":") == names:
        return True
    spaced = any(space + b":" in text for space in (b" ", b"\t", b"\r"))
    return not spaced and text.count(b'":') == names


class Filler:
    """Fills columns with batches; leaves them as ``Columns.add`` would, in a tenth of its time."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._places: dict[Report, int] = {}

    def take(self, batch: Batch) -> bool:
        """Make its lines the next events; whether they can be. If not, nothing has changed."""
        columns, numbers, names = self.columns, self.columns.numbers, batch.names
        if columns.closed or batch.first < columns.now:
            return False
        before = len(columns)
        earlier = [numbers.get(name, _NOBODY) for name in batch.earlier]
        ending = [before + at if at >= 0 else earlier[~at] for at in batch.endings]
        if _NOBODY in earlier or not self._pending(ending, batch.endings):
            return False
        theirs = range(before, before + len(names))
        given = list(map(numbers.setdefault, names, theirs))
        if given != list(theirs):
            for name in itertools.compress(names, map(operator.eq, given, theirs)):
                del numbers[name]
            return False
        self._begin(batch)
        self._end(ending, batch)
        self._tell([before + at if at >= 0 else earlier[~at] for at in batch.told], batch)
        columns.now = batch.last
        return True

    def _pending(self, numbers: list[int], places: list[int]) -> bool:
        """Whether all of them can end now; of those that begin in the batch it is known."""
        if len(set(numbers)) < len(numbers):
            return False
        ended = self.columns.ended
        return all(
            ended[number] == NEVER
            for number, place in zip(numbers, places, strict=True)
            if place < 0
        )

    def _begin(self, batch: Batch) -> None:
        columns, count = self.columns, len(batch.names)
        columns.clients += self._shared(batch.clients)
        columns.resources += self._shared(batch.resources)
        columns.booking_ids += batch.booking_ids
        columns.units += batch.units
        columns.invoked += batch.invoked
        columns.ended += [NEVER] * count
        columns.answers += bytes(count)
        columns.commits += [None] * count
        if columns.limit is not None:
            columns.begun_ms += batch.begun_ms

    def _shared(self, coded: Coded) -> Iterator[str]:
        words, column = coded
        share = self.columns.shared.setdefault
        return map([share(word, word) for word in words].__getitem__, column)

    def _end(self, numbers: list[int], batch: Batch) -> None:
        columns, ended, answers = self.columns, self.columns.ended, self.columns.answers
        for number, at, code in zip(numbers, batch.ended, batch.answers, strict=True):
            ended[number] = at
            answers[number] = code
        if columns.limit is not None:
            for number, ms in zip(numbers, batch.ended_ms, strict=True):
                columns.took(number, ms)

    def _tell(self, numbers: list[int], batch: Batch) -> None:
        columns, commits, seen = self.columns, self.columns.commits, self.columns.seen
        notes, places = columns.notes, self._places
        for number, place, fact in zip(numbers, batch.told, batch.facts, strict=True):
            kind, at, ms, report = fact
            told = commits[number] is not None or number in seen or number in notes
            if told or kind == "fence":
                name = batch.names[place] if place >= 0 else batch.earlier[~place]
                columns.add(_event(name, fact))
            elif report is None:
                commits[number] = at
            else:
                known = places[report] if report in places else self._place(report)
                seen[number] = at, known, ms

    def _place(self, report: Report) -> int:
        place = self._places[report] = self.columns.place(_report(report))
        return place


def _report(report: Report) -> columns.Report:
    what, sqlstate, phase = report
    return events.What(what), sqlstate, None if phase is None else events.Phase(phase)


def _event(name: str, fact: Fact) -> events.Event:
    kind, at, ms, report = fact
    if report is not None:
        return events.Seen(at, name, *_report(report), ms)
    if kind == "fence":
        return events.Fence(at, name, ms)
    return events.CommitSent(at, name, ms)


class _Final(_Line, tag="final"):
    resource_id: str
    bookings: tuple[tuple[str, int], ...]
    booked: int = None  # type: ignore[assignment]


_final_decoder = msgspec.json.Decoder(_Final)


def final_of(line: bytes) -> events.Final | None:
    """The final bookings of a resource: a long line. None: it is another, or an unusual one."""
    try:
        final = _final_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not _once_each(line, 3 if final.booked is None else 4):
        return None
    return events.Final(final.resource_id, final.bookings, final.booked)
