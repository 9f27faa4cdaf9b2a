"""Shrinking leaves exactly the moves without which nothing fails."""

import itertools
from collections.abc import Sequence

import pytest

from lastseat.harness.schedule.shrink import shrink


def needing(*needed: int) -> "Failing":
    return Failing(frozenset(needed))


class Failing:
    """Fails while all the needed moves are there; counts how often it was asked."""

    def __init__(self, needed: frozenset[int]) -> None:
        self.needed, self.asked = needed, 0

    def __call__(self, moves: Sequence[int]) -> Sequence[int] | None:
        self.asked += 1
        return moves if self.needed.issubset(moves) else None


@pytest.mark.parametrize("needed", [(), (0,), (29,), (0, 29), (3, 4, 17), tuple(range(30))])
def test_only_what_is_needed_remains(needed: tuple[int, ...]) -> None:
    assert list(shrink(range(30), needing(*needed))) == list(needed)


def test_any_two_moves_of_a_short_list_are_found() -> None:
    for needed in itertools.combinations(range(7), 2):
        assert list(shrink(range(7), needing(*needed))) == list(needed)


def test_what_could_not_be_made_any_more_is_gone_with_what_it_followed_from() -> None:
    """A turn can be released only after its client's start."""

    def fails(moves: Sequence[str]) -> Sequence[str] | None:
        started: set[str] = set()
        made = []
        for move in moves:
            what, who = move.split()
            if what == "start":
                started.add(who)
            elif who not in started:
                continue
            made.append(move)
        return made if "release a" in made else None

    moves = ["start b", "start a", "release b", "release a", "release b", "release b"]
    assert shrink(moves, fails) == ["start a", "release a"]


def test_it_stops_when_it_is_enough_and_returns_the_best_so_far() -> None:
    failing = needing(3)
    shorter = shrink(range(64), failing, enough=lambda: failing.asked >= 2)
    assert failing.asked == 2
    assert 3 in shorter
    assert len(shorter) < 64


def test_a_list_of_one_needs_no_more_than_one_question() -> None:
    failing = needing(0)
    assert list(shrink([0], failing)) == [0]
    assert failing.asked == 1
