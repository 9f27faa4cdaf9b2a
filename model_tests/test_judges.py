"""The judges of a run watch each other, and what they judge is on disk before they do."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lastseat.harness import record
from lastseat.harness.campaign import Campaign
from lastseat.harness.judge.instep import Objection
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.decision import RELEASE, START, Decision, Step
from lastseat.harness.schedule.interleavings import follow, round_robin, to_the_end
from lastseat.harness.stage import Stage
from lastseat.harness.verdict import Verdict
from lastseat.spec import history
from lastseat.spec.rules import Rule
from lastseat.spec.vocabulary import Request

CAMPAIGN = Callable[[str], Campaign]


def oversold(stage: Stage) -> Run:
    """Both read the sum, then both insert: two callers on one seat."""
    run = Run(stage, named("last-seat"))
    round_robin(run)
    run.finish()
    return run


def sold(stage: Stage) -> Run:
    """One after the other."""
    run = Run(stage, named("last-seat"))
    to_the_end(run)
    run.finish()
    return run


def decisions(steps: Sequence[Step]) -> list[Decision]:
    return [step.decision for step in steps]


def words_of(campaign: Campaign) -> str:
    return "\n".join(campaign.reasons())


def test_both_judges_see_an_oversold_seat(campaign: CAMPAIGN) -> None:
    judging = campaign("X01")
    convicted = judging.judge(oversold(judging.stage))
    assert convicted is not None
    assert convicted.rules == {"capacity"}
    assert judging.disagreements == []


def test_a_rule_that_the_model_saw_kept_convicts_nobody(campaign: CAMPAIGN) -> None:
    judging = campaign("X01")
    run = oversold(judging.stage)
    run.instep.objections.clear()
    assert judging.judge(run) is None
    assert judging.verdict() is Verdict.INCONCLUSIVE
    assert "the whole history breaks capacity, and the model saw nothing of it" in words_of(judging)
    assert (judging.out / "disagreement-1.schedule.json").exists()
    assert (judging.out / "disagreement-1.history.jsonl").exists()


def test_what_the_judges_agree_about_convicts_beside_a_disagreement(campaign: CAMPAIGN) -> None:
    """One says that the sum is exceeded, the other that a booking was lost."""
    judging = campaign("X01")
    run = oversold(judging.stage)
    run.instep.objections[:] = [Objection(Rule.BOOKED, None, "b1 was lost")]
    run.left_behind["alice-1"] = "its transaction is open"
    judged = judging.look(run)
    assert {finding.rule for finding in judged.findings} == {"nothing after the outcome"}
    judging.keep(run, judged.findings)
    assert judging.verdict() is Verdict.VIOLATION
    assert "the whole history breaks capacity" in words_of(judging)


def test_a_model_that_objects_to_what_is_legal_makes_the_run_inconclusive(
    campaign: CAMPAIGN,
) -> None:
    judging = campaign("optimistic")
    run = sold(judging.stage)
    run.instep.objections.append(Objection(Rule.BOOKED, None, "b1 was lost"))
    assert judging.judge(run) is None
    assert judging.verdict() is Verdict.INCONCLUSIVE
    assert "the judges disagree, which is a fault of lastseat" in words_of(judging)
    assert "in step the model objects (b1 was lost)" in words_of(judging)
    saved = judging.out / "disagreement-1.schedule.json"
    assert decisions(record.read_schedule(saved.read_bytes()).steps) == decisions(run.steps)


def test_a_history_from_which_bookings_are_missing_does_not_go_unnoticed(
    campaign: CAMPAIGN,
) -> None:
    """As if the audit had read nothing of what was booked."""
    judging = campaign("optimistic")
    run = sold(judging.stage)
    run.final_readings().clear()
    run.events[:] = [event for event in run.events if not isinstance(event, history.Audit)]
    judging.judge(run)
    assert judging.verdict() is not Verdict.PASS
    assert "the final bookings of r1 were not read" in words_of(judging)


def test_what_a_judge_that_fails_was_given_is_on_disk(
    campaign: CAMPAIGN, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a judge fell over")

    judging = campaign("optimistic")
    run = sold(judging.stage)
    monkeypatch.setattr(record, "judge", broken)
    with pytest.raises(ZeroDivisionError):
        judging.judge(run)
    schedule = record.read_schedule((judging.out / "current.schedule.json").read_bytes())
    assert decisions(schedule.steps) == decisions(run.steps)
    lines = (judging.out / "current.history.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["format"] == "lastseat-history/1"
    assert json.loads(lines[-1])["type"] == "end"


def test_the_saved_history_is_one_that_its_reader_accepts_and_that_says_the_same(
    campaign: CAMPAIGN,
) -> None:
    judging = campaign("X01")
    run = oversold(judging.stage)
    recorded = record.close(run)
    record.write(recorded, judging.out, "saved")
    lines = (judging.out / "saved.history.jsonl").read_text().splitlines()
    assert history.read(lines) == recorded.history


def test_a_violation_is_told_in_words_and_by_turns(campaign: CAMPAIGN) -> None:
    judging = campaign("X01")
    convicted = judging.judge(oversold(judging.stage))
    assert convicted is not None
    (finding,) = convicted.findings
    assert "2" in finding.words
    assert "r1" in finding.words
    told = "\n".join(convicted.timeline)
    assert "alice begins an attempt" in told
    assert "alice: INSERT INTO booking" in told
    assert "[b1, r1, 1]" in told
    assert "bob is answered BOOKED" in told
    assert "start" not in told, "no words of the schedule's own"


def test_a_schedule_is_read_as_it_was_written(staged: Callable[[str], Stage]) -> None:
    run = Run(staged("optimistic"), named("nearly-full"))
    start, go = Decision(START, "alice"), Decision(RELEASE, "alice")
    follow(run, [start, go, Decision("raise-40P01", "alice")])
    to_the_end(run)
    run.finish()
    made = record.close(run, seed=7).schedule
    data = json.dumps(record.to_json(made)).encode()
    read = record.read_schedule(data)
    assert record.to_json(read) == record.to_json(made)
    assert read.scenario.prior == named("nearly-full").prior
    assert read.seed == 7
    assert [d["fault"] for d in json.loads(data)["decisions"]].count("raise-40P01") == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no schedule"),
        (b"[]", "no schedule"),
        (b"{}", "no schedule"),
        (b'{"format": "lastseat-schedule/2"}', "'lastseat-schedule/2'"),
        (b'{"format": "lastseat-schedule/1"}', "no schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(record.MalformedSchedule, match=reason):
        record.read_schedule(data)


def test_a_schedule_with_a_decision_that_is_none_is_refused(
    staged: Callable[[str], Stage], tmp_path: Path
) -> None:
    json_ = record.to_json(record.close(sold(staged("optimistic"))).schedule)
    json_["decisions"][0]["chosen"] = "jump"
    with pytest.raises(record.MalformedSchedule):
        record.read_schedule(json.dumps(json_).encode())


def test_an_open_transaction_is_held_against_the_attempt_that_left_it(
    campaign: CAMPAIGN,
) -> None:
    """Not against a later one, which only stumbles over it and might even end it."""
    judging = campaign("X51")
    run = Run(judging.stage, named("nearly-full"))
    start, go = Decision(START, "alice"), Decision(RELEASE, "alice")
    follow(run, [start, go, Decision("raise-40P01", "alice")])
    assert run.left_behind == {}
    run.ask("alice", Request("b9", "r1", 1))
    follow(run, [start])
    assert list(run.left_behind) == ["alice-1"]
    to_the_end(run)
    run.finish()
    convicted = judging.judge(run)
    assert convicted is not None
    (finding,) = (f for f in convicted.findings if f.attempts == ("alice-1",))
    assert finding.rule == "nothing after the outcome"


def test_doubt_that_is_denied_is_not_held_against_the_next_attempt_of_its_id(
    campaign: CAMPAIGN,
) -> None:
    """Alice's commit is applied, its answer is lost, and she denies doubt; Bob finds her row."""
    judging = campaign("X46")
    judging.fault_sweep(named("same-id-at-once"), "lose-answer")
    rules = {rule for convicted in judging.convicted for rule in convicted.rules}
    assert rules == {"INFRASTRUCTURE", "in doubt exactly where it is due"}
    assert judging.disagreements == []


def test_what_landed_late_is_looked_at_before_its_attempt_is_over(campaign: CAMPAIGN) -> None:
    """Where nobody waits for its lock, nothing else that runs could have made the booking."""
    judging = campaign("nowait")
    judging.fault_sweep(named("last-seat"), "stall-request")
    assert judging.witness.fired["stall-request"] > 0
    assert (judging.disagreements, judging.convicted) == ([], [])
