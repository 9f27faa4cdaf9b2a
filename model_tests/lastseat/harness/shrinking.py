"""Makes a violation small: faults go first, then attempts, then switches of client, then units.

What is left breaks one of the rules that the whole has broken, and was run for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby, pairwise

from attrs import Factory, define, evolve, field, frozen

from lastseat.harness.aftermath import aftermath
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import START
from lastseat.harness.schedule.shrink import shrink as leave_out
from lastseat.harness.script import Move, act
from lastseat.harness.script import without_attempts as idle
from lastseat.harness.stage import Stage
from lastseat.spec.vocabulary import Request

Judge = Callable[[Run], frozenset[str]]


@frozen
class Example:
    """A scene, and the moves that are made on it."""

    scenario: Scenario
    moves: tuple[Move, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Faults, attempts, switches of client, units, moves: smaller is what is less in the first
        in which two differ."""
        decisions = [move.decision for move in self.moves]
        units = sum(move.request.requested_units for move in self.moves if move.request)
        return (
            sum(decision.is_fault for decision in decisions),
            sum(decision.move == START for decision in decisions),
            sum(a.client != b.client for a, b in pairwise(decisions)),
            units + sum(self.scenario.capacities.values()),
            len(decisions),
        )


@define
class Shrinking:
    """Runs ever smaller examples until so many seconds are over.

    ``judge`` takes a finished run down and tells the rules that it breaks; one of ``rules`` must be
    among them.
    """

    stage: Stage
    judge: Judge
    rules: frozenset[str]
    seconds: float = 10.0
    runs: int = field(default=0, init=False)
    _end: float = field(
        default=Factory(lambda self: time.monotonic() + self.seconds, takes_self=True), init=False
    )

    def smallest(self, example: Example) -> Example:
        """The smallest that was found; the example itself if it does not come about again."""
        for smaller in (without_faults, without_attempts, fewer_switches, fewer_units):
            example = self._descend(example, smaller)

        def fails(moves: Sequence[Move]) -> Sequence[Move] | None:
            made = self._made(evolve(example, moves=tuple(moves)))
            return made.moves if made is not None else None

        return evolve(example, moves=tuple(leave_out(example.moves, fails, self._enough)))

    def _descend(
        self, example: Example, smaller: Callable[[Example], Iterator[Example]]
    ) -> Example:
        """As long as one of the smaller ones fails as well, go on from that."""
        while True:
            for other in smaller(example):
                if self._enough():
                    return example
                made = self._made(other)
                if made is not None and made.size < example.size:
                    example = made
                    break
            else:
                return example

    def _made(self, example: Example) -> Example | None:
        """The moves of it that could be made, if they broke a rule."""
        run, made = self.run(example)
        return evolve(example, moves=tuple(made)) if self.judge(run) & self.rules else None

    def run(self, example: Example) -> tuple[Run, Sequence[Move]]:
        """Make those of its moves that can be made, and bring everything to an end."""
        self.runs += 1
        run = Run(self.stage, idle(example.scenario))
        made = act(run, example.moves)
        aftermath(run)
        run.finish()
        return run, made

    def _enough(self) -> bool:
        return time.monotonic() > self._end


def without_faults(example: Example) -> Iterator[Example]:
    """Without any, and without each."""
    faults = [number for number, move in enumerate(example.moves) if move.decision.is_fault]
    if len(faults) > 1:
        yield _without(example, set(faults))
    for number in faults:
        yield _without(example, {number})


def without_attempts(example: Example) -> Iterator[Example]:
    """Without each of them, the last first."""
    for number, move in reversed(list(enumerate(example.moves))):
        if move.decision.move == START:
            yield _without(example, set(_attempt(example.moves, number)))


def fewer_switches(example: Example) -> Iterator[Example]:
    """What one client does in two pieces is done in one, earlier or later."""
    pieces = [list(piece) for _, piece in groupby(example.moves, lambda m: m.decision.client)]
    for later, piece in enumerate(pieces):
        client = piece[0].decision.client
        earlier = [n for n in range(later) if pieces[n][0].decision.client == client]
        if not earlier:
            continue
        first, between = earlier[-1], pieces[earlier[-1] + 1 : later]
        before, after = pieces[:first], pieces[later + 1 :]
        for order in ([pieces[first], piece, *between], [*between, pieces[first], piece]):
            moves = tuple(chain.from_iterable([*before, *order, *after]))
            yield evolve(example, moves=moves)


def fewer_units(example: Example) -> Iterator[Example]:
    """Less is asked for, of less that there is."""
    asked = {m.request for m in example.moves if m.request is not None}
    for request in sorted(asked, key=str):
        for spare in (request.requested_units - 1, 0):
            if request.requested_units > 1:
                yield _with_units(example, request, spare)
    for resource, capacity in example.scenario.capacities.items():
        if capacity > 0:
            yield _with_capacity(example, resource, capacity - 1)


def _with_units(example: Example, request: Request, spare: int) -> Example:
    less = evolve(request, requested_units=1)
    moves = tuple(evolve(m, request=less) if m.request == request else m for m in example.moves)
    capacity = example.scenario.capacities[request.resource_id]
    smaller = _with_capacity(example, request.resource_id, max(0, capacity - spare))
    return evolve(smaller, moves=moves)


def _with_capacity(example: Example, resource: str, capacity: int) -> Example:
    capacities = {**example.scenario.capacities, resource: capacity}
    return evolve(example, scenario=evolve(example.scenario, capacities=capacities))


def _without(example: Example, numbers: set[int]) -> Example:
    kept = (move for number, move in enumerate(example.moves) if number not in numbers)
    return evolve(example, moves=tuple(kept))


def _attempt(moves: Sequence[Move], start: int) -> Iterator[int]:
    """The numbers of the moves of the attempt that begins there."""
    client = moves[start].decision.client
    yield start
    for number in range(start + 1, len(moves)):
        if moves[number].decision.client == client:
            if moves[number].decision.move == START:
                return
            yield number
