"""The commands that verify what is right as users do: they tell a pass from what is none."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests import right, steady
from tests.as_users import KINDS, RIGHT, ROOT, Verification, busy, verify

from lastseat.harness.mutants.catalogue import CONFORMING
from lastseat.harness.postgres.binaries import Binaries

SERVERS = [Binaries(Path(f"/{major}"), (major, 1), "here") for major in (18, 16, 15)]


def test_one_that_is_right_passes_on_the_server_that_was_chosen(tmp_path: Path) -> None:
    done = verify("guarded-update", tmp_path / "report", ["--select", "explore/in-turn"])
    assert (done.exit_code, done.detail) == (0, "")
    assert done.conclusion.startswith("pass of 1 case")
    assert done.server.startswith("PostgreSQL ")
    assert (tmp_path / "report" / "terminal.txt").exists()


def test_one_that_is_wrong_is_told_with_its_rules(tmp_path: Path) -> None:
    done = verify("X59", tmp_path, ["--select", "explore/in-turn"])
    assert done.exit_code == 1
    assert "capacity" in done.rules


def test_a_command_that_fails_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "verification.json").write_text("an earlier run's")
    done = verify("no-such-implementation", tmp_path)
    assert done.exit_code == 3
    assert "no-such-implementation" in done.conclusion
    assert done.server == ""


def told(codes: dict[str, int]) -> Callable[..., Verification]:
    """Verifications that end so; those that are not named pass."""
    return lambda name, *_: Verification(name, codes.get(name, 0), 1.0, "the end")


@pytest.mark.parametrize(
    ("codes", "failed"),
    [
        ({"X01": 1}, 0),
        ({"X01": 0}, 1),
        ({"X01": 2}, 1),
        ({"X01": 1, "nowait": 1}, 1),
        ({"X01": 1, "nowait": 2}, 1),
        ({"X01": 3, "nowait": 3}, 2),
    ],
)
def test_right_ones_must_pass_and_wrong_ones_must_be_convicted(
    codes: dict[str, int], failed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [right.Job("nowait"), right.Job("X01", wrong=True)]
    assert right.run(asked, told(codes), together=2) == failed
    printed = capsys.readouterr().out
    assert printed.count("WRONG  ") == failed
    assert f"{2 - failed} of 2 are as they should be" in printed


def test_the_gates_part_explores_every_right_one_and_has_wrong_ones_on_every_server() -> None:
    jobs = list(right.brief(SERVERS))
    explored = [job.name for job in jobs if job.options == right.EXPLORATIONS]
    assert explored == list(RIGHT)
    assert len(RIGHT) >= 20
    assert [job.name for job in jobs if job.options == right.FAULTS] == list(KINDS)
    assert len({*KINDS} & {*RIGHT}) == 6
    on = {server: {job.name for job in jobs if job.server == server} for server in SERVERS}
    assert all({*right.WRONG} < names for names in on.values())
    assert len({job.folder for job in jobs}) == len(jobs)


def test_the_page_lists_every_right_one() -> None:
    page = (ROOT / "docs" / "right.md").read_text()
    assert all(f"| `{mutant.name}` | {mutant.does} |" in page for mutant in CONFORMING)
    assert page.count("\n| `") - page.count("\n| `make ") == len(CONFORMING)


def test_what_is_not_steady_is_counted_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    ends = {"a-1": 0, "b-1": 2, "a-2": 1, "b-2": 0, "a-3": 3, "b-3": 0}

    def verifying(name: str, out: Path, options: Sequence[str]) -> Verification:
        return Verification(name, ends[out.name], 2.0, "the end", reasons=["because"])

    lines = steady.table(steady.measure(["a", "b"], 3, (), verifying=verifying))
    assert lines[1].split()[:6] == ["a", "3", "1", "1", "0", "1"]
    assert lines[2].split()[:6] == ["b", "3", "2", "0", "1", "0"]
    assert lines[3].split()[:6] == ["all", "6", "3", "1", "1", "1"]
    assert capsys.readouterr().out.count("because") == 3


def test_no_run_is_begun_when_the_time_is_over() -> None:
    assert steady.measure(["a"], 3, (), until=0.0, verifying=told({})) == {}


def test_the_load_is_there_and_ends() -> None:
    before = {process.pid for process in multiprocessing.active_children()}
    with busy(1):
        running = {p.pid for p in multiprocessing.active_children()} - before
        assert len(running) == os.cpu_count()
    assert not {p.pid for p in multiprocessing.active_children()} & running
