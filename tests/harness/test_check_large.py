"""Checking large histories: the benchmark's are what they claim to be, and the search helps out."""

from __future__ import annotations

from pathlib import Path

import pytest

from lastseat.harness import check
from lastseat.harness.bench.check import write
from lastseat.harness.verdict import Verdict
from lastseat.spec.cases import history
from lastseat.spec.history import encode
from lastseat.spec.rules import Rule


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize(
    ("wrong", "broken"),
    [("legal", set()), ("oversold", {Rule.CAPACITY}), ("rejected", {Rule.REJECTED})],
)
def test_the_benchmarks_histories(
    wrong: str, broken: set[Rule], told: bool, read: bool, tmp_path: Path
) -> None:
    path = tmp_path / "history.jsonl"
    write(path, 3000, wrong, told=told, read=read)
    checked = check.check(str(path))
    assert {violation.rule for violation in checked.judgement.violations} == broken
    assert checked.verdict is (Verdict.VIOLATION if broken else Verdict.PASS)
    assert checked.attempts == 3000
    assert checked.clients == 50
    assert all(violation.inequality for violation in checked.judgement.violations)


def checked(told: str, tmp_path: Path) -> check.Checked:
    path = tmp_path / "history.jsonl"
    given = history(told, {})
    path.write_text("".join(encode(line) + "\n" for line in (given.header, *given.events)))
    return check.check(str(path))


TWO_WAYS = "1 a asks x 3; 2 b asks x 2; 2 b sees lost commit; 3 b DOUBT; 6 a REJECTED"
"""Only x itself may have been booked, and while it is, it is not rejected."""


def test_a_search_decides_which_request_was_booked(tmp_path: Path) -> None:
    wrong = checked(TWO_WAYS, tmp_path)
    assert wrong.verdict is Verdict.VIOLATION
    assert [violation.attempts for violation in wrong.judgement.violations] == [("a",)]
    rival = "; 7 c asks y 1; 8 c BOOKED"
    assert checked(TWO_WAYS + rival, tmp_path).verdict is Verdict.VIOLATION
    rival = "4 c asks y 1; 4 c sees lost commit; 5 c DOUBT; 6 a REJECTED"
    assert checked(TWO_WAYS.replace("6 a REJECTED", rival), tmp_path).verdict is Verdict.PASS


def test_beyond_its_budget_the_verdict_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit, value in (("SEARCHED", 1), ("BUDGET", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(check, limit, value)
            found = checked(TWO_WAYS, tmp_path)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert "asked for in different ways" in found.undecided[0]


def test_nothing_recorded_is_no_pass(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"type":"header","format":"lastseat-history/1","resources":{}}\n')
    assert check.check(str(path)).verdict is Verdict.INCONCLUSIVE
