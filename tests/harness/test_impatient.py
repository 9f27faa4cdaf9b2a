"""Who reacts at once, or gives up while the gate holds its turn, is not accused for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario, named, warm_up
from lastseat.harness.schedule.decision import RELEASE, START, Decision
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import stage
from lastseat.spec.vocabulary import INFRASTRUCTURE, Request

_HASTE_MS = 1500
BESIDE = Scenario(
    "beside",
    "one caller, whose turn waits because of something else",
    {"r1": 2},
    {"alice": (Request("b1", "r1", 1), Request("b2", "r1", 1))},
    deadlines={"alice": _HASTE_MS},
)


@pytest.fixture
def campaign(request: pytest.FixtureRequest, target: Target, tmp_path: Path) -> Iterator[Campaign]:
    """Of the implementation that the test names."""
    made = Implementation.python(f"tests.harness.factories.impatient:{request.param}")
    with stage(made, target.dsn, tmp_path / "logs") as ready:
        campaign = Campaign(ready, tmp_path)
        campaign.warm_up(warm_up(["alice", "bob"]))
        yield campaign


def every(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("campaign", names, indirect=True)


@every("AtOnce", "CancelsAndLeaves", "CancelsAndWaits")
def test_an_answer_does_not_overtake_its_reason(campaign: Campaign) -> None:
    """A server that says FATAL closes the connection a moment later; the client has gone on."""
    for _ in range(3):
        campaign.fault_sweep(named("last-seat"), "terminate", "fatal-57P01", "lose-answer")
    assert (campaign.convicted, list(campaign.reasons())) == ([], [])
    assert campaign.witness.fired["terminate"] > 9


@every("AtOnce", "CancelsAndLeaves", "CancelsAndWaits")
@pytest.mark.parametrize("turns", range(4))
def test_who_gives_up_a_turn_that_the_gate_holds_has_met_a_deadline(
    campaign: Campaign, turns: int
) -> None:
    run = Run(campaign.stage, BESIDE)
    run.perform(Decision(START, "alice"))
    for _ in range(turns):
        run.perform(Decision(RELEASE, "alice"))
    client = campaign.stage.client("alice")
    while client.reply is None:  # somebody else is waited for
        campaign.stage.loop.poll(1)
    run.settle()
    first = run.attempts[0]
    assert first.answer is not None
    assert first.answer.cause is INFRASTRUCTURE.cause
    # Who waits for what its cancellation comes to is told that nothing was committed.
    waits = campaign.stage.implementation.name.endswith("CancelsAndWaits")
    assert first.in_doubt == (turns == 3 and not waits)
    run.give_time()
    to_the_end(run)
    run.finish()
    assert campaign.judge(run) is None, campaign.convicted
    # What it gave up has not been let through afterwards.
    (reading,) = run.final_readings().values()
    assert [booking for booking, _ in reading.rows] == ["b2"]


@every("AtOnce", "CancelsAndLeaves")
def test_silence_until_a_deadline_is_met_by_giving_up(campaign: Campaign) -> None:
    campaign.fault_sweep(named("last-seat"), "stall-request", "stall-answer")
    assert (campaign.convicted, list(campaign.reasons())) == ([], [])
