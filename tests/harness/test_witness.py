"""What a verification must have seen: each thing that is missing keeps it from passing."""

from pathlib import Path

import pytest

from lastseat.harness.cases import Case
from lastseat.harness.meetings import Fired
from lastseat.harness.venue import Found
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Result, Verification
from lastseat.harness.witness import Witness
from lastseat.spec.vocabulary import (
    ANSWERS,
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
)


def complete() -> Witness:
    """One that has seen all that is demanded, once."""
    witness = Witness(contention=1)
    witness.answers.update(ANSWERS)
    witness.undisturbed[BOOKED] = 1
    return witness


def verdict(witness: Witness, *, finished: bool = True) -> Verdict:
    """Of a verification that found nothing illegal."""
    case = Case("explore/last-seat", "two callers, one seat", lambda venue, found: None)
    results = [Result(case, Found(witness=witness), 1.0)]
    return Verification("x", "", "quick", 0, Path(), results, finished=finished).verdict()


def test_who_has_seen_everything_may_pass() -> None:
    assert list(complete().missing()) == []
    assert verdict(complete()) is Verdict.PASS


def test_who_has_seen_nothing_may_not() -> None:
    assert len(list(Witness().missing())) == 6
    assert verdict(Witness()) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("answer", [REJECTED, CONFLICT, INFRASTRUCTURE, IN_DOUBT], ids=str)
def test_every_answer_must_have_been_given(answer: Answer) -> None:
    witness = complete()
    witness.answers[answer] = 0
    assert list(witness.missing()) == [f"no attempt was answered {answer}"]
    assert verdict(witness) is Verdict.INCONCLUSIVE


def test_somebody_must_have_been_booked_whom_no_fault_touched() -> None:
    witness = complete()
    witness.undisturbed[BOOKED] = 0
    assert witness.answers[BOOKED] > 0
    assert list(witness.missing()) == ["no client that no fault touched was BOOKED"]
    assert verdict(witness) is Verdict.INCONCLUSIVE


def test_two_must_have_contended() -> None:
    """Not every mechanism waits for locks: turns that overlap are contention, too."""
    witness = complete()
    witness.contention, witness.overlaps = 0, 1
    assert verdict(witness) is Verdict.PASS
    witness.contention, witness.overlaps = 0, 0
    (reason,) = witness.missing()
    assert "contended" in reason
    assert verdict(witness) is Verdict.INCONCLUSIVE


def test_a_fault_that_was_not_seen_to_happen_did_not_happen() -> None:
    witness = complete()
    witness.unseen.append(Fired("lose-answer", "bob", "COMMIT", seen=False))
    assert list(witness.missing()) == ["lose-answer at «COMMIT» of bob was not seen to happen"]
    assert verdict(witness) is Verdict.INCONCLUSIVE


def test_what_is_not_finished_cannot_pass() -> None:
    assert verdict(complete(), finished=False) is Verdict.INCONCLUSIVE


def test_deadlocks_that_no_fault_made_are_advised_against_and_break_nothing() -> None:
    witness = complete()
    assert list(witness.advice()) == []
    witness.add(Witness(deadlocks=2))
    assert verdict(witness) is Verdict.PASS
    (advice,) = witness.advice()
    assert advice.startswith("attempts deadlocked with each other 2 times")
