"""A machine that stands still, or a harness that is stopped, convicts nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.harness import fastread, machine
from lastseat.harness.campaign import Campaign
from lastseat.harness.exploration import Own, explore
from lastseat.harness.load.load import STOOD_STILL
from lastseat.harness.load.soak import DEADLINE_MS as SOAK_MS
from lastseat.harness.load.soak import HISTORY, Soak, soak
from lastseat.harness.load.stand import GRACE_MS as SOAK_GRACE_MS
from lastseat.harness.loop import Loop
from lastseat.harness.postgres import Target
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.decision import START, Decision
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import DEADLINE_MS, Stage
from lastseat.harness.venue import Found, Venue
from lastseat.harness.verdict import Verdict

LONG = DEADLINE_MS / 1000 + 2.5
"""Seconds after which the clients' deadlines and the grace have passed."""

_STOPPER = """
import os, signal, sys, time
os.kill(int(sys.argv[1]), signal.SIGSTOP)
time.sleep(float(sys.argv[2]))
os.kill(int(sys.argv[1]), signal.SIGCONT)
"""


def stand_still(seconds: float) -> None:
    """Have this process stopped for so long, as a machine that is paused stops it."""
    stopper = [sys.executable, "-c", _STOPPER, str(os.getpid()), str(seconds)]
    assert subprocess.run(stopper, check=False).returncode == 0


def test_the_loop_s_clock_leaves_out_what_a_stopped_process_sleeps_through() -> None:
    program = """
from lastseat.harness.load.load import STOOD_STILL
from lastseat.harness.load.soak import DEADLINE_MS as SOAK_MS
from lastseat.harness.load.soak import HISTORY, Soak, soak
from lastseat.harness.load.stand import GRACE_MS as SOAK_GRACE_MS
from lastseat.harness.loop import Loop
loop = Loop()
began = loop.now()
print("sleeps", flush=True)
loop.poll(2.0)
print(loop.lost, loop.now() - began)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "sleeps\n"
    stopper = [sys.executable, "-c", _STOPPER, str(child.pid), "3"]
    subprocess.run(stopper, check=True)
    lost, ran = map(float, child.communicate()[0].split())
    assert lost > 2
    assert ran < 2.5


def test_a_run_that_stood_still_is_no_run_to_judge_and_the_next_one_is(
    campaign: Callable[[str], Campaign],
) -> None:
    judging = campaign("optimistic")
    run = Run(judging.stage, named("last-seat"))
    run.perform(run.enabled()[0])
    stand_still(LONG)
    to_the_end(run)
    run.finish()
    assert run.disturbed is not None
    assert judging.judge(run) is None
    assert judging.verdict() is Verdict.INCONCLUSIVE
    (reason,) = judging.reasons()
    assert "stood still" in reason
    again = Run(judging.stage, named("last-seat"))
    to_the_end(again)
    again.finish()
    assert again.disturbed is None


def test_an_answer_takes_until_it_is_read_and_not_until_it_is_looked_at(
    campaign: Callable[[str], Campaign],
) -> None:
    """Meanwhile somebody runs the loop for something else: another client is being started."""
    judging = campaign("optimistic")
    run, loop = Run(judging.stage, named("last-seat")), judging.stage.loop
    run.perform(Decision(START, "alice"))
    while (waiting := run.at_gate("alice")) is not None:
        last = "COMMIT" in str(waiting.held[0])
        waiting.release()
        end = loop.now() + (LONG if last else 0)
        while loop.now() < end:
            loop.poll(0.1)
        run.settle()
    to_the_end(run)
    run.finish()
    assert judging.judge(run) is None


class Pausing:
    """Stops this process once, at the n-th poll of any loop from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, polls: int, seconds: float = LONG) -> None:
        self.left = polls
        poll = Loop.poll

        def pausing(loop: Loop, timeout: float) -> bool:
            self.left -= 1
            if self.left == 0:
                stand_still(seconds)
            return poll(loop, timeout)

        monkeypatch.setattr(Loop, "poll", pausing)


@pytest.mark.parametrize("polls", [30, 200])
def test_an_exploration_that_was_stopped_goes_on(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polls: int
) -> None:
    """In its warm-up, or in the middle of a schedule."""
    found, coverage = Found(), Coverage()
    with Venue(resolve("optimistic"), target, tmp_path) as venue:
        with venue.campaign("", Found()):
            pass  # all is set
        pausing = Pausing(monkeypatch, polls)
        explore(named("last-seat"), Own(venue), found, coverage, case="")
    assert pausing.left < 0
    assert (found.convicted, found.reasons, coverage.diverged) == ([], [], 0)


@pytest.mark.parametrize("fault", ["stall-request", "lose-answer"])
def test_a_fault_in_a_machine_that_stood_still_is_met_again(
    campaign: Callable[[str], Campaign], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    sweeping = campaign("optimistic")
    sweeping.fault_sweep(named("last-seat"), "raise-40P01")
    pausing = Pausing(monkeypatch, 60)
    sweeping.fault_sweep(named("last-seat"), fault)
    assert pausing.left < 0
    assert (sweeping.convicted, list(sweeping.reasons())) == ([], [])


def test_what_passes_between_two_runs_disturbs_neither(staged: Callable[[str], Stage]) -> None:
    kept = staged("optimistic")
    kept.loop._seen -= 10  # as after ten seconds in which nobody needed this stage
    run = Run(kept, named("last-seat"))
    to_the_end(run)
    run.finish()
    assert run.disturbed is None


def test_hypothesis_on_a_machine_that_stood_still_makes_the_example_again(
    campaign: Callable[[str], Campaign], monkeypatch: pytest.MonkeyPatch
) -> None:
    driving = campaign("optimistic")
    pausing = Pausing(monkeypatch, 200)
    assert machine.drive(driving.stage, driving.machine_judge, examples=10, seed=1) is None
    assert pausing.left < 0
    assert (driving.convicted, list(driving.reasons())) == ([], [])
    assert driving.witness.runs >= 10


def test_a_soak_on_a_machine_that_stood_still_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pausing = Pausing(monkeypatch, 300, SOAK_MS / 1000 + SOAK_GRACE_MS / 1000 + 0.5)
    trial = soak(resolve("optimistic"), Soak(1500, 4, (), strikes=0), tmp_path)
    assert pausing.left < 0
    assert trial.verdict is Verdict.PASS, (trial.reasons, trial.checked)
    kinds = {fault.kind for fault in fastread.read_path(str(tmp_path / HISTORY)).faults}
    assert kinds == {STOOD_STILL}
