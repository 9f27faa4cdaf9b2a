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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, NoReturn, Protocol

import msgspec
import zstandard

from lastseat.spec import events
from lastseat.spec.columns import CODES, Columns, Irregular
from lastseat.spec.events import Disorder, Event, Header, MalformedHistory, assemble
from lastseat.spec.history import parse_line
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED

CHUNK = 1 << 20
"""How many bytes are read at once."""

STDIN = "-"
"""The name of the standard input."""

_CODES = {
    ("BOOKED", None, None): CODES[BOOKED],
    ("REJECTED", None, None): CODES[REJECTED],
    ("FAILED", "CONFLICT", False): CODES[CONFLICT],
    ("FAILED", "INFRASTRUCTURE", False): CODES[INFRASTRUCTURE],
    ("FAILED", "INFRASTRUCTURE", True): CODES[IN_DOUBT],
}


Milliseconds = int | float
Sqlstate = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Z]{5}\Z")]


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A line of the file. Fields that are absent are None; a null in the file is refused."""

    def put(self, columns: Columns) -> int:
        """Make it the next event; how many names stand in its object, if none stands there twice.

        Raises:
            Irregular: it cannot be, or it says what only the full reader understands.
        """
        raise NotImplementedError


class _Invoke(_Line, tag="invoke"):
    at: int
    attempt: str
    client: str
    booking_id: str
    resource_id: str
    requested_units: int
    ms: Milliseconds = None  # type: ignore[assignment]

    def put(self, columns: Columns) -> int:
        columns.invoke(
            self.at,
            self.attempt,
            self.client,
            self.booking_id,
            self.resource_id,
            self.requested_units,
            self.ms,
        )
        return 7 if self.ms is None else 8


class _Emit(_Line, tag="emit"):
    at: int
    attempt: str
    outcome: str
    cause: str = None  # type: ignore[assignment]
    in_doubt: bool = None  # type: ignore[assignment]
    ms: Milliseconds = None  # type: ignore[assignment]

    def put(self, columns: Columns) -> int:
        code = _CODES.get((self.outcome, self.cause, self.in_doubt))
        if code is None:
            raise Irregular
        columns.emit(self.at, self.attempt, code, self.ms)
        return (4 if self.cause is None else 6) + (self.ms is not None)


class _CommitSent(_Line, tag="commit-sent"):
    at: int
    attempt: str
    ms: Milliseconds = None  # type: ignore[assignment]

    def put(self, columns: Columns) -> int:
        columns.commit_sent(self.at, self.attempt)
        return 3 + (self.ms is not None)


class _Fence(_Line, tag="fence"):
    at: int
    attempt: str
    ms: Milliseconds = None  # type: ignore[assignment]

    def put(self, columns: Columns) -> int:
        columns.note(events.Fence(self.at, self.attempt, self.ms))
        return 3 + (self.ms is not None)


class _Seen(_Line, tag="seen"):
    at: int
    attempt: str
    what: events.What
    sqlstate: Sqlstate = None  # type: ignore[assignment]
    phase: events.Phase = None  # type: ignore[assignment]
    ms: Milliseconds = None  # type: ignore[assignment]

    def put(self, columns: Columns) -> int:
        columns.note(
            events.Seen(self.at, self.attempt, self.what, self.sqlstate, self.phase, self.ms)
        )
        return 4 + sum(value is not None for value in (self.sqlstate, self.phase, self.ms))


class _Final(_Line, tag="final"):
    resource_id: str
    bookings: tuple[tuple[str, int], ...]
    booked: int = None  # type: ignore[assignment]

    def put(self, columns: Columns) -> int:
        columns.add(events.Final(self.resource_id, self.bookings, self.booked))
        return 3 + (self.booked is not None)


_decode = msgspec.json.Decoder(_Invoke | _Emit | _CommitSent | _Fence | _Seen | _Final).decode


def _mark(lines: bytes) -> bytes:
    """What stands behind each name, and elsewhere only within strings: counting it never gives
    less than the number of names."""
    spaced = b" :" in lines or b"\t:" in lines or b"\r:" in lines
    return b":" if spaced else b'":'


def _once_each(lines: list[bytes], number: int) -> None:
    """Refuse the first of ``lines`` in whose object a name stands twice.

    The lines have been read already, but for this; the first one is the ``number``-th of the file.
    """
    for place, line in enumerate(lines, start=number):
        parse_line(_text(line, place), place)


def _put_slowly(columns: Columns, line: bytes, number: int, mark: bytes) -> int:
    event = parse_line(_text(line, number), number)
    if isinstance(event, Header):
        raise MalformedHistory(number, "a second header")
    try:
        columns.add(event)
    except Irregular:
        _refuse(columns, event, number)
    return line.count(mark)


def _refuse(columns: Columns, event: Event, number: int) -> NoReturn:
    try:
        columns.order().accept(event)
    except Disorder as disorder:
        raise MalformedHistory(number, str(disorder)) from None
    raise AssertionError(f"line {number} is out of order for one reader and not for the other")


class _Reader:
    """Fills the columns, line by line."""

    def __init__(self) -> None:
        self._columns: Columns | None = None
        self._number = 0

    def lines(self, text: bytes) -> None:
        """Whole lines, without the last line break."""
        lines, mark = text.split(b"\n"), _mark(text)
        names = 0
        if self._columns is None:
            names = lines[0].count(mark)
            self._columns = self._open(lines.pop(0))
        columns = self._columns
        try:
            for number, line in enumerate(lines, start=self._number + 1):
                try:
                    names += _decode(line).put(columns)
                except (msgspec.DecodeError, UnicodeDecodeError, Irregular):
                    names += _put_slowly(columns, line, number, mark)
        except MalformedHistory as malformed:
            _once_each(lines[: malformed.line - self._number - 1], self._number + 1)
            raise
        if names != text.count(mark):
            _once_each(lines, self._number + 1)
        self._number += len(lines)

    def _open(self, line: bytes) -> Columns:
        self._number = 1
        return Columns(assemble([parse_line(_text(line, 1), 1)]).header)

    def last(self, rest: bytes) -> Columns:
        """What follows the last line break; the columns, complete."""
        if rest:
            try:
                self.lines(rest)
            except MalformedHistory as malformed:
                reason = f"{malformed.reason}; the file ends within this line"
                raise MalformedHistory(malformed.line, reason) from None
        if self._columns is None:
            assemble([])
            raise AssertionError("a history without a header")
        return self._columns.index()

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
    reader, rest = _Reader(), b""
    try:
        for chunk in _decompressed(file):
            whole, found, begun = chunk.rpartition(b"\n")
            if found:
                reader.lines(rest + whole)
                rest = begun
            else:
                rest += chunk
    except _Corrupt as corrupt:
        raise MalformedHistory(reader.next_line, str(corrupt)) from None
    return reader.last(rest)


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
