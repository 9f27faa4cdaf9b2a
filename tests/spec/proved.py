"""What CrossHair proves of the decision at the heart of the step, over all numbers.

Every function states what is given, in its first assertions, and what follows, in its last one.
``test_proofs`` demands that all are confirmed over all paths, and that each is refuted for a
decision that is wrong in just that respect.
"""

from __future__ import annotations

from lastseat.spec.resource import Verdict, decide
from lastseat.spec.vocabulary import Outcome


def capacity_is_never_exceeded(
    capacity: int, booked: int, held: int | None, held_elsewhere: bool, n: int
) -> None:
    assert 0 <= booked <= capacity
    assert n >= 1
    verdict = decide(capacity, booked, held, held_elsewhere, n)
    assert booked + (n if verdict is Verdict.FITS else 0) <= capacity


def rejected_exactly_when_there_is_no_room(
    capacity: int, booked: int, held: int | None, held_elsewhere: bool, n: int
) -> None:
    assert 0 <= booked <= capacity
    assert n >= 1
    verdict = decide(capacity, booked, held, held_elsewhere, n)
    free = held is None and not held_elsewhere
    assert (verdict is Verdict.FULL) == (free and booked + n > capacity)


def repetition_changes_nothing(capacity: int, booked: int, n: int) -> None:
    assert 1 <= n <= booked <= capacity
    assert decide(capacity, booked, n, False, n) is Verdict.REPEATED


def an_id_that_is_booked_otherwise_is_inconsistent(
    capacity: int, booked: int, held: int | None, held_elsewhere: bool, n: int
) -> None:
    assert 0 <= booked <= capacity
    assert n >= 1
    otherwise = held_elsewhere or (held is not None and held != n)
    verdict = decide(capacity, booked, held, held_elsewhere, n)
    assert (verdict is Verdict.INCONSISTENT) == otherwise


def failed_is_never_the_answer(
    capacity: int, booked: int, held: int | None, held_elsewhere: bool, n: int
) -> None:
    assert 0 <= booked <= capacity
    assert n >= 1
    answer = decide(capacity, booked, held, held_elsewhere, n).answer
    assert answer is None or answer.outcome is not Outcome.FAILED
