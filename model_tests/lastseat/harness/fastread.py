"""Reads a recorded history into columns: a million attempts in some seconds.

What is usual is taken in batches of lines; where the file is long, other processes make them. Every
line that no batch takes, for whatever reason, is read by ``history.parse_line``, and every event
that cannot come next is held against ``events.Order``: so what is refused, and why, is decided in
one place only.
"""

from __future__ import annotations

import functools
import gc
import itertools
import os
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, NoReturn, Protocol

import zstandard
from attrs import frozen

from lastseat.harness import workers
from lastseat.harness.batches import Batch, Filler, batch_of, final_of
from lastseat.harness.workers import Setup, Task
from lastseat.spec.columns import Columns, Irregular
from lastseat.spec.events import Disorder, Event, Header, MalformedHistory, assemble
from lastseat.spec.history import parse_line

CHUNK = 1 << 17
"""How many bytes are read at once: what is decoded of them should stay in the processor's cache."""

SHARE = 32
"""How many chunks another process is given at once."""

HELPERS = 4
"""More of them are not of use: this process has its own work with each batch."""

LONG = 4 * SHARE
"""Other processes help with what follows so many chunks: they need a moment to begin."""

STDIN = "-"
"""The name of the standard input."""

STEP = 1 << 10
"""How many compressed bytes are taken at once: they may unfold to ten thousand times as much."""


@frozen
class Limits:
    """How much is read at most, in bytes: what is compressed counts as it unfolds."""

    line: int = 64 << 20
    size: int = 2 << 30


DEFAULT = Limits()


def _put_slowly(columns: Columns, line: bytes, number: int) -> None:
    event = final_of(line) or parse_line(_text(line, number), number)
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

    def __init__(self, limits: Limits) -> None:
        self._filler: Filler | None = None
        self._number = 0
        self._longest = limits.line

    def take(self, batch: Batch | None) -> bool:
        """Make a batch what comes next; whether it can be."""
        if batch is None or self._filler is None or not self._filler.take(batch):
            return False
        self._number += batch.lines
        return True

    def lines(self, text: bytes) -> None:
        """Some lines. Only the file's last may lack its line break.

        What is unusual is found by halving, so that all else is still read fast.
        """
        if self._filler is None:
            head, end, text = text.partition(b"\n")
            self._line(head + end)
        if not text or (len(text) <= self._longest and self.take(batch_of(text))):
            return
        lines = _split(text)
        if len(lines) == 1:
            self._line(text)
            return
        half = len(lines) // 2
        for part in (lines[:half], lines[half:]):
            self.lines(b"".join(part))

    def _line(self, line: bytes) -> None:
        self._number += 1
        if len(line) > self._longest:
            raise MalformedHistory(self._number, _TOO_LONG.format(self._longest))
        try:
            if self._filler is None:
                header = assemble([parse_line(_text(line, 1), 1)]).header
                self._filler = Filler(Columns(header))
            else:
                _put_slowly(self._filler.columns, line, self._number)
        except MalformedHistory as malformed:
            if line.endswith(b"\n"):
                raise
            reason = f"{malformed.reason}; the file ends within this line"
            raise MalformedHistory(malformed.line, reason) from None

    def columns(self) -> Columns:
        """All that was read, complete."""
        if self._filler is None:
            assemble([])
            raise AssertionError("a history without a header")
        return self._filler.columns.index()

    @property
    def next_line(self) -> int:
        """The line after those that were read."""
        return self._number + 1


_TOO_LONG = "the line has more than {:,} bytes; --max-line raises this limit"
_TOO_LARGE = "the history has more than {:,} bytes; --max-size raises this limit"


def _split(text: bytes) -> list[bytes]:
    """Its lines, each with its line break. ``splitlines`` would know other breaks, too."""
    *whole, rest = text.split(b"\n")
    return [*(line + b"\n" for line in whole), *([rest] if rest else [])]


def _text(line: bytes, number: int) -> str:
    try:
        return line.removesuffix(b"\n").decode()
    except UnicodeDecodeError as error:
        raise MalformedHistory(number, f"not UTF-8: {error.reason}") from None


def read(file: IO[bytes], limits: Limits = DEFAULT) -> Columns:
    """The history in ``file``, which may be compressed by gzip or zstandard.

    Raises:
        MalformedHistory: at the first line that cannot stand where it stands, that is cut off, or
            that is beyond the limits.
        OSError: the file cannot be read.
    """
    reader, texts = _Reader(limits), _texts(file, limits)
    try:
        for text in itertools.islice(texts, LONG):
            reader.lines(text)
        for text, batch in _with_help(texts):
            if len(text) > limits.line or not reader.take(batch):
                reader.lines(text)
    except _Unreadable as unreadable:
        raise MalformedHistory(reader.next_line, str(unreadable)) from None
    return reader.columns()


def _read_long(path: str, size: int, limits: Limits) -> Columns:
    """A long file that is not compressed: each helper reads a part of it itself."""
    reader, own, share = _Reader(limits), LONG * CHUNK, SHARE * CHUNK
    begins = range(own, size, share)
    longest = limits.line
    parts = [_Part(path, begin, min(begin + share, size), CHUNK, longest) for begin in begins]
    results = workers.run((functools.partial(_packed, part) for part in parts), *_helpers())
    for text in _Part(path, 0, own, CHUNK, longest):  # while they make themselves ready
        reader.lines(text)
    for part, packed in zip(parts, results, strict=True):
        for place, data in enumerate(packed):
            if not reader.take(_unpacked(data)):
                reader.lines(list(part)[place])
    return reader.columns()


@frozen
class _Part:
    """The lines of a file that begin between two places in it; iterated, many at a time: a chunk
    and what is left of its last line. Of a line that is longer than ``longest``, more than that."""

    path: str
    begin: int
    end: int
    chunk: int
    longest: int

    def __iter__(self) -> Iterator[bytes]:
        text, at = self._text(), 0
        while at < len(text):
            after = text.find(b"\n", at + self.chunk) + 1 or len(text)
            yield text[at:after]
            at = after

    def _text(self) -> bytes:
        with Path(self.path).open("rb") as file:
            file.seek(max(self.begin - 1, 0))
            text = file.read(self.end - file.tell())
            if self.begin:
                _, begins, text = text.partition(b"\n")
                if not begins:
                    return b""
            return text if text[-1:] in (b"", b"\n") else text + file.readline(self.longest + 1)


def _texts(file: IO[bytes], limits: Limits) -> Iterator[bytes]:
    """The lines, many at a time; what follows the last line break comes last, if it is anything.

    After a line that is too long, or rather its beginning, nothing follows.

    Raises:
        _Unreadable: after all that came before.
    """
    rest, held, size = list[bytes](), 0, 0
    for chunk in _decompressed(file):
        size += len(chunk)
        if size > limits.size:
            raise _Unreadable(_TOO_LARGE.format(limits.size))
        whole, found, begun = chunk.rpartition(b"\n")
        if found:
            yield b"".join([*rest, whole, found])
            rest, held = [begun], len(begun)
        else:
            rest.append(chunk)
            held += len(chunk)
            if held > limits.line:
                break
    if any(rest):
        yield b"".join(rest)


def _with_help(texts: Iterator[bytes]) -> Iterator[tuple[bytes, Batch | None]]:
    """Each text, and as a batch, made by other processes while this one goes on.

    Raises:
        _Unreadable: after all that came before.
    """
    given, unreadable = deque[list[bytes]](), list[_Unreadable]()

    def tasks() -> Iterator[Task[None, list[bytes | None]]]:
        try:
            while some := list(itertools.islice(texts, SHARE)):
                given.append(some)
                yield functools.partial(_packed, some)
        except _Unreadable as error:
            unreadable.append(error)

    for packed in workers.run(tasks(), *_helpers()):
        for text, data in zip(given.popleft(), packed, strict=True):
            yield text, _unpacked(data)
    if unreadable:
        raise unreadable[0]


def _helpers() -> tuple[int, Setup[None]]:
    return min(len(os.sched_getaffinity(0)), HELPERS), _unprepared


def _unprepared(_: object) -> AbstractContextManager[None]:
    return nullcontext()


def _packed(texts: Iterable[bytes], _: None) -> list[bytes | None]:
    """Each text as a packed batch, if it can be one."""
    batches = map(batch_of, texts)
    return [None if batch is None else batch.packed() for batch in batches]


def _unpacked(data: bytes | None) -> Batch | None:
    return None if data is None else Batch.unpacked(data)


def read_path(path: str, limits: Limits = DEFAULT) -> Columns:
    """The history in the file of that name; ``-`` is the standard input. See ``read``."""
    with without_collection():
        if path == STDIN:
            return read(sys.stdin.buffer, limits)
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LONG * CHUNK and _compression(file.peek(_MAGIC)) is None:
                if size > limits.size:
                    line = _line_at(file, limits.size)
                    raise MalformedHistory(line, _TOO_LARGE.format(limits.size))
                return _read_long(path, size, limits)
            return read(file, limits)


def _line_at(file: IO[bytes], place: int) -> int:
    """The number of the line in which a byte of the file stands."""
    number = 1
    while place > 0:
        chunk = file.read(min(place, CHUNK))
        number += chunk.count(b"\n")
        place -= len(chunk)
    return number


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


class _Unreadable(Exception):
    """There is more than may be read, or the compressed data is cut off, or is none."""


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


_MAGIC = max(map(len, _COMPRESSIONS))


def _compression(data: bytes) -> Callable[[], _Stream] | None:
    return next((each for magic, each in _COMPRESSIONS.items() if data.startswith(magic)), None)


def _decompressed(file: IO[bytes]) -> Iterator[bytes]:
    """What the file holds, a chunk and seldom much more at a time."""
    data = file.read(CHUNK)
    begin = _compression(data)
    if begin is None:
        while data:
            yield data
            data = file.read(CHUNK)
        return
    whole, size = list[bytes](), 0
    for some in _unfolded(file, data, begin):
        whole.append(some)
        size += len(some)
        if size >= CHUNK:
            yield b"".join(whole)
            whole, size = [], 0
    if size:
        yield b"".join(whole)


def _unfolded(file: IO[bytes], data: bytes, begin: Callable[[], _Stream]) -> Iterator[bytes]:
    """The data, of which the first has been read, a step at a time: none unfolds to too much."""
    stream = begin()
    while data:
        for place in range(0, len(data), STEP):
            step = data[place : place + STEP]
            while step:
                if stream.eof:
                    stream = begin()
                try:
                    yield stream.decompress(step)
                except (zlib.error, zstandard.ZstdError) as error:
                    raise _Unreadable(f"the compressed data is damaged: {error}") from None
                step = stream.unused_data
        data = file.read(CHUNK)
    if not stream.eof:
        raise _Unreadable("the compressed data is cut off")
