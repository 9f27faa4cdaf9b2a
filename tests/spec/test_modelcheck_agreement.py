"""Refinements, and the judge of histories, beside the abstract life."""

from __future__ import annotations

import pytest

from lastseat.spec.agreement import (
    FAULTS_ONLY,
    FULL,
    agree,
    complete,
    conceivable,
    history,
    recordings,
)
from lastseat.spec.broken import (
    ConflictAlone,
    DoubtDenied,
    EarlyBooked,
    NoVersionCheck,
    NoWinner,
    OneShort,
)
from lastseat.spec.inclusion import refines
from lastseat.spec.legality import judge
from lastseat.spec.life import ABSTRACT
from lastseat.spec.modelcheck import Scope
from lastseat.spec.proof import ONE_ID
from lastseat.spec.refinements import OPTIMISTIC, REFINEMENTS
from lastseat.spec.rules import Rule
from lastseat.spec.vocabulary import ANSWERS
from lastseat.spec.world import Claim

TWO = Scope.of(2, 1, faults=1)
PAIR = Scope((Claim(0, 1, callers=2),), (1,), faults=2)
LIVES = (ABSTRACT, *REFINEMENTS)


@pytest.mark.parametrize("life", REFINEMENTS, ids=lambda life: life.name)
@pytest.mark.parametrize("scope", [TWO, ONE_ID, Scope.of(3, 2)], ids=str)
def test_whatever_is_seen_of_a_refinement_can_be_seen_of_the_abstract_life(life, scope):
    inclusion = refines(life, scope)
    assert inclusion.ok, inclusion.text()
    assert f"refines the abstract life ({inclusion.compared:,} pairs compared)" in inclusion.text()


@pytest.mark.parametrize("life", REFINEMENTS, ids=lambda life: life.name)
def test_the_abstract_life_is_more_than_any_refinement(life):
    assert not refines(ABSTRACT, TWO, within=life).ok


@pytest.mark.parametrize(
    ("life", "last"),
    [
        (NoVersionCheck(), "attempt 1 of b1: effect"),
        (EarlyBooked(), "attempt 1 of b1: emission BOOKED"),
        (OneShort(), "attempt 1 of b1: emission REJECTED"),
        (ConflictAlone(), "attempt 1 of b1: emission FAILED(CONFLICT)"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_life_that_adds_something_is_no_refinement(life, last):
    inclusion = refines(life, Scope.of(2, 1))
    assert inclusion.witness is not None
    assert str(inclusion.witness[-1]).replace("b2", "b1") == last
    assert last.split(": ")[1] in inclusion.text()


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
@pytest.mark.parametrize("observed", [FULL, FAULTS_ONLY], ids=["full", "faults"])
def test_every_run_is_legal(life, observed):
    agreement = agree(life, TWO, observed)
    assert agreement.ok, agreement.text()
    assert agreement.histories > 100


@pytest.mark.parametrize("life", [ABSTRACT, OPTIMISTIC], ids=str)
def test_every_run_with_callers_of_one_id_and_a_crash_is_legal(life):
    agreement = agree(life, ONE_ID)
    assert agreement.ok, agreement.text()


def test_every_answer_is_among_the_runs():
    emitted = {
        note.answer
        for run in recordings(ABSTRACT, TWO)
        for note in run.notes
        if hasattr(note, "answer")
    }
    assert emitted == set(ANSWERS)


@pytest.mark.parametrize(
    ("life", "observed", "rule"),
    [
        (NoVersionCheck(), FULL, Rule.CAPACITY),
        (DoubtDenied(), FULL, Rule.INFRASTRUCTURE),
        (OneShort(), FULL, Rule.REJECTED),
        (ConflictAlone(), FAULTS_ONLY, Rule.CONFLICT),
        (NoWinner(), FULL, Rule.CONFLICT),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_judge_convicts_runs_of_broken_lives(life, observed, rule):
    runs = recordings(life, TWO, observed)
    judgements = (judge(history(run, TWO, observed, life.promises)) for run in runs)
    assert rule in {violation.rule for j in judgements for violation in j.violations}


def test_a_run_that_is_not_legal_is_told():
    agreement = agree(NoWinner(), Scope.of(2, 1))
    assert not agreement.ok
    assert agreement.convicted < agreement.histories
    assert "ILLEGAL" in agreement.text()
    assert "promises a winner" in agreement.text()


@pytest.mark.parametrize(
    ("scope", "number", "legal"),
    [
        (Scope.of(2, 1, faults=2), 600, 134),
        (Scope.of(2, 2, faults=2), 600, 138),
        (PAIR, 150, 57),
        (Scope((Claim(0, 1), Claim(1, 1)), (1, 0), faults=2), 600, 72),
        (Scope((Claim(0, 2), Claim(0, 1)), (2,), faults=2), 600, 134),
    ],
    ids=str,
)
def test_legal_is_exactly_what_the_abstract_life_can_do(scope, number, legal):
    found = complete(scope)
    assert found.ok, found.text()
    assert (found.conceivable, found.legal) == (number, legal)


def test_too_few_faults_show_as_a_disagreement():
    found = complete(TWO)
    assert found.only_judge
    assert not found.only_model
    assert "DISAGREE" in found.text()


def test_nothing_conceivable_is_written_down_twice():
    runs = list(conceivable(PAIR))
    assert len(runs) == len(set(runs))
