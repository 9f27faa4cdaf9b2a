"""Exhaustive search, fast: the engine under ``modelcheck``.

The text of the life is run once for each pair of a shared part and a claim, since no move looks at
more. Both are interned to small integers, and what follows from a pair is remembered. What remains
per state is arithmetic:

* With symmetry a state is ``(shared, *sorted(claims))``. A claim's place means nothing, so all
  states that differ by places only are one, and its *orbit* says how many they are.
* Without, a state is one integer, its claims packed side by side, among those that have the same
  shared part and the same first claim. All of these that have the same claim at a place move
  together: the transition adds the same number to each.

Breadth first, so that what is found first is reached by a shortest path.
"""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import factorial, prod
from typing import TypeVar

from attrs import define, field

from lastseat.spec.life import Life
from lastseat.spec.properties import Edge
from lastseat.spec.world import Claim, Move, Shared, World

State = tuple[int, ...]
"""The number of the shared part, then those of the claims in ascending order."""

Pair = tuple[int, int]
"""The number of a shared part, and that of a claim."""

Claims = tuple[int, ...]
"""The numbers of the claims in ascending order."""

Level = dict[int, set[Claims]]
"""States, by the numbers of their shared parts."""

K = TypeVar("K")
T = TypeVar("T")

Watch = Callable[[Edge], str | None]
"""Sees each transition of each pair once; answers with the property that it violates, if any."""


class Violated(Exception):
    """A transition that must not be was met first from ``state``, by ``edge``; ``rule`` says why.

    Without an edge the state itself is wrong: nothing more can happen, and not all have emitted.
    """

    def __init__(self, rule: str, state: State, edge: Edge | None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.state = state
        self.edge = edge


@define
class Tables:
    """Numbers for shared parts and claims, and what follows from each pair of them."""

    life: Life
    watch: Watch
    shareds: list[Shared] = field(factory=list)
    claims: list[Claim] = field(factory=list)
    pairs: dict[Pair, tuple[Pair, ...]] = field(factory=dict)
    """What one claim's moves lead to."""
    crashes: dict[Pair, Pair | None] = field(factory=dict)
    """What the crash makes of a pair; None: it cannot happen now."""
    wrong: dict[Pair, tuple[str, Edge]] = field(factory=dict)
    """Pairs with a transition that violates something."""
    waiting: set[Pair] = field(factory=set)
    """Pairs in which a claim is not finished and cannot move: it needs the others."""
    _shared_numbers: dict[Shared, int] = field(factory=dict)
    _claim_numbers: dict[Claim, int] = field(factory=dict)

    def shared(self, shared: Shared) -> int:
        """The number of a shared part."""
        number = self._shared_numbers.setdefault(shared, len(self.shareds))
        if number == len(self.shareds):
            self.shareds.append(shared)
        return number

    def claim(self, claim: Claim) -> int:
        """The number of a claim."""
        number = self._claim_numbers.setdefault(claim, len(self.claims))
        if number == len(self.claims):
            self.claims.append(claim)
        return number

    def canonical(self, world: World) -> State:
        """The state of a world, whatever the places of its claims."""
        return (self.shared(world.shared), *sorted(map(self.claim, world.claims)))

    def after(self, pair: Pair) -> tuple[Pair, ...]:
        """The pairs to which the moves of this pair's claim lead; watched when first asked for."""
        known = self.pairs.get(pair)
        if known is None:
            known = self.pairs[pair] = tuple(self._follow(pair))
            if not known and not finished(self.claims[pair[1]]):
                self.waiting.add(pair)
        return known

    def _follow(self, pair: Pair) -> Iterator[Pair]:
        shared, claim = self.shareds[pair[0]], self.claims[pair[1]]
        for step in self.life.moves(shared, claim):
            after = step.shared, step.claim
            self._see(
                pair, Edge(self.life, shared, claim, step.move, step.slot, step.answer, *after)
            )
            yield self.shared(step.shared), self.claim(step.claim)

    def after_crash(self, pair: Pair) -> Pair | None:
        """The shared part and the claim as the crash leaves them; None: it cannot happen."""
        if pair not in self.crashes:
            shared, claim = self.shareds[pair[0]], self.claims[pair[1]]
            after = self.life.crash(shared)
            if after is None:
                self.crashes[pair] = None
            else:
                left = self.life.crashed(claim)
                self._see(pair, Edge(self.life, shared, claim, Move.CRASH, 0, None, after, left))
                self.crashes[pair] = self.shared(after), self.claim(left)
        return self.crashes[pair]

    def _see(self, pair: Pair, edge: Edge) -> None:
        rule = self.watch(edge)
        if rule is not None:
            self.wrong.setdefault(pair, (rule, edge))

    def check(self, state: State) -> None:
        """Raise what was found wrong with the transitions of ``state``.

        Raises:
            Violated: a transition of this state violates a property, or there is none, and not all
                have emitted.
        """
        for claim in state[1:]:
            found = self.wrong.get((state[0], claim))
            if found is not None:
                raise Violated(found[0], state, found[1])
        if self._hangs(state):
            raise Violated("nobody hangs", state, None)

    def _hangs(self, state: State) -> bool:
        """Whether somebody is left waiting in a state in which no claim can move."""
        pairs = [(state[0], claim) for claim in state[1:]]
        return not self.waiting.isdisjoint(pairs) and not any(map(self.after, pairs))


def finished(claim: Claim) -> bool:
    """Whether all its attempts have emitted and are gone for good."""
    return claim.invoked == claim.callers and not claim.live


@define
class Reduced:
    """The search with symmetry: every state, level by level as it was first reached."""

    tables: Tables
    start: State
    levels: list[Level] = field(factory=list)
    """The states that are reached in so many steps, and not in fewer."""
    transitions: int = 0
    _seen: Level = field(factory=lambda: defaultdict(set))

    @property
    def states(self) -> int:
        """How many states were reached."""
        return sum(map(len, self._seen.values()))

    def run(self) -> None:
        """Search to the end.

        Raises:
            Violated: at the first violation, in a state that is reached in the fewest steps.
        """
        with no_garbage_collection():
            level: Level = {self.start[0]: {self.start[1:]}}
            self._seen[self.start[0]] |= level[self.start[0]]
            while level:
                self.levels.append(level)
                level = fresh(self._follow(level), self._seen)

    def _follow(self, level: Level) -> Level:
        """The states after those of ``level``."""
        found: Level = defaultdict(set)
        for shared, states in level.items():
            self._move(shared, states, found)
            if self.tables.shareds[shared].crashes:
                self._crash(shared, states, found)
            if self.tables.wrong or self.tables.waiting:
                for claims in sorted(states):
                    self.tables.check((shared, *claims))
        return found

    def _move(self, shared: int, states: set[Claims], found: Level) -> None:
        """Let each claim move: all states that have it, together."""
        beside: dict[int, list[Claims]] = defaultdict(list)
        """For each claim: the others, of each state that has it. Its place means nothing."""
        for claims in states:
            last = -1
            for index, claim in enumerate(claims):
                if claim != last:
                    beside[claim].append(claims[:index] + claims[index + 1 :])
                    last = claim
        for claim, others in beside.items():
            after = self.tables.after((shared, claim))
            moved = {next_claim: _joined(others, next_claim) for _, next_claim in after}
            for next_shared, next_claim in after:
                found[next_shared].update(moved[next_claim])
            self.transitions += len(others) * len(after)

    def _crash(self, shared: int, states: set[Claims], found: Level) -> None:
        """Let the server crash: it strikes all claims alike."""
        for claims in states:
            results = [self.tables.after_crash((shared, claim)) for claim in claims]
            struck = [result for result in results if result is not None]
            if struck:
                found[struck[0][0]].add(tuple(sorted(claim for _, claim in struck)))
                self.transitions += 1

    def unreduced_states(self) -> int:
        """How many states there are when places are told apart: the sum of the orbits.

        What a claim asks for, and for how many callers, never changes. So only claims that began
        alike can stand in each other's places.
        """
        claims = self.tables.claims
        kinds = Counter(_kind(claims[number]) for number in self.start[1:])
        placings = prod(factorial(times) for times in kinds.values())
        return sum(_orbit(state, placings) for states in self._seen.values() for state in states)

    def path(self, state: State) -> list[State]:
        """The states on the way to ``state`` of the last level, from the start; none is shorter."""
        path = [state]
        for level in reversed(self.levels[:-1]):
            path.append(self._before(path[-1], level))
        return path[::-1]

    def _before(self, state: State, level: Level) -> State:
        for shared, states in sorted(level.items()):
            for claims in sorted(states):
                if state[1:] in self._follow({shared: {claims}}).get(state[0], ()):
                    return shared, *claims
        raise RuntimeError("nothing leads to a state that was reached")


def fresh(found: dict[K, set[T]], seen: dict[K, set[T]]) -> dict[K, set[T]]:
    """What of ``found`` has not been ``seen``; from now on it has."""
    level = {}
    for key, states in found.items():
        new = states - seen[key]  # not ``-=``, which would walk through all that was seen
        if new:
            seen[key] |= new
            level[key] = new
    return level


def _joined(others: list[Claims], claim: int) -> list[Claims]:
    """``claim`` among these others."""
    states = []
    for rest in others:
        claims = [*rest, claim]
        claims.sort()  # in place, which is faster than ``sorted``
        states.append(tuple(claims))
    return states


def _orbit(claims: Claims, placings: int) -> int:
    """In how many ways the claims can be placed, of which some are the same (and side by side)."""
    run = 1
    for one, other in pairwise(claims):
        run = run + 1 if one == other else 1
        placings //= run
    return placings


def _kind(claim: Claim) -> tuple[int, int, int]:
    return claim.resource, claim.units, claim.callers


@define
class Unreduced:
    """The search without symmetry. It runs on the tables of a finished reduced search.

    These tell how many bits a number needs, and have watched every pair; dead ends have been looked
    at too. A pair that the reduced search has not met would be a bug in it, and is an error.
    """

    tables: Tables
    places: int
    seen: dict[Pair, set[int]] = field(factory=lambda: defaultdict(set))
    """For each shared part and claim at the first place, the states that have both: the claims at
    the other places, packed into one integer each.

    Many sets of thousands instead of one of millions: what is looked at together stays near. And
    integers that stay below 2**30 are handled faster than others.
    """
    transitions: int = 0
    _mask: int = field(init=False)
    _shifts: tuple[int, ...] = field(init=False)
    """Of the places behind the first."""

    def __attrs_post_init__(self) -> None:
        bits = len(self.tables.claims).bit_length()
        self._mask = (1 << bits) - 1
        self._shifts = tuple(bits * place for place in range(self.places - 1))

    @property
    def states(self) -> int:
        """How many states were reached."""
        return sum(map(len, self.seen.values()))

    def worlds(self) -> Iterator[World]:
        """Every world that was reached."""
        claims = self.tables.claims
        for (shared, first), states in self.seen.items():
            for state in states:
                others = (claims[state >> shift & self._mask] for shift in self._shifts)
                yield World(self.tables.shareds[shared], (claims[first], *others))

    def run(self, start: World) -> None:
        """Search to the end.

        Raises:
            RuntimeError: the two searches have not met the same pairs.
        """
        tables = self.tables
        met = len(tables.pairs), len(tables.shareds), len(tables.claims)
        first, *others = map(tables.claim, start.claims)
        state = sum(claim << shift for claim, shift in zip(others, self._shifts, strict=True))
        pair = tables.shared(start.shared), first
        with no_garbage_collection():
            self.seen[pair].add(state)
            level = {pair: {state}}
            while level:
                level = fresh(self._follow(level), self.seen)
        if met != (len(tables.pairs), len(tables.shareds), len(tables.claims)):
            raise RuntimeError("the reduced search has missed a pair")

    def _follow(self, level: dict[Pair, set[int]]) -> dict[Pair, set[int]]:
        found: dict[Pair, set[int]] = defaultdict(set)
        for pair, states in level.items():
            for after in self.tables.after(pair):
                found[after] |= states
                self.transitions += len(states)
            for shift in self._shifts:
                self._move(pair, states, shift, found)
            if self.tables.shareds[pair[0]].crashes:
                self._crash(pair, states, found)
        return found

    def _move(self, pair: Pair, states: set[int], shift: int, found: dict[Pair, set[int]]) -> None:
        """Let the claims at one place move: all states in which they are the same, together."""
        (shared, first), mask = pair, self._mask
        alike: dict[int, list[int]] = defaultdict(list)
        for state in states:
            alike[state >> shift & mask].append(state)
        for claim, group in alike.items():
            for next_shared, next_claim in self.tables.after((shared, claim)):
                change = next_claim - claim << shift
                found[next_shared, first].update([state + change for state in group])
                self.transitions += len(group)

    def _crash(self, pair: Pair, states: set[int], found: dict[Pair, set[int]]) -> None:
        """Let the server crash, in all places at once."""
        (shared, first), mask, shifts = pair, self._mask, self._shifts
        claims = {state >> shift & mask for state in states for shift in shifts} | {first}
        after = {claim: self.tables.after_crash((shared, claim)) for claim in claims}
        left = {claim: struck[1] for claim, struck in after.items() if struck is not None}
        if left:
            next_shared = next(struck[0] for struck in after.values() if struck is not None)
            found[next_shared, left[first]].update(
                [sum([left[s >> shift & mask] << shift for shift in shifts]) for s in states]
            )
            self.transitions += len(states)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Millions of small objects without a cycle: collecting finds nothing and takes its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
