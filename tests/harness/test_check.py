"""``lastseat check`` judges recorded histories from anyone."""

from __future__ import annotations

import gzip
import io
import json
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lastseat.harness import cli, fastread
from lastseat.harness.check import run
from lastseat.harness.fastread import Limits
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


LONG_ID = {**LEGAL[1], "attempt": "a" * 1000}


def packed(content: bytes, ending: str) -> bytes:
    return {"gz": gzip.compress, "zst": zstandard.compress, "jsonl": bytes}[ending](content)


@pytest.mark.parametrize("ending", ["jsonl", "gz", "zst", "-"])
@pytest.mark.parametrize(
    ("lines", "option", "number", "reason"),
    [
        ([HEADER, LONG_ID], "--max-line=1000", 2, "the line has more than 1,000 bytes; --max-line"),
        (LEGAL, "--max-size=500", 1, "the history has more than 500 bytes; --max-size"),
    ],
)
def test_what_is_too_much_is_refused_unless_the_limit_is_raised(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    lines: list[dict[str, object]],
    option: str,
    number: int,
    reason: str,
) -> None:
    content, path = text(lines).encode(), tmp_path / f"history.{ending}"
    if ending == "-":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        path = Path("-")
    else:
        path.write_bytes(packed(content, ending))
    assert cli.main(["check", str(path), option]) == Verdict.ERROR.value
    error = capsys.readouterr().err
    assert f", line {number}: {reason} raises this limit" in error
    raised = option.partition("=")[0] + "=10k"
    if ending != "-":
        assert cli.main(["check", str(path), raised]) != Verdict.ERROR.value


@pytest.mark.parametrize("size", ["0", "", "-1", "12Q", "1.5M", "9" * 20])
def test_a_limit_is_a_number_of_bytes(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "x", f"--max-line={size}"])
    assert ended.value.code == Verdict.ERROR.value
    assert "is no number of bytes, such as 300M" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("of", [b" ", text([HEADER])[:-2].encode() + b" " * 100 + b"}\n"])
def test_what_unfolds_without_end_takes_no_memory(tmp_path: Path, ending: str, of: bytes) -> None:
    """A gigabyte in less than a megabyte: one line of it, or many."""
    path = tmp_path / f"bomb.{ending}"
    made: Any = zlib.compressobj(wbits=31) if ending == "gz" else zstandard.ZstdCompressor()
    made = made if ending == "gz" else made.compressobj()
    with path.open("wb") as file:
        file.write(made.compress(text([HEADER]).encode()))
        for _ in range(256):
            file.write(made.compress(of * ((4 << 20) // len(of))))
        file.write(made.flush())
    limit = 200 << 20
    command = [sys.executable, "-m", "lastseat.harness.cli", "check", str(path)]
    done = subprocess.run(
        [*command, "--max-size=100M", "--max-line=10M"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    assert done.returncode == Verdict.ERROR.value, done.stderr
    assert ", line 2: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_long_plain_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fastread, "CHUNK", 100)
    monkeypatch.setattr(fastread, "LONG", 1)
    path = written(tmp_path, LEGAL)
    size = len(text(LEGAL[:4])) + 5
    assert run(path, as_json=False, limits=Limits(size=size)) is Verdict.ERROR
    assert f", line 5: the history has more than {size} bytes" in capsys.readouterr().err
    assert run(path, as_json=False, limits=Limits(line=200)) is Verdict.PASS
    assert run(path, as_json=False, limits=Limits(line=100)) is Verdict.ERROR
    assert ", line 1: the line has more than 100 bytes" in capsys.readouterr().err


def test_the_limits_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["check", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "--max-line BYTES the most bytes of a line" in told
    assert "(default: 64M)" in told
    assert "(default: 2G)" in told
