"""Reads a recorded history into columns: a million attempts in some seconds.

What is usual is decoded by msgspec, which is as strict as the format except for names that appear
twice in one object; those are found by counting. Every line that it does not like, for whatever
reason, is read again by ``history.parse_line``, and every event that cannot come next is held
against ``events.Order``: so what is refused, and why, is decided in one place only.
"""

from __future__ import annotations

import gc
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn, Protocol

import msgspec
import zstandard

from lastseat.spec import events
from lastseat.spec.columns import CODES, Columns, Irregular, Report
from lastseat.spec.events import Disorder, Event, Header, MalformedHistory, assemble
from lastseat.spec.history import parse_line
from lastseat.spec.record import NEVER
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED

CHUNK = 1 << 18
"""How many bytes are read at once: what is decoded of them should stay in the processor's cache."""

STDIN = "-"
"""The name of the standard input."""

_SETTLED = {"BOOKED": CODES[BOOKED], "REJECTED": CODES[REJECTED]}
_FAILED = {
    ("FAILED", "CONFLICT", False): CODES[CONFLICT],
    ("FAILED", "INFRASTRUCTURE", False): CODES[INFRASTRUCTURE],
    ("FAILED", "INFRASTRUCTURE", True): CODES[IN_DOUBT],
}
"""The codes of answers by their fields."""


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
    what: str
    sqlstate: Sqlstate = None  # type: ignore[assignment]
    phase: str = None  # type: ignore[assignment]
    ms: Milliseconds = None  # type: ignore[assignment]


class _Fence(_Line, tag="fence"):
    at: int
    attempt: str
    ms: Milliseconds = None  # type: ignore[assignment]


class _Final(_Line, tag="final"):
    resource_id: str
    bookings: tuple[tuple[str, int], ...]
    booked: int = None  # type: ignore[assignment]


_decoder = msgspec.json.Decoder(_Invoke | _Emit | _CommitSent | _Seen | _Fence | _Final)


class _Filler:
    """Fills columns with lines; leaves them as ``Columns.add`` would, in a fifth of its time."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.names = 0
        """How many names stand in the objects of the lines taken, if none stands there twice."""
        self._reports: dict[tuple[str, str | None, str | None], int] = {}
        """Places of reports, by the fields of the lines that told of them."""

    def take(self, lines: Sequence[Any]) -> int:
        """Make the lines the next events, up to the first that cannot be; how many could."""
        columns, numbers, begun = self.columns, self.columns.numbers, list[_Invoke]()
        ended, answers, timed = columns.ended, columns.answers, columns.limit is not None
        number, names, taken = len(columns), 0, len(lines)
        ended += [NEVER] * taken
        answers += bytes(taken)
        columns.commits += [None] * taken
        columns.begun_ms += [None] * (taken if timed else 0)
        now, closed = columns.now, columns.closed
        for place, line in enumerate(lines):
            kind = type(line)
            if kind is _Invoke:
                if closed or line.at < now or line.attempt in numbers:
                    taken = place
                    break
                now = line.at
                numbers[line.attempt] = number
                begun.append(line)
                if timed:
                    columns.begun_ms[number] = line.ms
                number += 1
                names += 7 if line.ms is None else 8
            elif kind is _Emit:
                emitting = numbers.get(line.attempt)
                if line.cause is None and line.in_doubt is None:
                    code, fields = _SETTLED.get(line.outcome), 4
                else:
                    code, fields = _FAILED.get((line.outcome, line.cause, line.in_doubt)), 6
                if (
                    closed
                    or code is None
                    or emitting is None
                    or line.at < now
                    or ended[emitting] != NEVER
                ):
                    taken = place
                    break
                now = ended[emitting] = line.at
                answers[emitting] = code
                if timed:
                    columns.took(emitting, line.ms)
                names += fields if line.ms is None else fields + 1
            else:
                columns.now = now
                if not self._take_other(line):
                    taken = place
                    break
                now, closed = columns.now, columns.closed
        columns.now = now
        self.names += names
        self._begin(begun)
        return taken

    def _begin(self, lines: list[_Invoke]) -> None:
        """The columns of attempts that have got their numbers, and no more room than they need."""
        columns, share = self.columns, self.columns.shared.setdefault
        clients = [line.client for line in lines]
        columns.clients += map(share, clients, clients)
        resources = [line.resource_id for line in lines]
        columns.resources += map(share, resources, resources)
        columns.booking_ids += [line.booking_id for line in lines]
        columns.units += [line.requested_units for line in lines]
        columns.invoked += [line.at for line in lines]
        number = len(columns)
        for column in (columns.ended, columns.answers, columns.commits, columns.begun_ms):
            del column[number:]

    def _take_other(self, line: _CommitSent | _Seen | _Fence | _Final) -> bool:
        columns = self.columns
        try:
            match line:
                case _CommitSent():
                    self._commit(line)
                case _Seen():
                    self._see(line)
                case _Fence():
                    columns.add(events.Fence(line.at, line.attempt, line.ms))
                    self.names += 3 + (line.ms is not None)
                case _Final():
                    columns.add(events.Final(line.resource_id, line.bookings, line.booked))
                    self.names += 3 + (line.booked is not None)
        except Irregular:
            return False
        return True

    def _commit(self, line: _CommitSent) -> None:
        columns = self.columns
        number = columns.number_of(line.attempt, line.at)
        if columns.untold(number):
            columns.commits[number] = line.at
        else:
            columns.add(events.CommitSent(line.at, line.attempt, line.ms))
        self.names += 3 + (line.ms is not None)

    def _see(self, line: _Seen) -> None:
        columns, said = self.columns, (line.what, line.sqlstate, line.phase)
        number = columns.number_of(line.attempt, line.at)
        if columns.untold(number):
            place = self._reports.get(said)
            if place is None:
                place = self._reports[said] = columns.place(_report(*said))
            columns.seen[number] = line.at, place
        else:
            columns.add(events.Seen(line.at, line.attempt, *_report(*said), line.ms))
        optional = (line.sqlstate is not None) + (line.phase is not None) + (line.ms is not None)
        self.names += 4 + optional


def _report(what: str, sqlstate: str | None, phase: str | None) -> Report:
    try:
        return events.What(what), sqlstate, None if phase is None else events.Phase(phase)
    except ValueError:
        raise Irregular from None


def _decoded(text: bytes) -> list[Any]:
    """The lines, if all are as usual and one object each; else none."""
    try:
        lines = _decoder.decode_lines(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    # No field holds an object, so that each line which begins with a brace begins one. Where that
    # is as many as there are objects, none goes on to another line and no line holds two.
    each = text.startswith(b"{") and text.count(b"\n{") == text.count(b"\n") == len(lines) - 1
    return lines if each else []


def _marks(text: bytes) -> Iterator[bytes]:
    """What stands behind each name, and elsewhere only within strings: counting it never gives less
    than the number of names. What is counted fastest comes first."""
    yield b":"
    if not any(space + b":" in text for space in (b" ", b"\t", b"\r")):
        yield b'":'


def _once_each(lines: list[bytes], number: int) -> None:
    """Refuse the first of ``lines`` in whose object a name stands twice.

    The lines have been read already, but for this; the first one is the ``number``-th of the file.
    """
    for place, line in enumerate(lines, start=number):
        parse_line(_text(line, place), place)


def _taken(filler: _Filler, line: bytes) -> bool:
    try:
        return bool(filler.take([_decoder.decode(line)]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _put_slowly(columns: Columns, line: bytes, number: int) -> None:
    event = parse_line(_text(line, number), number)
    if isinstance(event, Header):
        raise MalformedHistory(number, "a second header")
    try:
        columns.add(event)
    except Irregular:
        _refuse(columns, event, number)


def _refuse(columns: Columns, event: Event, number: int) -> NoReturn:
    try:
        columns.order().accept(event)
    except Disorder as disorder:
        raise MalformedHistory(number, str(disorder)) from None
    raise AssertionError(f"line {number} is out of order for one reader and not for the other")


class _Reader:
    """Fills the columns, some lines at a time."""

    def __init__(self) -> None:
        self._filler: _Filler | None = None
        self._number = 0

    def lines(self, text: bytes) -> None:
        """Whole lines, without the last line break."""
        if self._filler is None:
            head, more, text = text.partition(b"\n")
            self._number = 1
            self._filler = _Filler(Columns(assemble([parse_line(_text(head, 1), 1)]).header))
            if not more:
                return
        filler, first = self._filler, self._number + 1
        filler.names = 0
        self._number += filler.take(_decoded(text))
        slow: list[bytes] = []
        if self._number - first < text.count(b"\n"):
            slow += self._rest(filler, text.split(b"\n"), first)
        for mark in _marks(text):
            if filler.names + sum(line.count(mark) for line in slow) == text.count(mark):
                return
        _once_each(text.split(b"\n"), first)

    def _rest(self, filler: _Filler, lines: list[bytes], first: int) -> Iterator[bytes]:
        """What is left of some lines, one by one; gives those that had to be read slowly.

        ``first`` is the number of the first of all.
        """
        for line in lines[self._number + 1 - first :]:
            try:
                if not _taken(filler, line):
                    _put_slowly(filler.columns, line, self._number + 1)
                    yield line
            except MalformedHistory:
                _once_each(lines[: self._number + 1 - first], first)
                raise
            self._number += 1

    def last(self, rest: bytes) -> Columns:
        """What follows the last line break; the columns, complete."""
        if rest:
            try:
                self.lines(rest)
            except MalformedHistory as malformed:
                reason = f"{malformed.reason}; the file ends within this line"
                raise MalformedHistory(malformed.line, reason) from None
        if self._filler is None:
            assemble([])
            raise AssertionError("a history without a header")
        return self._filler.columns.index()

    @property
    def next_line(self) -> int:
        """The line after those that were read."""
        return self._number + 1


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise MalformedHistory(number, f"not UTF-8: {error.reason}") from None


def read(file: IO[bytes]) -> Columns:
    """The history in ``file``, which may be compressed by gzip or zstandard.

    Raises:
        MalformedHistory: at the first line that cannot stand where it stands, or that is cut off.
        OSError: the file cannot be read.
    """
    reader, rest = _Reader(), list[bytes]()
    try:
        for chunk in _decompressed(file):
            whole, found, begun = chunk.rpartition(b"\n")
            if found:
                reader.lines(b"".join([*rest, whole]))
                rest = [begun]
            else:
                rest.append(chunk)
    except _Corrupt as corrupt:
        raise MalformedHistory(reader.next_line, str(corrupt)) from None
    return reader.last(b"".join(rest))


def read_path(path: str) -> Columns:
    """The history in the file of that name; ``-`` is the standard input. See ``read``."""
    with without_collection():
        if path == STDIN:
            return read(sys.stdin.buffer)
        with Path(path).open("rb") as file:
            return read(file)


@contextmanager
def without_collection() -> Iterator[None]:
    """The collector of cycles would look at millions of objects again and again: there are none."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class _Corrupt(Exception):
    """The compressed data is cut off, or is none."""


class _Stream(Protocol):
    """One compressed stream, of which there may be several in a file."""

    @property
    def eof(self) -> bool:
        """It has ended; what follows it is in ``unused_data``."""
        ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


_COMPRESSIONS: Mapping[bytes, Callable[[], _Stream]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"\x28\xb5\x2f\xfd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}
"""By what the data begins with, whatever its name; JSON never begins so."""


def _decompressed(file: IO[bytes]) -> Iterator[bytes]:
    data = file.read(CHUNK)
    begin = next((each for magic, each in _COMPRESSIONS.items() if data.startswith(magic)), None)
    stream = None if begin is None else begin()
    while data:
        if begin is None or stream is None:
            yield data
            data = file.read(CHUNK)
            continue
        if stream.eof:
            stream = begin()
        try:
            yield stream.decompress(data)
        except (zlib.error, zstandard.ZstdError) as error:
            raise _Corrupt(f"the compressed data is damaged: {error}") from None
        data = stream.unused_data or file.read(CHUNK)
    if stream is not None and not stream.eof:
        raise _Corrupt("the compressed data is cut off")
