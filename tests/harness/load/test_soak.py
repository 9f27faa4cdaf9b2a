"""Free-running clients under outages: nothing is lost, and whoever loses something is convicted."""

import random

import pytest

from lastseat.harness import fastread
from lastseat.harness.check import check
from lastseat.harness.cli import main
from lastseat.harness.load.demand import Demand, Stock
from lastseat.harness.load.soak import HISTORY, Soak, UnfitForSoak, soak
from lastseat.harness.names import Fresh
from lastseat.harness.registry import resolve
from lastseat.harness.verdict import Verdict
from lastseat.spec.vocabulary import CONFLICT, IN_DOUBT, REJECTED

CRASH = ("crash-restart",)


def test_a_short_soak_survives_a_crash_and_a_shutdown(tmp_path, capsys):
    command = ["soak", "--attempts", "2000", "--strikes", "2", "--clients", "4"]
    code = main([*command, "--faults", "crash-restart", "terminate", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert (code, "verdict: pass" in said) == (0, True), said
    checked = check(str(tmp_path / HISTORY))
    assert checked.verdict is Verdict.PASS
    assert checked.attempts >= 2000
    assert {"BOOKED", "REJECTED", "FAILED(CONFLICT)", "FAILED(INFRASTRUCTURE)"} <= set(
        checked.answers
    )
    columns = fastread.read_path(str(tmp_path / HISTORY))
    assert columns.audits, "bookings were read while it went on"
    assert {fault.kind for fault in columns.faults} == {"crash-restart", "terminate"}
    assert columns.finals.keys() == columns.header.resources.keys()


def test_asynchronous_commits_and_a_crash_are_convicted(tmp_path):
    plan = Soak(2000, 4, CRASH, strikes=4, settings={"synchronous_commit": "off"})
    assert _rules(soak(resolve("optimistic"), plan, tmp_path)) >= {"BOOKED"}


def test_a_standby_that_was_behind_is_convicted(tmp_path):
    plan = Soak(1000, 4, ("promote-asynchronous",), strikes=1)
    assert _rules(soak(resolve("optimistic"), plan, tmp_path)) >= {"BOOKED"}


def test_a_standby_that_confirmed_every_commit_loses_nothing(tmp_path):
    plan = Soak(1000, 4, ("promote-synchronous",), strikes=1)
    trial = soak(resolve("optimistic"), plan, tmp_path)
    assert trial.verdict is Verdict.PASS, (trial.reasons, trial.checked)


def test_who_oversells_is_convicted(tmp_path):
    plan = Soak(1500, 4, CRASH, strikes=1)
    assert _rules(soak(resolve("X01"), plan, tmp_path)) >= {"capacity"}


def _rules(trial):
    assert trial.verdict is Verdict.VIOLATION, (trial.reasons, trial.checked)
    return {violation.rule.value for violation in trial.checked.judgement.violations}


@pytest.mark.parametrize(
    "outages",
    [("nothing-like-it",), ("half-open",), ("promote-synchronous", "promote-asynchronous")],
)
def test_what_cannot_strike_a_soak_is_refused(outages, tmp_path):
    with pytest.raises(UnfitForSoak):
        soak(resolve("optimistic"), Soak(100, 2, outages), tmp_path)


def test_demand_repeats_doubt_at_once_and_moves_on_when_a_resource_is_full():
    demand = Demand(Stock({f"r{n}": 1 for n in range(9)}), Fresh("text"), random.Random(3))
    first = demand.next()
    demand.answered(first, IN_DOUBT)
    assert [demand.next(), demand.next()] == [first, first]
    for _ in range(20):
        demand.answered(first, REJECTED)
    assert first.resource_id not in {demand.current() for _ in range(200)}
    demand.answered(first, None)
    conflicts = 0
    for _ in range(200):
        demand.answered(first, CONFLICT)
        conflicts += demand.next() is first
    assert 50 < conflicts < 190
