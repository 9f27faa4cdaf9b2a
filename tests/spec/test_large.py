"""The judge of large histories says what the readable one says, word for word."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from tests.spec.histories import generate
from tests.spec.test_legality_oracle import generate as generate_case
from tests.spec.test_legality_oracle import history_of

from lastseat.spec.cases import Case, cases
from lastseat.spec.columns import columns_of
from lastseat.spec.events import History
from lastseat.spec.large import judge as judge_large
from lastseat.spec.legality import judge
from lastseat.spec.rules import Judgement, Rule
from lastseat.spec.sieve import sift

ROUNDS = int(os.environ.get("LASTSEAT_LARGE_ROUNDS", "2000"))
BATCHES = 4

SELDOM = {Rule.TRANSIENCE, Rule.REVELATION, Rule.COUNTER, Rule.IN_DOUBT}
"""Not broken in every few hundred histories."""


def told(judgement: Judgement) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    violations = sorted(map(repr, judgement.violations))
    return violations, judgement.not_judged, judgement.undecided


def compare(history: History) -> Judgement:
    readable = judge(history)
    assert told(judge_large(columns_of(history))) == told(readable)
    return readable


@pytest.mark.parametrize("row", tuple(cases()), ids=str)
def test_it_agrees_on_what_breaks_a_rule_and_on_near_misses(row: Case) -> None:
    compare(row.history)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_it_agrees_on_histories_with_all_kinds_of_evidence(batch: int) -> None:
    rng = random.Random(f"large {batch}")
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS // BATCHES):
        history = generate(rng)
        judgement = compare(history)
        seen.update({violation.rule.value for violation in judgement.violations} or {"legal"})
        plain = sift(columns_of(history)).plain
        seen["plain"] += sum(plain)
        seen["others"] += len(plain) - sum(plain)
    assert {"legal", *(rule.value for rule in Rule if rule not in SELDOM)} <= set(seen), seen
    # Enough of both kinds for each to be put beside the other.
    assert 0.4 < seen["plain"] / seen["others"] < 2, seen


@pytest.mark.parametrize("batch", range(BATCHES))
def test_it_agrees_where_effects_are_hard_to_judge(batch: int) -> None:
    rng = random.Random(f"large oracle {batch}")
    for _ in range(ROUNDS // BATCHES):
        compare(history_of(generate_case(rng), rng))
