"""The cases of a verification spread over workers: the same is found, and nothing gets lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from lastseat.harness import record
from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import PROFILES, Case, cases
from lastseat.harness.commands.shared import gather
from lastseat.harness.confirmation import SeenOnce
from lastseat.harness.documents import keep
from lastseat.harness.judge.verdict import Finding
from lastseat.harness.postgres import Target
from lastseat.harness.registry import resolve
from lastseat.harness.spread import Came, Desk, RunDone, Together, run_spread
from lastseat.harness.venue import Early, Found, Heard, Venue
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Result, Verification, Watcher, run_cases

CHOSEN = ("explore/last-seat", "explore/room-for-both", "faults/last-seat/lose-answer")
CONVICTED = Convicted(
    (Finding("capacity", "It fits.", ("alice-1",), "2 of 1"),), (), Path("x.json"), "last-seat"
)


SEEN_ONCE = SeenOnce(("REJECTED",), "last-seat", Path("seen-once-1.schedule.json"))


class Ends(Watcher):
    """Remembers the order in which cases are said to end."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.runs = 0

    def run_done(self) -> None:
        self.runs += 1

    def ends(self, result: Result) -> None:
        self.ids.append(result.case.id)


def found(result: Verification) -> list[tuple[object, ...]]:
    return [(r.case.id, r.verdict, r.found.did, r.found.witness.met) for r in result.results]


def together(*ids: str) -> tuple[Together, list[Case], Ends]:
    chosen = [Case(name, "", lambda venue, found: None) for name in ids]
    result = Verification("it", "", "quick", 0, Path(), not_run=list(chosen))
    watcher = Ends()
    return Together(chosen, result, watcher), chosen, watcher


@pytest.mark.parametrize("name", ["optimistic", "X03"])
def test_two_workers_find_what_one_finds(target: Target, tmp_path: Path, name: str) -> None:
    implementation = resolve(name)
    chosen = [case for case in cases(PROFILES["quick"]) if case.id in CHOSEN]
    alone = Verification("it", "", "quick", 0, tmp_path)
    with Venue(implementation, target, tmp_path / "alone") as venue:
        run_cases(chosen, venue, alone, Watcher())
    shared, watcher = Verification("it", "", "quick", 0, tmp_path), Ends()
    desk = Desk(implementation, target.for_others(), tmp_path / "shared", 0, "quick")
    run_spread(chosen, desk, 2, shared, watcher)
    if name == "optimistic":
        assert found(shared) == found(alone)
    else:
        assert shared.convicted
    assert not alone.errors
    assert [r.verdict for r in shared.results] == [r.verdict for r in alone.results]
    assert watcher.ids == list(CHOSEN)
    assert watcher.runs >= sum(result.found.witness.runs for result in shared.results)
    assert shared.finished
    assert not shared.not_run


def test_results_are_told_in_the_order_of_the_cases() -> None:
    work, (one, two), watcher = together("one", "two")
    work.took(two, Came(Found(), None, 0.1))
    work.show()
    assert watcher.ids == []
    work.took(one, Came(Found(), None, 0.1))
    work.show()
    assert watcher.ids == ["one", "two"]
    assert [result.case.id for result in work.result.results] == ["one", "two"]


def test_a_violation_in_a_case_that_is_broken_off_stays_one() -> None:
    work, _, _ = together("one", "two")
    work.heard(RunDone("two", ()))
    work.heard(RunDone("two", (CONVICTED,)))
    work.broken_off()
    assert work.result.convicted == [CONVICTED]
    assert work.result.verdict() is Verdict.VIOLATION
    assert [case.id for case in work.result.not_run] == ["one"]


def test_what_was_being_repeated_in_a_case_that_is_broken_off_was_seen_once() -> None:
    work, _, _ = together("one")
    work.heard(RunDone("one", (), (SEEN_ONCE,)))
    work.broken_off()
    assert work.result.convicted == []
    assert work.result.verdict() is Verdict.INCONCLUSIVE
    assert str(SEEN_ONCE) in work.result.reasons
    assert "seen once, interrupted before it could be repeated: REJECTED in last-seat;" in str(
        SEEN_ONCE
    )


def test_what_has_been_repeated_is_no_longer_seen_once() -> None:
    work, _, _ = together("one")
    work.heard(RunDone("one", (), (SEEN_ONCE,)))
    work.heard(RunDone("one", (CONVICTED,)))
    work.broken_off()
    assert work.result.convicted == [CONVICTED]
    assert str(SEEN_ONCE) not in work.result.reasons


def test_a_worker_that_is_ended_has_told_what_it_has_kept(tmp_path: Path) -> None:
    """Of tasks that are over nothing comes twice, and what is in doubt is what was so last."""
    heard, found = Heard(), Found(convicted=[CONVICTED])
    other = Convicted(CONVICTED.findings, (), tmp_path / "y.json", "last-seat")
    heard(Early(1, (), (SEEN_ONCE,)))
    heard(Early(1, (CONVICTED,), ()))
    heard(Early(2, (other,), (SEEN_ONCE,)))
    heard.broken_off(found)
    assert (found.convicted, found.seen_once) == ([CONVICTED, other], [SEEN_ONCE])


def test_what_workers_have_kept_is_found_in_one_folder(tmp_path: Path) -> None:
    found = Found()
    for worker in ("worker-1", "worker-2"):
        for name in ("violation-1", "seen-once-1"):
            file = tmp_path / worker / f"{name}.schedule.json"
            file.parent.mkdir(exist_ok=True)
            file.write_text(worker)
            record.history_of(file).write_text(worker)
        found.convicted.append(
            Convicted(CONVICTED.findings, (), file.with_name("violation-1.schedule.json"), "s")
        )
        found.seen_once.append(SeenOnce(("REJECTED",), "s", file))
    gather(tmp_path, found)
    assert [convicted.schedule for convicted in found.convicted] == [
        tmp_path / f"violation-{number}.schedule.json" for number in (1, 2)
    ]
    assert [seen.schedule.read_text() for seen in found.seen_once] == ["worker-1", "worker-2"]
    assert [record.history_of(seen.schedule).read_text() for seen in found.seen_once] == [
        "worker-1",
        "worker-2",
    ]


def test_what_a_case_tells_early_is_not_told_twice() -> None:
    work, (one,), _ = together("one")
    work.heard(RunDone("one", (CONVICTED,)))
    work.took(one, Came(Found(convicted=[CONVICTED]), None, 0.1))
    work.broken_off()
    assert work.result.convicted == [CONVICTED]


def test_every_violation_has_its_page_whichever_case_was_over_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Convicted] = []
    monkeypatch.setattr(keep, "show", shown.append)
    work, (one, two), _ = together("one", "two")
    work.result.out = tmp_path
    keeping = keep.Keeping(work.result)
    for case in (two, one):
        schedule = tmp_path / f"{case.id}.schedule.json"
        convicted = Convicted(CONVICTED.findings, (), schedule, "last-seat")
        work.took(case, Came(Found(convicted=[convicted]), None, 0.1))
        keeping.finish()
    assert [convicted.page.stem for convicted in shown] == ["two", "one"]
