"""Clients that run freely cannot be brought to the same again: only facts convict."""

import io
from pathlib import Path

from rich.console import Console

from lastseat.harness import failing
from lastseat.harness.check import Checked
from lastseat.harness.commands.soak import show
from lastseat.harness.load.trial import Trial
from lastseat.harness.venue import Found
from lastseat.harness.verdict import Verdict
from lastseat.spec.rules import Judgement, Rule, Violation

LOST = Violation(Rule.BOOKED, ("a1",), "r", "BOOKED, and the final bookings lack it", fact=True)
LATE = Violation(Rule.ONE_OUTCOME, ("a2",), "r", "the answer took 15008 ms")


def trial(*violations: Violation) -> Trial:
    checked = Checked(Judgement(violations, ()), (), {"BOOKED": 2, "REJECTED": 1}, 1, 1, 0.0, 0.0)
    return Trial(Path("out", "history.jsonl"), checked=checked)


def found(judged: Trial) -> Found:
    kept = Found()
    failing._take("soak", judged, kept)
    return kept


def test_a_fact_convicts_and_what_is_none_is_told_as_seen_once() -> None:
    judged = trial(LATE, LOST)
    assert judged.verdict is Verdict.VIOLATION
    kept = found(judged)
    assert [convicted.rules for convicted in kept.convicted] == [{"BOOKED"}]
    (seen,) = kept.seen_once
    assert str(seen) == (
        "seen once, in clients that run freely, which cannot be repeated: one outcome in soak;"
        " lastseat check out/history.jsonl"
    )


def test_what_is_no_fact_is_inconclusive_and_its_history_is_named() -> None:
    judged = trial(LATE)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert found(judged).convicted == []
    file = io.StringIO()
    show(judged, Console(file=file, width=400))
    assert "VIOLATION" not in file.getvalue()
    assert "seen once, in clients that run freely" in file.getvalue()
    assert "verdict: inconclusive" in file.getvalue()


def test_who_is_right_passes() -> None:
    assert trial().verdict is Verdict.PASS
    assert found(trial()) == Found()
