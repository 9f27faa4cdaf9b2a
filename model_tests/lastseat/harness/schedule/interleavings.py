"""Every interleaving of a scenario's turns, up to a number of preemptions.

A preemption takes the turn from a client that could go on. The search runs a schedule to its end,
notes where another client could have gone instead, and runs each of those prefixes in turn. What a
prefix enables is only known by running it: a client that waits for a lock has no turn to release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from attrs import frozen

from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.decision import START, Decision, Diverged, World

W = TypeVar("W", bound=World)
_TRIES = 5  # two waiters for one lock may wake in either order: a prefix is tried so often


@frozen
class _Prefix:
    """The moves that a schedule begins with, and how many preemptions are among them."""

    taken: tuple[Decision, ...]
    preemptions: int


def interleavings(
    world: Callable[[], W],
    preemptions: int | None,
    coverage: Coverage,
    again: Callable[[W], bool] = lambda _: False,
) -> Iterator[W]:
    """Run every schedule with at most so many preemptions (None: all); yields each finished world.

    ``world`` must set the same scenario afresh each time. ``again`` is asked of each finished world
    whether its schedule has to be run once more, because what was seen there says nothing.
    """
    prefixes: list[_Prefix] = [_Prefix((), 0)]
    while prefixes:
        prefix = prefixes.pop()
        coverage.remaining = len(prefixes)
        for _ in range(_TRIES):
            run = _follow(world, prefix.taken, coverage)
            branches = list(_complete(run, prefix, preemptions)) if run is not None else []
            if run is None or not again(run):
                break
        if run is None:
            continue
        prefixes.extend(branches)
        coverage.schedules += 1
        coverage.remaining = len(prefixes)
        yield run


def follow(world: World, decisions: Sequence[Decision]) -> None:
    """Make these moves one after the other; raises Diverged where one cannot be made."""
    for decision in decisions:
        enabled = world.enabled()
        if not decision.is_fault and decision not in enabled:
            could = ", ".join(map(str, enabled)) or "nothing"
            raise Diverged(f"«{decision}» was to follow, and there could follow {could}")
        world.perform(decision)


def to_the_end(world: World, last: str | None = None) -> None:
    """Let the client that went last go on while it can, then the first that can."""
    while moves := world.enabled():
        last = _next(moves, last).client
        world.perform(_next(moves, last))


def round_robin(world: World) -> None:
    """Let the clients take turns, one turn each."""
    last = ""
    while moves := world.enabled():
        move = next((move for move in moves if move.client > last), moves[0])
        last = move.client
        world.perform(move)


def _follow(world: Callable[[], W], prefix: tuple[Decision, ...], coverage: Coverage) -> W | None:
    for _ in range(_TRIES):
        run = world()
        try:
            follow(run, prefix)
        except Diverged:
            to_the_end(run)
        else:
            return run
    coverage.diverged += 1
    return None


def _complete(world: World, prefix: _Prefix, allowed: int | None) -> Iterator[_Prefix]:
    """Run on to the end without a preemption; yields the prefixes that branch off on the way."""
    taken = list(prefix.taken)
    while moves := world.enabled():
        last = taken[-1] if taken else None
        chosen = _next(moves, last.client if last else None)
        # Its first turn is what makes an attempt's start matter to others.
        if last is None or last.move != START:
            spent = prefix.preemptions + _cost(moves, last)
            if allowed is None or spent <= allowed:
                others = (move for move in moves if move.client != chosen.client)
                yield from (_Prefix((*taken, other), spent) for other in others)
        world.perform(chosen)
        taken.append(chosen)


def _next(moves: Sequence[Decision], last: str | None) -> Decision:
    return next((move for move in moves if move.client == last), moves[0])


def _cost(moves: Sequence[Decision], last: Decision | None) -> int:
    """Going on with another client is a preemption if the last one is in the middle of something.

    To begin its next attempt is not being in the middle.
    """
    return int(last is not None and any(m.client == last.client and m.move != START for m in moves))
