"""Every rule on the histories of ``judged.txt``, which says how to read them."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import pytest

from lastseat.spec import effects, failures
from lastseat.spec.cases import Case, cases, history
from lastseat.spec.legality import Rule, judge

ROWS = tuple(cases())


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Case) -> None:
    violations = judge(row.history).violations
    assert {violation.rule for violation in violations} == row.broken, violations


JUDGES = {
    effects: (
        "capacity",
        "counter",
        "booked",
        "unwarranted",
        "one_id",
        "rejected",
    ),
    failures: (
        "one_outcome",
        "conflict",
        "infrastructure",
        "in_doubt",
        "transience",
        "determinism",
        "programming_error",
    ),
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in JUDGES.items() for name in names]
)
def test_a_judge_without_one_of_its_functions_is_noticed(
    module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, lambda *_: ())
    missed = [row for row in ROWS if {v.rule for v in judge(row.history).violations} != row.broken]
    assert missed


def test_what_was_not_recorded_is_named() -> None:
    """A failure that nothing recorded could explain convicts nobody, and is not passed over."""
    unknown = history(
        "1 a asks x 1; 2 a INFRASTRUCTURE; 3 b asks y 1; 3 c asks z 1; 4 b CONFLICT; 4 c DOUBT;"
        "5 d asks w 1; 6 d raises; 7 e asks v 1",
        {"observed": ""},
    )
    judgement = judge(unknown)
    assert judgement.legal
    assert [line.split(":")[0] for line in judgement.not_judged] == [
        "one outcome",
        "one outcome",
        "BOOKED",
        "determinism",
        "CONFLICT",
        "programming error",
        "INFRASTRUCTURE",
        "transience",
        "in doubt",
    ]


def test_ids_asked_in_different_ways_need_the_final_bookings() -> None:
    asked = "1 a asks x 5; 2 a REJECTED; 3 b asks x 1; 4 b BOOKED"
    words = "REJECTED: of ids asked for in different ways it is not known what was booked"
    assert words in judge(history(asked, {})).not_judged
    assert words not in judge(history(asked + "; final r x=1; final s", {})).not_judged


def test_everything_recorded_is_judged() -> None:
    known = history(
        "1 a asks x 1 0.; 1 a sees lost connect; 2 a INFRASTRUCTURE 1.; final r; final s; 3 end",
        {"observed": "commits", "deadline": "100"},
    )
    assert judge(known).not_judged == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rejected before the rival came", "0 + 1 <= 3, it takes 3 more"),
        ("rejected as full, with doubts of two each and an odd capacity", "no choice among"),
        ("two callers, one seat, both got it", "hold 2 of 1, 1 too many; certain since instant 2"),
        ("it answers long after its deadline", "121 ms > 100 + 20 ms"),
        ("alone before a full house, and let in", "3 + 1 > 3"),
        ("a conflict swallowed as a rejection", "40001"),
    ],
)
def test_the_explanation_gives_the_numbers(name: str, words: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    assert any(words in str(violation) for violation in judge(row.history).violations)


def test_every_rule_has_a_sentence_and_rows_of_both_kinds() -> None:
    kinds = Counter((row.rule, row.wrong) for row in ROWS)
    for rule in Rule:
        assert rule.sentence.endswith(".")
        assert kinds[rule, True] >= 2, rule
        assert kinds[rule, False] >= 2, rule
