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


def driven(campaign: Campaign, examples: int, seed: int = 1) -> list[tuple[str, ...]]:
    """The decisions of every example that was run."""
    taken = []

    def judge(run: Run) -> frozenset[str]:
        taken.append(tuple(str(step.decision) for step in run.steps))
        return campaign.machine_judge(run)

    machine.drive(campaign.stage, judge, examples=examples, seed=seed)
    campaign.keep_shortest()
    return taken


@pytest.mark.parametrize("name", ["optimistic", "locking"])
def test_who_is_right_is_acquitted_and_all_was_witnessed(campaign: CAMPAIGN, name: str) -> None:
    driving = campaign(name)
    taken = driven(driving, examples=30)
    assert (driving.convicted, driving.disagreements) == ([], [])
    witness = driving.witness
    assert witness.runs == len(taken) >= 30
    assert witness.unseen == []
    assert witness.contention > 0
    assert witness.fired.total() > 10
    assert all(witness.answers[answer] > 5 for answer in (BOOKED, REJECTED, INFRASTRUCTURE))
    assert witness.answers[CONFLICT] > 0
    assert witness.undisturbed[BOOKED] > 10


def test_the_same_seed_makes_the_same_decisions_and_another_seed_others(
    campaign: CAMPAIGN,
) -> None:
    first, again, other = (driven(campaign("optimistic"), 8, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


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
    driven(driving, examples=200)
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
    driven(driving, examples=200)
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
