"""``lastseat check`` judges recorded histories from anyone."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest
import zstandard

from lastseat.harness.check import run
from lastseat.harness.verdict import Verdict

HEADER = {
    "type": "header",
    "format": "lastseat-history/1",
    "resources": {"r": {"capacity": 1}},
    "observed": ["faults", "server", "commits"],
}
ASKED = {"booking_id": "b1", "resource_id": "r", "requested_units": 1}
LEGAL = [
    HEADER,
    {"type": "invoke", "at": 1, "attempt": "a1", "client": "c1", **ASKED},
    {"type": "commit-sent", "at": 2, "attempt": "a1"},
    {"type": "emit", "at": 3, "attempt": "a1", "outcome": "BOOKED"},
    {"type": "invoke", "at": 4, "attempt": "a2", "client": "c2", **ASKED, "booking_id": "b2"},
    {"type": "emit", "at": 5, "attempt": "a2", "outcome": "REJECTED"},
    {"type": "final", "resource_id": "r", "bookings": [["b1", 1]], "booked": 1},
    {"type": "end", "at": 6},
]
LOST = [
    {**line, "bookings": [], "booked": 0} if line["type"] == "final" else line for line in LEGAL
]


def text(lines: list[dict[str, object]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def written(folder: Path, lines: list[dict[str, object]]) -> str:
    path = folder / "history.jsonl"
    path.write_text(text(lines))
    return str(path)


def test_a_legal_history_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(written(tmp_path, LEGAL), as_json=False) is Verdict.PASS
    said = capsys.readouterr().out
    assert "2 attempts by 2 clients on 1 resource: 1 BOOKED, 1 REJECTED" in said
    assert said.endswith("verdict: pass\n")


def test_a_lost_booking_is_named_with_its_attempt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(written(tmp_path, LOST), as_json=True) is Verdict.VIOLATION
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "violation"
    assert {("BOOKED", "a1")} <= {(v["rule"], *v["attempts"]) for v in told["violations"]}
    assert told["answers"] == {"BOOKED": 1, "REJECTED": 1}


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_compressed_histories_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"history.jsonl.{ending}"
    compress = gzip.compress if ending == "gz" else zstandard.compress
    path.write_bytes(compress(text(LOST).encode()))
    assert run(str(path), as_json=False) is Verdict.VIOLATION


def test_the_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text(LEGAL).encode())))
    assert run("-", as_json=False) is Verdict.PASS


EMIT = LEGAL[3]
REFUSED = {
    "a line that was cut": (text(LEGAL)[:-20], 8),
    "another version": (text([{**HEADER, "format": "lastseat-history/2"}]), 1),
    "an attempt twice": (text([*LEGAL[:2], LEGAL[1]]), 3),
    "time running backwards": (text([*LEGAL[:3], {**EMIT, "at": 1}]), 4),
    "an end for an unknown attempt": (text([HEADER, EMIT]), 2),
    "nothing": ("", 1),
}


@pytest.mark.parametrize(("content", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_history_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, line: int
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(content)
    assert run(str(path), as_json=True) is Verdict.ERROR
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["verdict"], told["line"]) == ("error", line)
    assert told["reason"] in captured.err


def test_a_recording_that_was_cut_off_is_inconclusive(tmp_path: Path) -> None:
    assert run(written(tmp_path, LEGAL[:2]), as_json=False) is Verdict.INCONCLUSIVE
