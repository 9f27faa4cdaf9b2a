"""Every rule on the histories of ``judged.txt``, which says how to read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import frozen

from lastseat.spec import effects, failures
from lastseat.spec.events import (
    Audit,
    CommitSent,
    Emit,
    End,
    Event,
    Evidence,
    Fault,
    Fence,
    Final,
    Header,
    History,
    Invoke,
    Phase,
    Raise,
    Rows,
    Seen,
    What,
    assemble,
)
from lastseat.spec.legality import Rule, judge
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Request,
)

JUDGED = Path(__file__).parent / "judged.txt"

OBSERVED = {
    "": frozenset[Evidence](),
    "faults": frozenset({Evidence.FAULTS}),
    "server": frozenset({Evidence.FAULTS, Evidence.SERVER}),
    "commits": frozenset(Evidence),
}
ANSWERS = {
    "BOOKED": BOOKED,
    "REJECTED": REJECTED,
    "CONFLICT": CONFLICT,
    "INFRASTRUCTURE": INFRASTRUCTURE,
    "DOUBT": IN_DOUBT,
}


@frozen
class Row:
    rule: Rule
    wrong: bool
    name: str
    options: dict[str, str]
    history: History

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.name}"

    @property
    def broken(self) -> set[Rule]:
        also = self.options.get("also")
        return {self.rule} | ({Rule(also)} if also else set()) if self.wrong else set()


def rows() -> Iterator[Row]:
    lines = iter(JUDGED.read_text().splitlines())
    rule = None
    for line in lines:
        if line.startswith("["):
            rule = Rule(line.strip("[]"))
        elif match := re.fullmatch(r"(WRONG|RIGHT) ([^|]*?)(?: \| (.*))?", line):
            verdict, name, more = match.groups()
            options = dict(option.split("=") for option in more.split(", ")) if more else {}
            assert rule is not None
            yield Row(rule, verdict == "WRONG", name, options, history(next(lines), options))


def history(text: str, options: dict[str, str]) -> History:
    prior = {options["prior"]: 1} if "prior" in options else {}
    deadline = float(options["deadline"]) if "deadline" in options else None
    header = Header(
        {"r": Resource(int(options.get("capacity", 3)), prior), "s": Resource(3)},
        observed=OBSERVED[options.get("observed", "server")],
        promises=frozenset(options.get("promises", "").split()),
        deadline_ms=deadline,
        grace_ms=None if deadline is None else 20,
    )
    return assemble([header, *(event(line.split()) for line in text.split(";"))])


def event(words: list[str]) -> Event:
    match words:
        case ["final", name, *read]:
            return Final(name, *reading(read))
        case ["fault", span, *client]:
            start, end = span.split("-")
            return Fault("cut", int(start), int(end) if end else None, *client)
        case [at, "audit", name, *read]:
            return Audit(int(at), name, *reading(read))
        case [at, "end", *ms]:
            return End(int(at), float(ms[0]) if ms else None)
        case [at, attempt, *rest]:
            return of_attempt(int(at), attempt, rest)
    raise AssertionError(words)


def of_attempt(at: int, attempt: str, words: list[str]) -> Event:
    ms = float(words.pop()) if words[-1].endswith(".") else None
    match words:
        case ["asks", booking_id, units, *more]:
            said = dict(zip(more[::2], more[1::2], strict=True))
            request = Request(booking_id, said.get("of", "r"), int(units))
            return Invoke(at, attempt, said.get("by", attempt), request, ms)
        case ["raises", *doubt]:
            return Raise(at, attempt, "no", in_doubt=doubt == ["in", "doubt"])
        case ["sees", what, *more]:
            fields: dict[str, Any] = {}
            for word in more:
                fields |= {"phase": Phase(word)} if word.islower() else {"sqlstate": word}
            return Seen(at, attempt, What(what), **fields)
        case ["commits"]:
            return CommitSent(at, attempt)
        case ["fenced"]:
            return Fence(at, attempt)
        case [answer]:
            return Emit(at, attempt, ANSWERS[answer], ms)
    raise AssertionError(words)


def reading(words: list[str]) -> tuple[Rows, int | None]:
    pairs = [word.split("=") for word in words]
    read = tuple((name, int(units)) for name, units in pairs if name != "counter")
    counters = [int(units) for name, units in pairs if name == "counter"]
    return read, counters[0] if counters else None


ROWS = tuple(rows())


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
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
