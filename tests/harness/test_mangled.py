"""Whatever a file or an adapter holds, it is understood or refused, and nothing breaks.

Right histories, schedules, lists of known failures and adapters' replies are mangled at random, as
bytes and as values. ``LASTSEAT_MANGLED_ROUNDS`` sets how many of each.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.harness import test_check
from tests.spec.histories import generate

from lastseat.harness import check, cli, record
from lastseat.harness.implementations.protocol import (
    AdapterError,
    decode,
    read_attempt,
    read_start,
)
from lastseat.harness.paste import pack, unpack
from lastseat.harness.record import MalformedSchedule, read_schedule, to_json
from lastseat.harness.selection import MalformedKnownFailures, read_known
from lastseat.harness.verdict import Verdict
from lastseat.spec.history import encode

ROUNDS = int(os.environ.get("LASTSEAT_MANGLED_ROUNDS", "300"))

DEEP = 100_000
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 2**63, 10**30, "", "x", "\ud800", "\x00", "\u202e\n",
    "a/../b", [], {}, [[]], {"": 0}, [["b", 1, 2]], [["b"]],
]  # fmt: skip
BYTES = (
    b"\xff", b"\x00", b"[" * DEEP, b'{"a":' * DEEP, b"\xed\xa0\x80", b'"', b"}", b"\n", b"9" * 5000
)  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def mangle(rng: random.Random, value: Any) -> None:
    """Put something odd into one place of a value, or leave something out, or double it."""
    container, key = rng.choice(list(places(value)))
    kind = rng.randrange(5)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[rng.choice(("x", "ms", "\ud800", "", "at"))] = copy.deepcopy(container[key])
    elif kind == 1:
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[key] = copy.deepcopy(rng.choice(ODD))


def torn(rng: random.Random, data: bytes) -> bytes:
    """A piece of it is gone, doubled or replaced."""
    begin = rng.randrange(len(data) + 1)
    end = min(len(data), begin + rng.choice((0, 1, 1, 10, 200)))
    put = rng.choice((b"", data[begin:end] * 2, *BYTES))
    return data[:begin] + put + data[end:]


def mangled(rng: random.Random, value: Any) -> bytes:
    """A value as JSON, mangled once or twice."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((0, 1, 1, 2))):
        mangle(rng, value)
    data = json.dumps(value).encode()
    return torn(rng, data) if rng.random() < 0.4 else data


def test_histories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random("mangled histories")
    path = tmp_path / "history.jsonl"
    met = set()
    for _ in range(ROUNDS):
        history = generate(rng, 6)
        lines = [encode(line).encode() for line in (history.header, *history.events)]
        place = rng.choice((0, rng.randrange(len(lines))))
        lines[place] = mangled(rng, json.loads(lines[place]))
        path.write_bytes(b"\n".join(lines) + b"\n")
        code = cli.main(["check", str(path), *rng.choice(([], ["--json"]))])
        said = capsys.readouterr()
        assert code in {0, 1, 2, 3}, lines
        assert "Traceback" not in said.err, lines
        if code == Verdict.ERROR.value:
            assert "lastseat check: " in said.err
            assert ", line " in said.err, said.err
        said.out.encode()
        met.add(code)
    assert met == {0, 1, 2, 3}


SCHEDULE: dict[str, Any] = {
    "format": record.SCHEDULE_FORMAT,
    "scenario": {
        "name": "last-seat",
        "why": "two callers, one seat",
        "capacities": {"r1": 1},
        "attempts": {
            "alice": [{"booking_id": "b1", "resource_id": "r1", "requested_units": 1}],
            "bob": [{"booking_id": "b2", "resource_id": "r1", "requested_units": 1}],
        },
        "prior": [],
        "deadlines": {"bob": 300},
    },
    "implementation": "optimistic",
    "seed": 1,
    "decisions": [
        {
            "step": 1,
            "enabled": ["start alice", "start bob"],
            "chosen": "start alice",
            "fingerprint": "",
            "shape": "",
            "fault": None,
            "observed": ["x"],
        },
        {
            "step": 2,
            "enabled": ["release alice", "start bob"],
            "chosen": "lose-answer alice",
            "fingerprint": "BEGIN",
            "shape": "BEGIN",
            "fault": "lose-answer",
            "observed": [],
        },
    ],
    "verdict": "",
}


def test_schedules() -> None:
    """What is read is a schedule in all its parts: it can be written, and read again."""
    rng = random.Random("mangled schedules")
    met = set()
    for _ in range(ROUNDS):
        data = mangled(rng, SCHEDULE)
        try:
            schedule = read_schedule(data)
        except MalformedSchedule:
            met.add(False)
            continue
        met.add(True)
        assert read_schedule(msgspec.json.encode(to_json(schedule))) == schedule
    assert met == {True, False}


def test_strings_of_schedules() -> None:
    rng = random.Random("mangled strings")
    whole = pack(read_schedule(json.dumps(SCHEDULE).encode()))
    for _ in range(ROUNDS):
        with contextlib.suppress(MalformedSchedule):
            unpack(torn(rng, whole.encode())[:100_000].decode("latin-1"))


@pytest.mark.parametrize("content", BYTES, ids=lambda b: repr(b[:6]))
def test_a_schedule_that_is_none_ends_the_replay_without_a_traceback(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.schedule.json"
    path.write_bytes(content)
    assert cli.main(["replay", str(path)]) == Verdict.ERROR.value
    said = capsys.readouterr().err
    assert said.startswith("lastseat: no schedule: ")
    assert "Traceback" not in said


def test_known_failures(tmp_path: Path) -> None:
    rng = random.Random("mangled TOML")
    path = tmp_path / "known.toml"
    whole = b'"explore/last-seat" = "a reason"\n"faults/*" = "another"\n'
    for content in (*(torn(rng, whole) for _ in range(ROUNDS)), b"x = " + b"[" * DEEP):
        path.write_bytes(content)
        with contextlib.suppress(MalformedKnownFailures):
            read_known(path)


REPLIES: list[dict[str, Any]] = [
    {"seq": 1, "result": {"outcome": "BOOKED"}},
    {"seq": 1, "result": {"outcome": "FAILED", "cause": "INFRASTRUCTURE", "in_doubt": True}},
    {"seq": 1, "raised": {"message": "no", "in_doubt": False}},
    {"seq": 1, "errored": {"message": "no"}},
]
STARTED: dict[str, Any] = {
    "seq": 1,
    "result": {
        "protocol": 1,
        "implementation": {"name": "it", "language": "C", "version": "1"},
        "mechanism": "it",
        "promises": ["winner"],
        "ids": "text",
        "audit": {"bookings": "SELECT", "booked": None},
    },
}


@pytest.mark.parametrize("replies", [REPLIES, [STARTED]], ids=["attempt", "start"])
def test_replies_of_adapters(replies: list[dict[str, Any]]) -> None:
    rng = random.Random("mangled replies")
    met = set()
    for _ in range(ROUNDS):
        line = mangled(rng, rng.choice(replies))
        try:
            reply = decode(line, 1)
            if replies is REPLIES:
                read_attempt(reply)
            else:
                read_start(reply.get("result"))
        except AdapterError:
            met.add(False)
        else:
            met.add(True)
    assert met == {True, False}


def test_a_dsn_that_is_not_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", "--dsn", "host=\udcff"])
    assert ended.value.code == Verdict.ERROR.value
    assert "the dsn is not UTF-8" in capsys.readouterr().err


def test_deep_nesting_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.jsonl"
    deep = '{"type":"invoke","at":' + "[" * DEEP
    path.write_text(test_check.text(test_check.LEGAL[:2]) + deep + "\n")
    assert check.run(str(path), as_json=False) is Verdict.ERROR
    assert ", line 3: malformed JSON: " in capsys.readouterr().err
