"""Drawn schedules, in a world of counters: no server, and all that a strategy may see."""

from collections.abc import Sequence
from random import Random

import pytest
from attrs import define, field

from lastseat.harness.schedule.decision import RELEASE, Decision, Step
from lastseat.harness.schedule.footprint import Footprint
from lastseat.harness.schedule.strategies import STRATEGIES, few_preemptions, pct, pos

A_THING = Footprint(writes=frozenset({"r1"}))
ELSEWHERE = Footprint(writes=frozenset({"r2"}))


@define
class Toy:
    """Clients with so many moves each; ``order`` is who went when."""

    left: dict[str, int]
    touches: dict[str, Footprint] = field(factory=dict)
    order: list[str] = field(factory=list)

    def enabled(self) -> Sequence[Decision]:
        return tuple(Decision(RELEASE, client) for client, left in self.left.items() if left)

    def foreseen(self, decision: Decision) -> Footprint:
        return self.touches.get(decision.client, A_THING)

    def perform(self, decision: Decision) -> Step:
        self.left[decision.client] -= 1
        self.order.append(decision.client)
        return Step(len(self.order), decision, (), "", ())


def order(name: str, seed: int, **left: int) -> str:
    world = Toy(dict(left))
    STRATEGIES[name](world, Random(seed), sum(left.values()))
    return "".join(world.order)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_schedule_goes_to_the_end_and_is_the_same_for_the_same_seed(name: str) -> None:
    for seed in range(30):
        drawn = order(name, seed, a=4, b=3, c=2)
        assert sorted(drawn) == sorted("aaaabbbcc")
        assert drawn == order(name, seed, a=4, b=3, c=2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_order_of_two_moves_each_is_drawn_at_some_time(name: str) -> None:
    drawn = {order(name, seed, a=2, b=2) for seed in range(400)}
    assert drawn == {"aabb", "abab", "abba", "baab", "baba", "bbaa"}


@pytest.mark.parametrize("most", [0, 1, 2])
def test_preemptions_are_as_few_as_was_said(most: int) -> None:
    seen = set()
    for seed in range(200):
        world = Toy({"a": 4, "b": 4})
        few_preemptions(world, Random(seed), 8, most)
        switches = sum(
            one != other for one, other in zip(world.order, world.order[1:], strict=False)
        )
        seen.add(switches)
    # The switch when one of the two is through is nobody's preemption.
    assert seen == set(range(1, most + 2))


def test_pct_of_depth_one_never_takes_a_turn_away() -> None:
    for seed in range(50):
        world = Toy({"a": 3, "b": 3})
        pct(world, Random(seed), 6, depth=1)
        assert "".join(world.order) in {"aaabbb", "bbbaaa"}


def test_pos_draws_anew_only_for_moves_that_depend_on_the_one_made() -> None:
    """Of ten moves against one that is independent of them all, each place of the one is as likely
    as its rank says: drawn once, it goes first as often as any of two would; where all depend on
    each other, it rarely survives so long."""
    independent = [_place(seed, ELSEWHERE) for seed in range(600)]
    dependent = [_place(seed, A_THING) for seed in range(600)]
    assert sum(place == 10 for place in independent) > 2 * sum(place == 10 for place in dependent)


def _place(seed: int, touched: Footprint) -> int:
    """How many of ten moves came before the one."""
    world = Toy({"a": 10, "b": 1}, {"b": touched})
    pos(world, Random(seed), 11)
    return world.order.index("b")
