"""A fault at every turn of an attempt: what it is answered, whether it doubts, what exists then."""

from collections.abc import Callable

import pytest
from attrs import evolve

from lastseat.harness import record
from lastseat.harness.aftermath import ECHO, LATE, NEVER
from lastseat.harness.campaign import Campaign
from lastseat.harness.faults import FAULTS
from lastseat.harness.implementations.client import Client
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario, named
from lastseat.harness.schedule.decision import RELEASE, START, Decision
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import Stage
from lastseat.spec.vocabulary import (
    ANSWERS,
    BOOKED,
    IN_DOUBT,
    INFRASTRUCTURE,
    Request,
)

ALONE = Scenario(
    "alone",
    "one caller, and a fault",
    {"r1": 1},
    {"alice": (Request("b1", "r1", 1),)},
    faults=("in-turn",),
)
LATER = frozenset({LATE, NEVER})
WHILE_WAITING = frozenset({"lose-waiting", "reset-waiting", "cancel-waiting", "outwait"})


def test_a_sweep_fires_every_fault_at_every_turn_and_convicts_nobody_who_is_right(
    campaign: Callable[[str], Campaign],
) -> None:
    sweeping = campaign("optimistic")
    positions = positions_of(sweeping.stage, named("last-seat"))
    count = sweeping.fault_sweep(named("last-seat"))
    witness = sweeping.witness
    assert_nobody_is_convicted(sweeping)
    assert count == witness.runs
    reached = {fault for sweep in sweeping.sweeps.values() for fault in sweep.reached()}
    assert set(witness.fired) == reached | LATER
    # Nobody waits in these schedules, each asks for an id of its own, and nothing is serializable.
    assert set(FAULTS) - reached - LATER == WHILE_WAITING | {"raise-23505", "raise-40001"}
    # Two schedules as they are; else one fault, and what becomes of what it has left stuck.
    assert sum(n for fault, n in witness.fired.items() if fault not in LATER) == count - 2
    assert witness.fired["lose-request"] == positions
    assert witness.raised == 0
    # One sweep shows all that a passing verification must have seen.
    assert list(witness.missing()) == []
    assert set(witness.answers) == set(ANSWERS)


@pytest.mark.parametrize("name", ["optimistic", "guarded-update"])
def test_faults_strike_while_a_client_waits_for_a_lock(
    campaign: Callable[[str], Campaign], name: str
) -> None:
    sweeping = campaign(name)
    sweeping.fault_sweep(named("same-id-at-once"), *WHILE_WAITING, "terminate", "lose-answer")
    assert_nobody_is_convicted(sweeping)
    assert set(sweeping.witness.fired) >= WHILE_WAITING


def test_who_is_given_time_in_the_middle_of_a_run_is_observed_all_the_same(
    campaign: Callable[[str], Campaign],
) -> None:
    """Its next attempt has a new connection, and nothing else is taken for a part of it."""
    judging = campaign("optimistic")
    run = Run(judging.stage, evolve(ALONE, capacities={"r1": 2}, deadlines={"alice": 4000}))
    to_the_end(run)
    run.give_time()
    run.ask("alice", Request("b2", "r1", 1))
    to_the_end(run)
    run.finish()
    assert judging.judge(run) is None
    assert [attempt.answer for attempt in run.attempts] == [BOOKED, BOOKED]


def test_a_second_fault_behind_the_first_convicts_nobody_who_is_right(
    campaign: Callable[[str], Campaign],
) -> None:
    sweeping = campaign("optimistic")
    runs, _ = sweeping.fault_pairs(ALONE, 40)
    assert_nobody_is_convicted(sweeping)
    assert 20 < runs <= 41
    fired = {f: n for f, n in sweeping.witness.fired.items() if f not in LATER}
    assert sum(fired.values()) > runs, "most runs have two"


def test_who_asks_again_at_once_is_started_before_anybody_waits(
    campaign: Callable[[str], Campaign], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine it takes seconds: attempts that waited meanwhile missed their deadlines."""
    sweeping = campaign("guarded-update")
    started: list[tuple[str, bool]] = []
    start = Stage._start
    under_way: list[Run] = []

    def noted(stage: Stage, name: str) -> Client:
        started.append((name, any(run.running() for run in under_way)))
        return start(stage, name)

    def begun(stage: Stage, scenario: Scenario, **more: bool) -> Run:
        under_way.append(Run(stage, scenario, **more))
        return under_way[-1]

    monkeypatch.setattr(Stage, "_start", noted)
    monkeypatch.setattr("lastseat.harness.sweep.Run", begun)
    if ECHO in sweeping.stage._clients:
        sweeping.stage.restart(ECHO)
    sweeping.fault_sweep(named("last-seat"), "stall-request")
    assert (ECHO, False) in started
    assert (ECHO, True) not in started


def test_a_fault_that_was_not_seen_is_told_with_its_case_and_the_command_that_shows_it(
    campaign: Callable[[str], Campaign], monkeypatch: pytest.MonkeyPatch
) -> None:
    unproved = evolve(FAULTS["lose-answer"], proof=lambda _: False)
    monkeypatch.setitem(FAULTS, "lose-answer", unproved)  # type: ignore[arg-type]
    sweeping = campaign("optimistic")
    sweeping.case = "faults/alone/lose-answer"
    sweeping.fault_sweep(ALONE, "lose-answer")
    told = [words for words in sweeping.witness.missing() if "not seen" in words]
    assert len(told) == 5, "BEGIN, SELECT, UPDATE, INSERT, COMMIT"
    for words, number in zip(told, range(1, 6), strict=True):
        file = sweeping.out / f"unseen-{number}.schedule.json"
        assert "of alice was not seen to happen, in faults/alone/lose-answer" in words
        assert f"; lastseat replay {file}" in words
        assert record.read_schedule(file.read_bytes()).scenario.name == "alone"


@pytest.mark.parametrize(
    ("name", "fault", "rule"),
    [
        ("X31", "stall-request", "revelation"),
        ("X37", "lose-request", "REJECTED"),
        ("X39", "raise-57014", "BOOKED"),
        ("X46", "lose-answer", "INFRASTRUCTURE"),
        ("X50", "stall-request", "INFRASTRUCTURE"),
        ("X51", "raise-57014", "nothing after the outcome"),
        ("doubt-everywhere", "lose-request", "in doubt"),
    ],
)
def test_a_fault_convicts_who_answers_it_wrongly(
    campaign: Callable[[str], Campaign], name: str, fault: str, rule: str
) -> None:
    """X31 looks for its booking before it waits for the lock: while its own commit is stuck in the
    network it is asked again, and answers REJECTED when that commit has arrived."""
    sweeping = campaign(name)
    sweeping.fault_sweep(ALONE, fault)
    assert rule in {rule for convicted in sweeping.convicted for rule in convicted.rules}


def assert_nobody_is_convicted(sweeping: Campaign) -> None:
    assert (sweeping.convicted, sweeping.disagreements, sweeping.diverged) == ([], [], 0)
    assert sweeping.witness.unseen == []


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
    sweeping.fault_sweep(ALONE, "lose-request", "lose-answer", "terminate")
    assert sweeping.witness.answers[IN_DOUBT] == 3
    assert sweeping.witness.answers[BOOKED] > 3
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
    assert [(fired.fault, fired.seen) for fired in run.faults.report()] == [("terminate", True)]
