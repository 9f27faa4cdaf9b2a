"""What may follow from what reached an attempt, code by code, and what went on around it."""

from __future__ import annotations

import random

import pytest

from lastseat.spec.events import Emit, Header, Invoke, Phase, Raise, Seen, What, assemble
from lastseat.spec.evidence import ANY, Kind, Legal, legal
from lastseat.spec.failures import Intervals
from lastseat.spec.record import fold
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import BOOKED, INFRASTRUCTURE, Request

ASKED = Request("b", "r", 1)

LETTERS = {
    "B": Kind.BOOKED,
    "R": Kind.REJECTED,
    "C": Kind.CONFLICT,
    "I": Kind.INFRASTRUCTURE,
    "E": Kind.EXCEPTION,
}

ERRORS = {
    "40001": "C",
    "40P01": "C",
    "23P01": "C",
    "23505": "C",
    "55P03": "CI",
    "23514": "R",
    "08006": "I",
    "08P01": "I",
    "53100": "I",
    "53300": "I",
    "57014": "I",
    "57P01": "I",
    "58030": "I",
    "25006": "I",
    "25P03": "I",
    "25P04": "I",
    "XX001": "I",
    "XX002": "I",
    "42P05": "IE",
    "42P01": "IE",
    "42501": "IE",
    "3D000": "IE",
    "28P01": "IE",
    "XX000": "IE",
    "54001": "IE",
    "22003": "E",
    "23503": "E",
    "42601": "E",
    # Drivers heal these two, so they bind nobody.
    "0A000": "BRCIE",
    "26000": "BRCIE",
    # Not listed.
    "25P02": "BRCIE",
    "40003": "BRCIE",
    "P0001": "BRCIE",
}


def law(*evidence: Seen, before: Request | None = None, units: int = 1, capacity: int = 1) -> Legal:
    """What is legal for an attempt after ``evidence``; ``before``, that request was BOOKED."""
    events = []
    if before is not None:
        events = [Invoke(0, "z", "z", before), Emit(0, "z", BOOKED)]
    request = Request("b", "r", units)
    history = assemble(
        [
            Header({"r": Resource(capacity, {"other": 1} if capacity == 1 else {})}),
            *events,
            Invoke(1, "a", "a", request),
            *evidence,
            Emit(2, "a", INFRASTRUCTURE),
        ]
    )
    record = fold(history)
    return legal(record, record.attempts[-1])


def error(sqlstate: str | None, phase: Phase | None = Phase.STATEMENT) -> Seen:
    return Seen(1, "a", What.ERROR, sqlstate, phase)


def kinds(letters: str) -> frozenset[Kind]:
    return frozenset(LETTERS[letter] for letter in letters)


@pytest.mark.parametrize(("sqlstate", "letters"), ERRORS.items())
def test_an_error_binds_the_answer(sqlstate: str, letters: str) -> None:
    assert law(error(sqlstate)).kinds == kinds(letters)


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.CLEANUP])
@pytest.mark.parametrize("sqlstate", ERRORS)
def test_before_the_first_statement_and_after_the_decision_nothing_binds(
    sqlstate: str, phase: Phase
) -> None:
    assert law(error(sqlstate, phase)).kinds == ANY


@pytest.mark.parametrize("what", [What.LOST, What.DEADLINE, What.REFUSED, What.EXHAUSTED])
def test_a_failed_environment_permits_infrastructure_always(what: What) -> None:
    for phase in (*Phase, None):
        assert Kind.INFRASTRUCTURE in law(Seen(1, "a", what, None, phase)).permitted
    assert law(Seen(1, "a", what, None, Phase.STATEMENT)).kinds == kinds("I")
    assert law(Seen(1, "a", what, None, Phase.CONNECT)).kinds == ANY


def test_what_was_decided_before_the_environment_failed_stays_legal() -> None:
    lost = Seen(1, "a", What.LOST, None, Phase.STATEMENT)
    assert law(error("23514"), lost).kinds == kinds("RI")
    assert law(error("40001"), lost).kinds == kinds("CI")


def test_a_commit_answered_rollback_is_not_booked() -> None:
    rolled_back = error(None, Phase.COMMIT)
    assert law(rolled_back).kinds == kinds("RCIE")
    assert law(error("40001"), rolled_back).kinds == kinds("C")


def test_constraints_are_recognised_from_what_may_be_booked() -> None:
    same, other = ASKED, Request("b", "r", 2)
    assert law(error("23505"), before=same).kinds == kinds("CB")
    assert law(error("23505"), before=other).kinds == kinds("CE")
    assert law(error("23514"), before=same).kinds == kinds("RB")
    assert law(error("23514"), before=other).kinds == kinds("RE")
    # Where the capacity cannot have been violated, another constraint was.
    assert law(error("23514"), capacity=5).kinds == kinds("RE")
    assert law(error("23514"), units=0).kinds == kinds("RE")


def test_a_caller_may_cancel() -> None:
    cancelled = Seen(1, "a", What.DEADLINE, None, Phase.CALLER)
    assert Kind.EXCEPTION in law(cancelled).permitted
    lost = Seen(1, "a", What.LOST, None, Phase.STATEMENT)
    assert law(lost, cancelled).kinds == kinds("IE")


def test_an_attempt_that_raised_is_bound_as_well() -> None:
    raised = [Invoke(1, "a", "a", ASKED), error("40001"), Raise(2, "a", "no", in_doubt=False)]
    record = fold(assemble([Header({"r": Resource(1)}), *raised]))
    assert Kind.EXCEPTION not in legal(record, record.attempts[0]).kinds


def test_intervals_meet_as_counted_one_by_one() -> None:
    rng = random.Random("intervals")

    def interval() -> tuple[int, int]:
        start = rng.randint(0, 12)
        return start, start + rng.randint(0, 5)

    for _ in range(2000):
        spans = [interval() for _ in range(rng.randint(0, 5))]
        start, end = interval()
        met = sum(first <= end and last >= start for first, last in spans)
        assert Intervals(spans).count(start, end) == met
        assert Intervals(spans).meet(start, end) == (met > 0)
