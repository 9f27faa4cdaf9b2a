"""A short deadline is for the attempt that silence meets; on a slow machine it is longer."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.loop import Loop
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import Stage
from lastseat.harness.sweep import HASTE_MS, Sweep
from lastseat.spec.vocabulary import BOOKED, REJECTED, Request

ALONE = Scenario(
    "alone",
    "one caller, who books and is then rejected",
    {"r1": 1},
    {"alice": (Request("b1", "r1", 1), Request("b2", "r1", 1))},
    faults=("in-turn",),
)
SILENT = ("stall-request", "stall-answer")
_SLOWLY = 0.02  # seconds that each round of the loop takes longer, as where others use the machine


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which an attempt takes longer than the shortest deadline."""
    poll = Loop.poll

    def slowly(loop: Loop, timeout: float) -> bool:
        time.sleep(_SLOWLY)
        return poll(loop, timeout)

    monkeypatch.setattr(Loop, "poll", slowly)


def the_longest_alone(stage: Stage) -> float:
    run = Run(stage, ALONE)
    to_the_end(run)
    run.finish()
    assert [attempt.answer for attempt in run.attempts] == [BOOKED, REJECTED]
    return max(attempt.took or 0 for attempt in run.attempts)


@pytest.mark.usefixtures("slow")
def test_on_a_slow_machine_silence_convicts_nobody_who_is_right(
    campaign: Callable[[str], Campaign],
) -> None:
    sweeping = campaign("optimistic")
    assert the_longest_alone(sweeping.stage) > HASTE_MS / 1000
    sweeping.fault_sweep(ALONE, *SILENT)
    assert (sweeping.convicted, list(sweeping.reasons())) == ([], [])
    assert {fault for fault in SILENT if sweeping.witness.fired[fault]} == set(SILENT)


@pytest.mark.usefixtures("slow")
def test_a_short_deadline_ends_no_attempt_but_the_one_that_silence_meets(
    staged: Callable[[str], Stage],
) -> None:
    """Also not the attempts before it, nor the quiet ones after it."""
    for run in Sweep(staged("optimistic"), ALONE).runs(*SILENT):
        ended = [attempt.name for attempt in run.attempts if attempt.out_of_time]
        silenced = [attempt.name for attempt in run.attempts if attempt.silenced]
        assert set(ended) <= set(silenced), [(a.name, a.took, a.given) for a in run.attempts]


def test_where_there_is_time_the_deadline_is_the_shortest(staged: Callable[[str], Stage]) -> None:
    stage = staged("optimistic")
    stage.lately.clear()
    given = {
        attempt.given
        for run in Sweep(stage, ALONE).runs("stall-request")
        for attempt in run.attempts
        if attempt.silenced
    }
    assert min(given) * 1000 == HASTE_MS
