"""The general search, the judge's arithmetic and full enumeration agree on what can be explained.

``LASTSEAT_LINEARIZE_ROUNDS`` sets how many random histories are compared.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from tests.spec.test_legality_oracle import (
    asked_in_different_ways,
    explicable,
    generate,
    history_of,
    verdicts,
)

from lastseat.spec import linearize
from lastseat.spec.events import Emit, Final, Header, History, Invoke, assemble
from lastseat.spec.linearize import Found
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import BOOKED, REJECTED, Request

ROUNDS = int(os.environ.get("LASTSEAT_LINEARIZE_ROUNDS", "2000"))
BATCHES = 4


@pytest.mark.parametrize("batch", range(BATCHES))
def test_search_judge_and_enumeration_agree(batch: int) -> None:
    rng = random.Random(f"linearize {batch}")
    met: Counter[str] = Counter()
    for _ in range(ROUNDS // BATCHES):
        case = generate(rng)
        found = linearize.linearize(history_of(case, rng)).found
        assert found is not Found.BUDGET_SPENT, case
        possible = found is Found.ORDER
        assert possible == explicable(case), case
        mixed, unread = asked_in_different_ways(case), case.final is None
        if possible or not (mixed and unread):  # else the judge may be too kind, and says so
            assert possible == (not verdicts(case)), case
        met[f"{'legal' if possible else 'illegal'}{', mixed' * mixed}{', unread' * unread}"] += 1
        met.update(str(run.answer) for run in case.runs)
    assert len(met) == 8 + 6, met


def asked(answers: str, capacity: int, rows: tuple[tuple[str, int], ...]) -> History:
    """Attempts for one unit, all at once: ``B`` is BOOKED, ``R`` is REJECTED."""
    names = [f"{kind}{number}" for number, kind in enumerate(answers)]
    begins = [Invoke(1, name, name, Request(f"b-{name}", "r", 1)) for name in names]
    ends = [Emit(2, name, BOOKED if name.startswith("B") else REJECTED) for name in names]
    header = Header({"r": Resource(capacity)})
    return assemble([header, *begins, *ends, Final("r", rows)])


def test_the_witness_is_an_order_of_all() -> None:
    found = linearize.linearize(asked("RBRB", 2, (("b-B1", 1), ("b-B3", 1))))
    assert found.found is Found.ORDER
    assert sorted(found.witness) == ["B1", "B3", "R0", "R2"]
    assert set(found.witness[:2]) == {"B1", "B3"}  # before them there was room


def test_who_is_stuck_is_named() -> None:
    found = linearize.linearize(asked("RB", 2, (("b-B1", 1),)))
    assert found.found is Found.NO_ORDER
    assert found.stuck == ("R0",)
    assert found.resources == ("r",)


def test_it_gives_up_when_its_budget_is_spent() -> None:
    """Forty at once for thirty-nine units: every subset is a configuration."""
    rows = tuple((f"b-B{number}", 1) for number in range(40))
    found = linearize.linearize(asked("B" * 40, 39, rows), budget=500)
    assert found.found is Found.BUDGET_SPENT
    assert found.configurations == 500
