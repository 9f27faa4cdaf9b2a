"""Totals of what may or may not have been made: exact while small, honest and quick when large."""

from __future__ import annotations

import random
import tracemalloc
from itertools import combinations

import pytest

from lastseat.spec import legality, sums
from lastseat.spec.columns import columns_of
from lastseat.spec.events import (
    Emit,
    Evidence,
    Header,
    History,
    Invoke,
    Phase,
    Seen,
    What,
    assemble,
)
from lastseat.spec.large import judge as judge_large
from lastseat.spec.resource import Resource
from lastseat.spec.sums import Totals
from lastseat.spec.sweep import Lack, with_room
from lastseat.spec.vocabulary import IN_DOUBT, REJECTED, Request

Question = tuple[int, list[tuple[float, int]], list[tuple[float, int]]]


def question(rng: random.Random) -> Question:
    """A capacity, bookings in doubt, and rejections, in the order of time."""
    scale = rng.choice((1, 1, 7, 10**9))
    doubts = [(2.0 * n, scale * rng.randint(1, 6)) for n in range(rng.randint(0, 7))]
    capacity = scale * rng.randint(0, 20) + rng.choice((0, 0, scale // 2))
    ends = sorted(2.0 * rng.randint(0, 7) + 1 for _ in range(rng.randint(1, 4)))
    return capacity, doubts, [(end, scale * rng.randint(1, 8)) for end in ends]


def borne_out(asked: Question) -> list[bool]:
    """For each rejection, by looking at every choice: whether one bears out it, and all before it
    that any choice bears out."""
    capacity, doubts, rejected = asked
    choices = [
        choice
        for many in range(len(doubts) + 1)
        for choice in combinations(doubts, many)
        if sum(units for _, units in choice) <= capacity
    ]
    found = []
    for ended, units in rejected:
        left = [
            choice
            for choice in choices
            if sum(each for begun, each in choice if begun <= ended) + units > capacity
        ]
        found.append(bool(left))
        choices = left or choices
    return found


def answers(asked: Question) -> list[bool | None]:
    capacity, doubts, rejected = asked
    found: list[bool | None] = [True] * len(rejected)
    for index, _, lack in with_room(capacity, [], doubts, rejected):
        found[index] = None if lack is Lack.OPEN else False
    return found


@pytest.mark.parametrize("width", [sums.WIDTH, 0], ids=["bits", "sets"])
def test_they_are_exact(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "WIDTH", width)
    rng = random.Random("sums")
    met = set()
    for _ in range(2000):
        asked = question(rng)
        expected = borne_out(asked)
        assert answers(asked) == expected, asked
        met |= set(expected)
    assert met == {True, False}


def test_what_was_thinned_says_yes_rightly_and_no_never_wrongly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sums, "WIDTH", 0)
    monkeypatch.setattr(sums, "MOST", 4)
    rng = random.Random("thin")
    met = set()
    for _ in range(2000):
        asked = question(rng)
        for said, true in zip(answers(asked), borne_out(asked), strict=True):
            met.add(said)
            if said is None:
                break  # from here on the two speak of different choices
            assert said == true, asked
    assert met == {True, False, None}


def in_doubt(capacity: int, units: list[int], last: int) -> History:
    """Attempts in doubt, one after the other, a rejection of ``last`` at the end, nothing read."""
    events: list[Invoke | Seen | Emit] = []
    for number, asked in enumerate(units):
        at, name = 3 * number, f"a{number}"
        events.append(Invoke(at, name, name, Request(f"b{number}", "r", asked)))
        events.append(Seen(at + 1, name, What.LOST, None, Phase.COMMIT))
        events.append(Emit(at + 2, name, IN_DOUBT))
    at = 3 * len(units)
    events.append(Invoke(at, "z", "z", Request("z", "r", last)))
    events.append(Emit(at + 1, "z", REJECTED))
    header = Header({"r": Resource(capacity)}, frozenset({Evidence.SERVER}))
    return assemble([header, *events])


LARGE = 10**12
SIZES = {
    "all fit": (LARGE, [3, 5, 7], 1, False),
    "all fit, and it is full": (LARGE, [LARGE - 3, 1, 2], 1, True),
    "some fit, by a gap of one": (LARGE, [LARGE // 2, LARGE // 2 - 1, LARGE - 2, 7], 1, False),
    "some fit, and it is full": (LARGE, [LARGE // 2, LARGE // 2 - 1, LARGE - 2, 7, 1], 1, True),
    "many of one large size": (1000 * LARGE, [LARGE] * 2000, 1, True),
    "many of one large size that leaves room": (1000 * LARGE + 1, [LARGE] * 2000, 1, False),
    "many small ones": (LARGE, [1, 2, 3] * 700, 1, False),
}


@pytest.mark.parametrize(("capacity", "units", "last", "legal"), SIZES.values(), ids=SIZES.keys())
def test_sizes_cost_nothing(capacity: int, units: list[int], last: int, legal: bool) -> None:
    history = in_doubt(capacity, units, last)
    tracemalloc.start()
    try:
        judgement = legality.judge(history)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000
    assert judgement.legal == legal
    assert not judgement.undecided
    assert judge_large(columns_of(history)) == judgement


def test_what_is_too_much_to_find_out_convicts_nobody_and_is_said() -> None:
    """Forty odd sizes: there is hardly a total that they cannot make, and far too many to try."""
    rng = random.Random("hard")
    units = [2 * rng.randint(10**11, 10**12) for _ in range(40)]
    found = legality.judge(in_doubt(sum(units) // 2 * 2 - 10**12 + 1, units, 1))
    assert found.legal
    assert "in doubt on r" in found.undecided[0]


def test_with_many_of_all_sizes_a_choice_that_does_is_found() -> None:
    rng = random.Random("many")
    units = [rng.randint(1, 10**6) for _ in range(200)]
    found = legality.judge(in_doubt(10**7, units, 10**4))
    assert found.legal
    assert not found.undecided


def test_totals_say_what_is_the_most() -> None:
    totals = Totals(10, [4, 8])
    totals.maybe(4)
    assert totals.most == 4
    totals.maybe(8)
    assert totals.most == 10
    assert totals.at_least(8)
    assert not totals.at_least(9)
