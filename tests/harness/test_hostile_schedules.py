"""A schedule from a stranger is replayed, and whatever it holds, what is told of it is plain."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.harness.test_plain import HOSTILE, of, unseen

from lastseat.harness import cli
from lastseat.harness.plain import plain
from lastseat.harness.postgres import Server
from lastseat.harness.verdict import Verdict

EVERYTHING = "".join(text for text in HOSTILE.values() if "\ud800" not in text)
HUGE = 10**30


@pytest.fixture(scope="module")
def violation(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two callers of an implementation that knows no lock come to."""
    out = tmp_path_factory.mktemp("explored")
    arguments = ["explore", "last-seat", "X01", "--dsn", server.dsn(), "--out", str(out)]
    assert cli.main([*arguments, "--preemptions", "1"]) == Verdict.VIOLATION.value
    found: dict[str, Any] = json.loads((out / "violation-1.schedule.json").read_bytes())
    return found


@pytest.fixture
def replay(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[dict[str, Any]], tuple[int, str, str]]:
    """Replays it once; the exit code, what was said, and the page if there is one."""

    def run(schedule: dict[str, Any]) -> tuple[int, str, str]:
        file, out = tmp_path / "x.schedule.json", tmp_path / "out"
        file.write_text(json.dumps(schedule))
        arguments = ["replay", str(file), "--times", "1", "--out", str(out)]
        code = cli.main([*arguments, "--dsn", server.dsn()])
        said = capsys.readouterr()
        pages = [page.read_text() for page in out.glob("*.html")]
        return code, said.out + said.err, "".join(pages)

    return run


Replay = Callable[[dict[str, Any]], tuple[int, str, str]]


def test_it_is_convicted_whatever_its_names_are(violation: dict[str, Any], replay: Replay) -> None:
    hostile = copy.deepcopy(violation)
    scenario = hostile["scenario"]
    scenario["name"] = scenario["why"] = EVERYTHING
    code, said, page = replay(hostile)
    assert code == Verdict.VIOLATION.value, said
    assert f"violation in scenario {plain(EVERYTHING)}" in said
    assert plain(EVERYTHING[:20]) in page
    for text in (said, page):
        assert not unseen(text.replace("\n", ""))
    assert not [line for line in of(said) if line.startswith("verdict")]


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Puts a value into one place."""

    def apply(schedule: dict[str, Any]) -> None:
        *way, last = path.split(".")
        holder: Any = schedule
        for step in way:
            holder = holder[int(step) if step.isdecimal() else step]
        holder[int(last) if last.isdecimal() else last] = value

    return apply


STRANGE = {
    "a booking id": ("scenario.attempts.alice.0.booking_id", EVERYTHING),
    "an id that is none": ("scenario.attempts.alice.0.booking_id", ""),
    "a resource that is none": ("scenario.attempts.alice.0.resource_id", "\x1b[2J"),
    "no units": ("scenario.attempts.alice.0.requested_units", 0),
    "huge units": ("scenario.attempts.alice.0.requested_units", HUGE),
    "a huge capacity": ("scenario.capacities.r1", HUGE),
    "a negative capacity": ("scenario.capacities.r1", -1),
    "very many capacities": ("scenario.capacities", {f"r{n}": 1 for n in range(300_000)}),
    "no capacities": ("scenario.capacities", {}),
    "no attempts": ("scenario.attempts.alice", []),
    "no clients": ("scenario.attempts", {}),
    "no decisions": ("decisions", []),
    "a decision that cannot be": ("decisions.0.chosen", "release alice"),
    "a fault at once": ("decisions.0.chosen", "lose-answer alice"),
    "a strange fingerprint": ("decisions.1.fingerprint", EVERYTHING),
    "a strange shape": ("decisions.1.shape", EVERYTHING),
    "a booking beforehand that does not fit": (
        "scenario.prior",
        [{"booking_id": "b0", "resource_id": "r1", "requested_units": 7}],
    ),
    "a deadline that is over": ("scenario.deadlines", {"alice": -1}),
    "a huge deadline": ("scenario.deadlines", {"alice": HUGE}),
}


@pytest.mark.parametrize(("path", "value"), STRANGE.values(), ids=STRANGE.keys())
def test_whatever_it_asks_for_there_is_a_verdict_or_a_reason(
    violation: dict[str, Any], replay: Replay, path: str, value: Any
) -> None:
    strange = copy.deepcopy(violation)
    change(path, value)(strange)
    code, said, page = replay(strange)
    assert code in {each.value for each in Verdict}, said
    assert "Traceback" not in said
    assert "fault of lastseat's own" not in said
    for text in (said, page):
        assert not unseen(text.replace("\n", ""))
