"""A conviction is a fact, or it repeats: the right and the wrong beside each other."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from lastseat.harness import record, report
from lastseat.harness.campaign import Campaign
from lastseat.harness.cases import PROFILES, cases
from lastseat.harness.confirmation import INTERRUPTED
from lastseat.harness.exploration import Own, explore
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.judge.verdict import Repeated
from lastseat.harness.postgres import Target
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import Stage, stage
from lastseat.harness.venue import Found, Venue
from lastseat.harness.verdict import Verdict

FACTORIES = "tests.harness.factories.repeating"


@pytest.fixture
def once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says that what is wrong once has been."""
    flag = tmp_path / "wrong-once"
    monkeypatch.setenv("WRONG_ONCE", str(flag))
    return flag


@contextmanager
def campaign_on(factory: str, target: Target, folder: Path) -> Iterator[Campaign]:
    implementation = Implementation.python(f"{FACTORIES}:{factory}")
    with stage(implementation, target.new_database(), folder / "logs") as ready:
        yield Campaign(ready, folder / "out")


def run_of(stage: Stage, once: Path | None = None) -> Run:
    """One attempt after the other; the first may be wrong again where the run has to be repeated,
    since the machine stood still."""
    for run in undisturbed(lambda: Run(stage, named("last-seat"))):
        if once is not None:
            once.unlink(missing_ok=True)
        to_the_end(run)
        run.finish()
    return run


def test_what_is_no_fact_convicts_when_it_was_illegal_again(target: Target, tmp_path: Path) -> None:
    with campaign_on("KeepsAJournal", target, tmp_path) as judging:
        convicted = judging.judge(run_of(judging.stage))
    assert convicted is not None
    assert {(f.rule, f.fact) for f in convicted.findings} == {("no hidden retry", False)}
    assert {finding.repeated for finding in convicted.findings} == {Repeated(3, 3)}
    assert (judging.convicted, judging.seen_once) == ([convicted], [])
    assert judging.verdict() is Verdict.VIOLATION
    assert sorted(path.name for path in judging.out.iterdir()) == [
        "current.history.jsonl",
        "current.schedule.json",
        "violation-1.history.jsonl",
        "violation-1.schedule.json",
    ]
    told = io.StringIO()
    report.show_conviction(convicted, Console(file=told, width=200))
    assert "illegal in 3 of 3" in told.getvalue()


def test_what_does_not_repeat_is_seen_once_and_its_files_are_kept(
    target: Target, tmp_path: Path, once: Path
) -> None:
    with campaign_on("KeepsAJournalOnce", target, tmp_path) as judging:
        assert judging.judge(run_of(judging.stage, once)) is None
        assert once.exists()
        assert judging.judge(run_of(judging.stage)) is None
    assert judging.convicted == []
    assert judging.verdict() is Verdict.INCONCLUSIVE
    kept = judging.out / "seen-once-1.schedule.json"
    assert record.read_schedule(kept.read_bytes()).verdict == "no hidden retry"
    assert record.history_of(kept).exists()
    (reason,) = judging.reasons()
    assert reason == (
        "seen once, not brought about again in 6 tries: no hidden retry in last-seat;"
        f" lastseat replay {kept} {FACTORIES}:KeepsAJournalOnce"
    )


def test_a_fact_that_was_seen_once_convicts(target: Target, tmp_path: Path, once: Path) -> None:
    with campaign_on("OversellsOnce", target, tmp_path) as judging:
        convicted = judging.judge(run_of(judging.stage, once))
    assert convicted is not None
    assert {finding.rule for finding in convicted.findings} >= {"counter"}
    assert all(finding.fact for finding in convicted.findings)
    assert judging.verdict() is Verdict.VIOLATION
    # What is no fact in the same run is held against nobody, since it did not repeat.
    assert [seen.rules for seen in judging.seen_once] == [("REJECTED", "no hidden retry")]


def test_who_is_right_is_not_run_again(target: Target, tmp_path: Path) -> None:
    with campaign_on("MakesValuesUp", target, tmp_path) as judging:
        before = judging.stage.fresh.id("x")
        assert judging.judge(run_of(judging.stage)) is None
        run_of(judging.stage)
        first, last = (int(words.split("-")[1]) for words in (before, judging.stage.fresh.id("x")))
    assert last - first == 2 * 3 + 1  # two runs, each of a resource and two bookings


@pytest.mark.parametrize(("factory", "convicts"), [("Hangs", True), ("HangsOnce", False)])
def test_to_see_a_hang_again_takes_one_deadline(
    target: Target, tmp_path: Path, once: Path, factory: str, convicts: bool
) -> None:
    with campaign_on(factory, target, tmp_path) as judging:
        convicted = judging.judge(run_of(judging.stage, once))
        left = [attempt.hung for attempt in run_of(judging.stage).attempts]
    assert (convicted is not None) is convicts
    if convicted is not None:
        assert convicted.rules == {"one outcome"}
        assert {finding.repeated for finding in convicted.findings} == {Repeated(2, 2)}
    else:
        assert [seen.rules for seen in judging.seen_once] == [("one outcome",)]
        assert left == [False, False]


def interrupt_the_first(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lastseat.harness.confirmation.replay_strictly", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()


@pytest.mark.parametrize(
    ("factory", "verdict", "seen"),
    [
        ("KeepsAJournal", Verdict.INCONCLUSIVE, {"no hidden retry"}),
        ("OversellsOnce", Verdict.VIOLATION, {"REJECTED", "no hidden retry"}),
    ],
)
def test_interrupted_in_the_middle_a_fact_stays_one_and_the_rest_was_seen_once(
    target: Target,
    tmp_path: Path,
    once: Path,
    monkeypatch: pytest.MonkeyPatch,
    factory: str,
    verdict: Verdict,
    seen: set[str],
) -> None:
    found = Found()
    implementation = Implementation.python(f"{FACTORIES}:{factory}")
    with Venue(implementation, target, tmp_path) as venue:
        with venue.campaign("warm", Found()):
            pass
        once.unlink(missing_ok=True)
        interrupt_the_first(
            lambda: explore(named("last-seat"), Own(venue), found, Coverage(), case="x"),
            monkeypatch,
        )
    assert [each.how for each in found.seen_once] == [INTERRUPTED]
    assert set(found.seen_once[0].rules) == seen
    assert found.seen_once[0].schedule.exists()
    assert bool(found.convicted) is (verdict is Verdict.VIOLATION)
    assert all(finding.fact for each in found.convicted for finding in each.findings)


@pytest.mark.parametrize("id_", ["explore/last-seat", "faults/last-seat/lose-answer"])
def test_cases_convict_by_what_repeats(target: Target, tmp_path: Path, id_: str) -> None:
    found = run_case(id_, "KeepsAJournal", target, tmp_path)
    assert "no hidden retry" in {f.rule for c in found.convicted for f in c.findings}
    assert all(f.fact or f.repeated for c in found.convicted for f in c.findings)
    assert found.seen_once == []


def test_cases_tell_what_does_not_repeat(target: Target, tmp_path: Path, once: Path) -> None:
    found = run_case("faults/last-seat/lose-answer", "KeepsAJournalOnce", target, tmp_path, once)
    assert found.convicted == []
    assert [seen.rules for seen in found.seen_once] == [("no hidden retry",)]
    assert any(doubt.startswith("seen once, not") for doubt in found.doubts)


def run_case(
    id_: str, factory: str, target: Target, folder: Path, once: Path | None = None
) -> Found:
    """What a case finds in an implementation, whose warm-up is another matter. A case is run again
    where the run that was wrong was not judged, since the machine stood still."""
    (case,) = (case for case in cases(PROFILES["quick"]) if case.id == id_)
    with Venue(Implementation.python(f"{FACTORIES}:{factory}"), target, folder) as venue:
        with venue.campaign("warm", Found()):
            pass
        for _ in range(3):
            if once is not None:
                once.unlink(missing_ok=True)
            case.run(venue, found := Found())
            if once is None or found.seen_once:
                break
    return found


@pytest.mark.parametrize(
    ("factory", "rules"), [("KeepsAJournal", {"no hidden retry"}), ("KeepsAJournalOnce", set())]
)
def test_hypothesis_is_told_of_what_repeats(
    target: Target, tmp_path: Path, once: Path, factory: str, rules: set[str]
) -> None:
    with campaign_on(factory, target, tmp_path) as judging:
        assert judging.machine_judge(run_of(judging.stage, once)) == rules
