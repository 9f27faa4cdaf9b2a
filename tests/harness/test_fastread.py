"""The fast reader takes and refuses what the readable one does, and tells the same of it."""

from __future__ import annotations

import io
import os
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from attrs import asdict
from tests.spec.histories import generate
from tests.spec.test_history import ACCEPTED, DISORDER, HEADER, REFUSED

from lastseat.harness import fastread
from lastseat.spec import history
from lastseat.spec.columns import Columns, columns_of
from lastseat.spec.events import MalformedHistory
from lastseat.spec.history import encode

ROUNDS = int(os.environ.get("LASTSEAT_FASTREAD_ROUNDS", "1000"))


def contents(columns: Columns) -> dict[str, Any]:
    return asdict(columns, recurse=False)


def fast(text: bytes) -> tuple[int, str] | dict[str, Any]:
    try:
        return contents(fastread.read(io.BytesIO(text)))
    except MalformedHistory as malformed:
        return malformed.line, malformed.reason


def readable(text: bytes) -> tuple[int, str] | dict[str, Any]:
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    try:
        return contents(columns_of(history.read(line.decode() for line in lines)))
    except MalformedHistory as malformed:
        return malformed.line, malformed.reason


def compare(text: bytes) -> None:
    assert fast(text) == readable(text)


@pytest.mark.parametrize("line", [*ACCEPTED.values(), *(text for text, _ in REFUSED.values())])
def test_single_lines(line: str) -> None:
    compare(f"{line}\n".encode())
    compare(f"{encode(HEADER)}\n{line}\n".encode())


@pytest.mark.parametrize("items", [items for items, _, _ in DISORDER.values()])
def test_order(items: list[Any]) -> None:
    compare("".join(encode(item) + "\n" for item in items).encode())


INVOKE = b'{"type":"invoke","at":1,"attempt":"a","client":"c","booking_id":"b","resource_id":"r"'
ODD = {
    "a name twice": INVOKE + b',"requested_units":1,"at":1}',
    "a name twice, and spaced": INVOKE + b',"requested_units":1,"at" :1}',
    "an optional name twice": INVOKE + b',"requested_units":1,"ms":1,"ms":1}',
    "the type twice": INVOKE + b',"requested_units":1,"type":"invoke"}',
    "another order and many spaces": b' { "requested_units" : 1 ,\t' + INVOKE[1:] + b"}\r",
    "a colon in a string": INVOKE.replace(b'"c"', b'"c\\":1"') + b',"requested_units":1}',
    "a name in escapes": INVOKE + b',"\\u0072equested_units":1}',
    "units as a float": INVOKE + b',"requested_units":1.0}',
    "a lone surrogate": INVOKE.replace(b'"c"', b'"\\ud800"') + b',"requested_units":1}',
    "a blank line": b"",
    "two on one line": INVOKE + b',"requested_units":1}{}',
}


@pytest.mark.parametrize("line", ODD.values(), ids=ODD.keys())
def test_odd_lines(line: bytes) -> None:
    head = encode(HEADER).encode()
    end = b'{"type":"end","at":1}'
    compare(b"\n".join([head, line, end, b""]))
    # What is wrong first is told, even where it is found only after the rest was read.
    compare(b"\n".join([head, line, end, end, b""]))


def test_mutilated_histories() -> None:
    rng = random.Random("fastread")
    refused = 0
    for _ in range(ROUNDS):
        given = generate(rng, most=8)
        lines = [encode(item).encode() for item in (given.header, *given.events)]
        for _ in range(rng.choice((0, 1, 1, 2))):
            mutilate(rng, lines)
        text = b"\n".join([*lines, b""])
        if is_utf8(text):
            compare(text)
            refused += isinstance(fast(text), tuple)
    assert ROUNDS / 4 < refused < ROUNDS * 3 / 4


def mutilate(rng: random.Random, lines: list[bytes]) -> None:
    if not lines:
        return
    place = rng.randrange(len(lines))
    line = lines[place]
    match rng.randrange(6):
        case 0:
            del lines[place]
        case 1:
            lines.insert(rng.randrange(1, len(lines) + 1), line)
        case 2:
            lines[place] = line.replace(b'":', rng.choice((b'": ', b'" :'))).replace(b",", b", ")
        case 3:
            cut = rng.randrange(len(line) + 1)
            lines[place] = line[:cut] + rng.choice((b"", b'"', b":", b"0", b" ", b"\t", b"\\"))
            lines[place] += line[cut + rng.randint(0, 1) :]
        case 4:
            members = line[1:-1].split(b",")
            members.insert(rng.randrange(len(members) + 1), rng.choice(members))
            lines[place] = b"{" + b",".join(members) + b"}"
        case 5:
            other = rng.randrange(len(lines))
            lines[place], lines[other] = lines[other], lines[place]


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_what_is_no_text() -> None:
    text = encode(HEADER).encode() + b'\n{"type":"end","at":1}\xff\n'
    assert fast(text) == (2, "not UTF-8: invalid start byte")


def test_cut_off_within_a_line() -> None:
    line, reason = fast(encode(HEADER).encode() + b'\n{"type":"end","a')
    assert line == 2
    assert "malformed JSON" in str(reason)
    assert "the file ends within this line" in str(reason)


def long_history() -> bytes:
    ends = "".join(f'{{"type":"fault","kind":"cut","from":{n}}}\n' for n in range(30_000))
    return (encode(HEADER) + "\n" + ends).encode()


@pytest.mark.parametrize("pack", [zlib.compress, zstandard.compress], ids=["gzip", "zstandard"])
def test_compressed(pack: Any) -> None:
    """In one stream, in two, and cut off; a chunk is smaller than that."""

    def packed(text: bytes) -> bytes:
        return zlib.compress(text, wbits=31) if pack is zlib.compress else pack(text)

    text = long_history()
    assert len(text) > fastread.CHUNK
    plain = fast(text)
    assert isinstance(plain, dict)
    assert fast(packed(text)) == plain
    assert fast(packed(text[:5000]) + packed(text[5000:])) == plain
    line, reason = fast(packed(text)[:-100])
    assert isinstance(line, int)
    assert line > 1
    assert reason == "the compressed data is cut off"
    damaged = bytearray(packed(text))
    damaged[len(damaged) // 2] ^= 0xFF
    assert isinstance(fast(bytes(damaged)), tuple)


def busy_history(attempts: int) -> list[bytes]:
    """Attempts that overlap, of which something is told, and a fault in the middle."""
    lines, at = [encode(HEADER).encode()], 0
    for number in range(attempts + 3):
        for back, line in enumerate((INVOKED, SENT, BOOKED)):
            if 0 <= number - back < attempts:
                at += 1
                lines.append(line % {b"at": at, b"n": number - back})
        if number == attempts // 2:
            lines.append(b'{"type":"fault","kind":"cut","from":%d}' % at)
    return lines


INVOKED = INVOKE.replace(b'"at":1', b'"at":%(at)d').replace(b'"b"', b'"b%(n)d"')
INVOKED = INVOKED.replace(b'"attempt":"a"', b'"attempt":"a%(n)d"') + b',"requested_units":1}'
SENT = b'{"type":"commit-sent","at":%(at)d,"attempt":"a%(n)d"}'
BOOKED = b'{"type":"emit","at":%(at)d,"attempt":"a%(n)d","outcome":"BOOKED"}'


def test_a_long_history_is_read_with_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same as without: right, out of order, cut off, or damaged behind what helpers were given;
    by those who are given text, and by those who read the file themselves.

    A small chunk has attempts that began in one before, and a line may be longer than a part.
    """
    lines = busy_history(400)
    swapped = [*lines[:900], lines[901], lines[900], *lines[902:]]
    rows = ",".join(f'["b{n}",1]' for n in range(400))
    final = f'{{"type":"final","resource_id":"r","bookings":[{rows}]}}'.encode()
    assert len(final) > 4000
    texts = [b"\n".join(each) + b"\n" for each in (lines, swapped, [*lines, final])]
    texts += [texts[0][:-9], zstandard.compress(texts[0])[:-30]]
    alone = [fast(text) for text in texts]
    assert isinstance(alone[0], dict)
    assert alone[0]["commits"][399] is not None
    assert [isinstance(each, tuple) for each in alone] == [False, True, False, True, True]
    monkeypatch.setattr(fastread, "CHUNK", 1000)
    monkeypatch.setattr(fastread, "SHARE", 3)
    monkeypatch.setattr(fastread, "LONG", 2)
    helped = [fast(text) for text in texts]
    assert helped[:4] == alone[:4]
    assert helped[4][1] == alone[4][1]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}").write_bytes(text)
    shared = [of_path(str(tmp_path / f"{number}")) for number in range(len(texts))]
    assert shared == helped


def of_path(path: str) -> tuple[int, str] | dict[str, Any]:
    try:
        return contents(fastread.read_path(path))
    except MalformedHistory as malformed:
        return malformed.line, malformed.reason


@pytest.mark.parametrize("size", [1, 7, 90, 91, 100_000])
def test_every_line_is_of_one_part(size: int, tmp_path: Path) -> None:
    text = b"\n".join(busy_history(3)) + b"\n\nlast, unfinished"
    (tmp_path / "it").write_bytes(text)
    path = str(tmp_path / "it")
    parts = [
        fastread._Part(path, begin, min(begin + size, len(text)), 50, 1000)
        for begin in range(0, len(text), size)
    ]
    assert b"".join(piece for part in parts for piece in part) == text
