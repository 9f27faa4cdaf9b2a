"""A fault at every turn of an attempt: what it is answered, whether it doubts, what exists then."""

from collections.abc import Callable

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.faults import FAULTS
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario, named
from lastseat.harness.schedule.decision import RELEASE, START, Decision
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import Stage
from lastseat.spec.vocabulary import (
    ANSWERS,
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    Answer,
    Request,
)

ALONE = Scenario(
    "alone",
    "one caller, and a fault",
    {"r1": 1},
    {"alice": (Request("b1", "r1", 1),)},
)
TURNS = ("BEGIN", "SELECT", "UPDATE", "INSERT", "COMMIT")
CONFLICTS = frozenset({"raise-40001", "raise-40P01", "raise-55P03"})
LOSSES = frozenset({"lose-request", "lose-answer", "terminate"})


def expected(fault: str, turn: str) -> tuple[Answer, bool]:
    """The answer, and whether the booking exists afterwards."""
    if fault in CONFLICTS:
        return CONFLICT, False
    if fault in LOSSES and turn == "COMMIT":
        return IN_DOUBT, fault == "lose-answer"
    return INFRASTRUCTURE, False


def met(stage: Stage, fault: str, turn: str) -> Run:
    """A run of one attempt in which the fault meets that turn."""
    run = Run(stage, ALONE)
    run.perform(Decision(START, "alice"))
    for passed in TURNS[: TURNS.index(turn)]:
        assert run.perform(Decision(RELEASE, "alice")).fingerprint.startswith(passed)
    assert run.perform(Decision(fault, "alice")).fingerprint.startswith(turn)
    to_the_end(run)
    run.finish()
    return run


@pytest.mark.parametrize("fault", FAULTS)
def test_the_answer_says_what_the_fault_leaves_to_be_known(
    staged: Callable[[str], Stage], fault: str
) -> None:
    """Doubt is answered where COMMIT was on the wire, and nowhere else."""
    for turn in TURNS:
        run = met(staged("optimistic"), fault, turn)
        (attempt,) = run.attempts
        rows = run.final_readings()["r1"].rows
        assert (attempt.answer, rows == (("b1", 1),)) == expected(fault, turn), turn
        assert [fired.seen for fired in run.fault_report()] == [True], turn
        assert run.instep.objections == []


@pytest.mark.parametrize(
    ("name", "scenario"), [("optimistic", "last-seat"), ("guarded-update", "same-id-at-once")]
)
def test_a_sweep_fires_every_fault_at_every_turn_and_convicts_nobody_who_is_right(
    campaign: Callable[[str], Campaign], name: str, scenario: str
) -> None:
    sweeping = campaign(name)
    positions = positions_of(sweeping.stage, named(scenario))
    count = sweeping.fault_sweep(named(scenario))
    witness = sweeping.witness
    assert (sweeping.convicted, sweeping.disagreements, sweeping.diverged) == ([], [], 0)
    assert witness.unseen == []
    assert count == witness.runs
    # Two schedules as they are; each fault at each turn of both.
    assert witness.fired.total() == count - 2
    assert set(witness.fired) == set(FAULTS)
    assert witness.fired["lose-request"] >= positions
    assert witness.raised == 0
    if name == "optimistic":  # one sweep shows all that a passing verification must have seen
        assert list(witness.missing()) == []
        assert set(witness.answers) == set(ANSWERS)


def positions_of(stage: Stage, scenario: Scenario) -> int:
    """How many turns the scenario has when nobody disturbs anybody."""
    run = Run(stage, scenario)
    to_the_end(run)
    run.finish()
    return sum(step.decision.move == RELEASE for step in run.steps)


def test_after_doubt_the_same_id_tells_what_became_of_it(
    campaign: Callable[[str], Campaign],
) -> None:
    """Lost before it arrived: nothing exists, and the repetition books. Lost on the way back: the
    row is there, and the repetition finds it. Either way one row exists in the end."""
    sweeping = campaign("optimistic")
    sweeping.fault_sweep(ALONE)
    assert sweeping.witness.answers[IN_DOUBT] == 2 * len(LOSSES)
    assert sweeping.witness.answers[BOOKED] > 2 * len(LOSSES)
    assert sweeping.convicted == []


def test_a_client_that_waits_for_a_lock_is_terminated_and_fails_without_doubt(
    staged: Callable[[str], Stage],
) -> None:
    run = Run(staged("locking"), named("last-seat"))
    for client, turns in (("alice", 2), ("bob", 2)):
        run.perform(Decision(START, client))
        for _ in range(turns):
            run.perform(Decision(RELEASE, client))
    assert run.at_gate("bob") is None, "bob waits for alice's lock"
    assert "bob waits for a lock" in run.steps[-1].observed
    run.perform(Decision("terminate", "bob"))
    assert run.attempts[-1].answer == INFRASTRUCTURE
    to_the_end(run)
    run.finish()
    assert run.attempts[0].answer == BOOKED
    assert [(fired.fault, fired.seen) for fired in run.fault_report()] == [("terminate", True)]
