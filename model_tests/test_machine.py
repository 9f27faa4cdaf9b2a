"""The Hypothesis machine: acquits who is right, convicts who is wrong, and can be repeated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.harness import machine, record
from lastseat.harness.campaign import Campaign
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.run import Run
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import Stage
from lastseat.spec.vocabulary import BOOKED, CONFLICT, INFRASTRUCTURE, REJECTED

CAMPAIGN = Callable[[str], Campaign]


def drive(campaign: Campaign, examples: int, seed: int = 1) -> None:
    """Run examples as a verification does."""
    illegal = machine.drive(campaign.stage, campaign.machine_judge, examples=examples, seed=seed)
    if illegal is not None:
        campaign.make_small(illegal.run, illegal.steps)


@pytest.mark.parametrize(("name", "examples"), [("optimistic", 30), ("locking", 80)])
def test_who_is_right_is_acquitted_and_all_was_witnessed(
    campaign: CAMPAIGN, name: str, examples: int
) -> None:
    """Without a version to check, a conflict is what the server reports, and that is rarer."""
    driving = campaign(name)
    drive(driving, examples)
    assert (driving.convicted, driving.disagreements) == ([], [])
    witness = driving.witness
    assert witness.runs >= 30
    assert witness.unseen == []
    assert witness.contention > 0
    assert witness.fired.total() > 10
    assert all(witness.answers[answer] > 5 for answer in (BOOKED, REJECTED, INFRASTRUCTURE))
    assert witness.answers[CONFLICT] > 0
    assert witness.undisturbed[BOOKED] > 10


def test_the_same_seed_makes_the_same_decisions_and_another_seed_others(
    staged: Callable[[str], Stage],
) -> None:
    """Until the server chooses otherwise: of several that wait for a lock, it says who is next."""
    first, again, other = (story(staged("optimistic"), seed) for seed in (1, 1, 2))
    alike = 0
    for (decision, observed), (decision_again, observed_again) in zip(first, again, strict=False):
        assert decision == decision_again
        alike += 1
        if observed != observed_again:
            break
    assert alike > 20
    assert [decision for decision, _ in other[:alike]] != [step[0] for step in first[:alike]]


def story(stage: Stage, seed: int) -> list[tuple[str, frozenset[str]]]:
    """Every decision of some examples, one after the other, and what followed from it."""
    told: list[tuple[str, frozenset[str]]] = []

    def listening(run: Run) -> frozenset[str]:
        told.extend((str(step.decision), frozenset(step.observed)) for step in run.steps)
        return frozenset()

    machine.drive(stage, listening, examples=6, seed=seed)
    return told


@pytest.mark.parametrize(
    ("name", "rules", "moves"),
    [
        pytest.param("X01", {"capacity"}, 14, id="sum read without a lock"),
        pytest.param("X25", {"counter", "no hidden retry"}, 16, id="row count not looked at"),
        pytest.param("X39", {"BOOKED", "no swallowed error"}, 20, id="error swallowed"),
    ],
)
def test_who_is_wrong_is_convicted_in_few_steps_that_can_be_repeated(
    campaign: CAMPAIGN, name: str, rules: set[str], moves: int
) -> None:
    driving = campaign(name)
    drive(driving, examples=200, seed=2)  # of what X01 breaks, the first seed finds another rule
    (convicted,) = driving.convicted
    assert convicted.rules & rules
    schedule = record.read_schedule(convicted.schedule.read_bytes())
    assert len(schedule.steps) <= moves, "what is reported was shrunk"
    assert set(schedule.verdict.split(", ")) == convicted.rules

    run = Run(driving.stage, schedule.scenario)
    replay_strictly(run, schedule.steps)
    run.finish()
    again = driving.judge(run)
    assert again is not None
    assert again.rules == convicted.rules


def test_what_is_printed_is_what_was_saved(campaign: CAMPAIGN) -> None:
    """Many examples fail on the way to the shortest one."""
    driving = campaign("X01")
    drive(driving, examples=200)
    (convicted,) = driving.convicted
    steps = record.read_schedule(convicted.schedule.read_bytes()).steps
    numbered = [line for line in convicted.timeline if line.strip()[0].isdigit()]
    assert len(steps) == len(numbered)
    assert all(step.fingerprint in line for step, line in zip(steps, numbered, strict=True))


def test_an_adapter_that_fails_is_no_example_to_shrink(
    staged: Callable[[str], Stage], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error is passed on as it was, once."""
    asked = []

    def failing(run: Run) -> frozenset[str]:
        asked.append(run)
        if len(asked) == 3:
            raise AdapterError("it broke")
        return frozenset()

    with pytest.raises(AdapterError, match="it broke"):
        machine.drive(staged("optimistic"), failing, examples=20, seed=1)
    assert len(asked) == 3
