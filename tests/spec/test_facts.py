"""A fact is what committed states and answers prove by themselves; everything else must repeat."""

from __future__ import annotations

import random

import pytest
from attrs import evolve
from tests.spec.histories import generate

from lastseat.spec.cases import Case, cases, history
from lastseat.spec.events import CommitSent, Fault, Fence, History, Seen
from lastseat.spec.legality import judge
from lastseat.spec.rules import Rule, Violation

ROWS = tuple(cases())
NEVER = frozenset({Rule.ONE_OUTCOME, Rule.TRANSIENCE, Rule.DETERMINISM})


def states_and_answers(judged: History) -> History:
    """The same history, in which it was not seen what was sent, what reached whom, and when."""
    kept = (e for e in judged.events if not isinstance(e, Seen | CommitSent | Fence | Fault))
    header = evolve(judged.header, observed=frozenset(), deadline_ms=None, grace_ms=None)
    return History(header, tuple(kept))


def facts(judged: History) -> list[Violation]:
    return [violation for violation in judge(judged).violations if violation.fact]


def unproved(judged: History) -> list[Violation]:
    """The facts of which states and answers alone would not tell. By them alone the same row may
    break another rule, of the same attempts."""
    bare = facts(states_and_answers(judged))
    return [
        fact
        for fact in facts(judged)
        if not any(
            fact.resource == other.resource
            and (fact.rule is other.rule or set(fact.attempts) & set(other.attempts))
            for other in bare
        )
    ]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_facts_need_no_evidence(row: Case) -> None:
    assert unproved(row.history) == []


def test_facts_of_random_histories_need_no_evidence() -> None:
    found = 0
    for seed in range(600):
        judged = generate(random.Random(seed))
        assert unproved(judged) == [], seed
        found += len(facts(judged))
    assert found > 100


def test_what_depends_on_time_or_on_what_reached_an_attempt_is_never_a_fact() -> None:
    histories = [row.history for row in ROWS]
    histories += [generate(random.Random(seed)) for seed in range(600)]
    violations = [v for each in histories for v in judge(each).violations if v.rule in NEVER]
    assert violations
    assert not any(violation.fact for violation in violations)


COMMITS = {"observed": "commits"}


@pytest.mark.parametrize(
    ("words", "options", "rule", "fact"),
    [
        pytest.param("final r x=1 y=1", {}, Rule.BOOKED, True, id="rows that were not asked for"),
        pytest.param("1 a asks x 1; 2 a BOOKED; final r", {}, Rule.BOOKED, True, id="lost"),
        pytest.param(
            "1 a asks x 1; 2 a BOOKED; 3 a commits; final r x=1",
            COMMITS,
            Rule.BOOKED,
            False,
            id="answered before its commit was sent",
        ),
        pytest.param(
            "1 a asks x 1; 2 a REJECTED; final r x=1", {}, Rule.REJECTED, True, id="has an effect"
        ),
        pytest.param("1 a asks x 1; 2 a REJECTED; final r", {}, Rule.REJECTED, False, id="room"),
        pytest.param(
            "1 a asks x 1; 1 a sees error 40001; 2 a CONFLICT; final r x=1",
            {},
            Rule.CONFLICT,
            True,
            id="a conflict with an effect",
        ),
        pytest.param(
            "1 a asks x 1; 2 a CONFLICT; final r", {}, Rule.CONFLICT, False, id="without a reason"
        ),
        pytest.param(
            "1 a asks x 1; 2 a sees lost commit; 3 a DOUBT; final r x=1",
            COMMITS,
            Rule.IN_DOUBT,
            False,
            id="in doubt, applied, and no commit was seen",
        ),
        pytest.param(
            "1 a asks x 1; 2 a BOOKED; 3 b asks x 1; 4 b REJECTED; final r x=1",
            {},
            Rule.ONE_ID,
            True,
            id="one id answered both ways",
        ),
    ],
)
def test_one_rule_may_be_broken_by_a_fact_and_by_what_is_none(
    words: str, options: dict[str, str], rule: Rule, fact: bool
) -> None:
    found: list[Violation] = [
        v for v in judge(history(words, options)).violations if v.rule is rule
    ]
    assert found
    assert {violation.fact for violation in found} == {fact}
