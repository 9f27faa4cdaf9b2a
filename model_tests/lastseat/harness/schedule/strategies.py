"""Schedules drawn at random, where there are too many to run all: each strategy makes one.

All are seeded through ``draw``. ``length`` is about how many moves a schedule has, for those who
spread something over it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from lastseat.harness.schedule.decision import Decision, World
from lastseat.harness.schedule.footprint import Footprint, dependent


class Foresighted(World, Protocol):
    """A world that can tell, of a move, what it is going to touch."""

    def foreseen(self, decision: Decision) -> Footprint:
        """As far as the waiting turn tells."""


Strategy = Callable[[Foresighted, Random, int], None]


def random_walk(world: Foresighted, draw: Random, length: int) -> None:
    """Any move, at every step. What needs a long stay of one client is rarely met."""
    del length
    while moves := world.enabled():
        world.perform(draw.choice(moves))


def few_preemptions(world: Foresighted, draw: Random, length: int, most: int = 2) -> None:
    """Whoever goes, goes on; at most so many times somebody else takes over, anywhere."""
    left, last = most, None
    often = most / max(1, length, 2 * most)
    while moves := world.enabled():
        mine = next((move for move in moves if move.client == last), None)
        if mine is not None and left and len(moves) > 1 and draw.random() < often:
            left -= 1
            mine = draw.choice([move for move in moves if move is not mine])
        chosen = mine or draw.choice(moves)
        last = chosen.client
        world.perform(chosen)


def pct(world: Foresighted, draw: Random, length: int, depth: int = 3) -> None:
    """Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, 2010).

    The client of the highest priority goes; at ``depth - 1`` places, drawn beforehand, the one that
    goes falls behind all others. Finds what needs that many orderings with a known probability.
    """
    falls = {draw.randrange(max(1, length)): -place for place in range(1, depth)}
    ranks: dict[str, float] = {}
    step = 0
    while moves := world.enabled():
        for move in moves:
            ranks.setdefault(move.client, draw.random())
        chosen = max(moves, key=lambda move: ranks[move.client])
        if step in falls:
            ranks[chosen.client] = falls[step]
            chosen = max(moves, key=lambda move: ranks[move.client])
        step += 1
        world.perform(chosen)


def pos(world: Foresighted, draw: Random, length: int) -> None:
    """Partial order sampling (Yuan, Yang, Gu, 2018): the move of the highest priority is made, and
    those that depend on it draw their priorities anew. Draws classes more evenly than schedules.
    """
    del length
    ranks: dict[Decision, float] = {}
    while moves := world.enabled():
        for move in moves:
            ranks.setdefault(move, draw.random())
        chosen = max(moves, key=lambda move: ranks[move])
        touched = {move: world.foreseen(move) for move in moves}
        for move in moves:
            if move == chosen or dependent(touched[move], touched[chosen]):
                del ranks[move]
        world.perform(chosen)


STRATEGIES: Mapping[str, Strategy] = {
    "random": random_walk,
    "preemptions": few_preemptions,
    "pct": pct,
    "pos": pos,
}
