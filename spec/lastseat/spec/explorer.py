"""Exhaustive search, fast: the engine under ``modelcheck``.

The text of the life is run once for each pair of a shared part and a claim, since no move looks at
more. Both are interned to small integers, and what follows from a pair is remembered. What remains
per state is arithmetic:

* With symmetry a state is ``(shared, *sorted(claims))``. A claim's place means nothing, so all
  states that differ by places only are one, and its *orbit* says how many they are.
* Without, a state is one integer, its claims packed side by side, among those that have the same
  shared part. All of these that have the same claim at a place move together: the transition adds
  the same number to each.

Breadth first, so that what is found first is reached by a shortest path.
"""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import factorial, prod

from attrs import define, field

from lastseat.spec.life import Life
from lastseat.spec.properties import Edge
from lastseat.spec.world import Claim, Move, Shared, World

State = tuple[int, ...]
"""The number of the shared part, then those of the claims in ascending order."""

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
    pairs: dict[tuple[int, int], tuple[tuple[int, int], ...]] = field(factory=dict)
    """What one claim's moves lead to."""
    crashes: dict[tuple[int, int], tuple[int, int] | None] = field(factory=dict)
    """What the crash makes of a pair; None: it cannot happen now."""
    wrong: dict[tuple[int, int], tuple[str, Edge]] = field(factory=dict)
    """Pairs with a transition that violates something."""
    waiting: set[tuple[int, int]] = field(factory=set)
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

    def after(self, pair: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """The pairs to which the moves of this pair's claim lead; watched when first asked for."""
        known = self.pairs.get(pair)
        if known is None:
            known = self.pairs[pair] = tuple(self._follow(pair))
            if not known and not finished(self.claims[pair[1]]):
                self.waiting.add(pair)
        return known

    def _follow(self, pair: tuple[int, int]) -> Iterator[tuple[int, int]]:
        shared, claim = self.shareds[pair[0]], self.claims[pair[1]]
        for step in self.life.moves(shared, claim):
            after = step.shared, step.claim
            self._see(
                pair, Edge(self.life, shared, claim, step.move, step.slot, step.answer, *after)
            )
            yield self.shared(step.shared), self.claim(step.claim)

    def after_crash(self, pair: tuple[int, int]) -> tuple[int, int] | None:
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

    def _see(self, pair: tuple[int, int], edge: Edge) -> None:
        rule = self.watch(edge)
        if rule is not None:
            self.wrong.setdefault(pair, (rule, edge))

    def check(self, state: State) -> None:
        """Raise what was found wrong with the transitions of ``state``.

        Raises:
            Violated: a transition of this state violates a property.
        """
        for claim in state[1:]:
            found = self.wrong.get((state[0], claim))
            if found is not None:
                raise Violated(found[0], state, found[1])

    def hangs(self, state: State) -> bool:
        """Whether somebody is left waiting in a state in which no claim can move."""
        pairs = [(state[0], claim) for claim in state[1:]]
        return not self.waiting.isdisjoint(pairs) and not any(map(self.after, pairs))


def finished(claim: Claim) -> bool:
    """Whether all its attempts have emitted and are gone for good."""
    return claim.invoked == claim.callers and not claim.live


@define
class Reduced:
    """The search with symmetry: every state, with the one from which it was first reached."""

    tables: Tables
    start: State
    came_from: dict[State, State] = field(factory=dict)
    transitions: int = 0
    depth: int = 0

    def run(self) -> None:
        """Search to the end.

        Raises:
            Violated: at the first violation, in a state that is reached in the fewest steps.
        """
        with no_garbage_collection():
            self.came_from[self.start] = self.start
            level = [self.start]
            while level:
                level = self._expand(level)
                self.depth += bool(level)

    def _expand(self, level: list[State]) -> list[State]:
        came_from, tables = self.came_from, self.tables
        found: list[State] = []
        for state in level:
            successors = self.successors(state)
            if tables.wrong:
                tables.check(state)
            if not successors and tables.hangs(state):
                raise Violated("nobody hangs", state, None)
            self.transitions += len(successors)
            for after in successors:
                if after not in came_from:
                    came_from[after] = state
                    found.append(after)
        return found

    def successors(self, state: State) -> list[State]:
        """The states after ``state``, one for each different move."""
        after, pairs = self.tables.after, self.tables.pairs
        shared, *claims = state
        successors: list[State] = []
        last = -1
        for index, claim in enumerate(claims):
            if claim == last:
                continue  # the same claim at another place: the same successors
            last = claim
            pair = (shared, claim)
            for next_shared, next_claim in pairs.get(pair) or after(pair):
                moved = claims.copy()
                moved[index] = next_claim
                moved.sort()
                successors.append((next_shared, *moved))
        if self.tables.shareds[shared].crashes and (crash := self._crash(state)) is not None:
            successors.append(crash)
        return successors

    def _crash(self, state: State) -> State | None:
        results = [self.tables.after_crash((state[0], claim)) for claim in state[1:]]
        struck = [result for result in results if result is not None]
        if not struck:
            return None
        return (struck[0][0], *sorted(claim for _, claim in struck))

    def unreduced_states(self) -> int:
        """How many states there are when places are told apart: the sum of the orbits.

        What a claim asks for, and for how many callers, never changes. So only claims that began
        alike can stand in each other's places.
        """
        claims = self.tables.claims
        kinds = Counter(_kind(claims[number]) for number in self.start[1:])
        placings = prod(factorial(times) for times in kinds.values())
        return sum(_orbit(state, placings) for state in self.came_from)

    def path(self, state: State) -> list[State]:
        """The states on the way to ``state``, from the start; no way is shorter."""
        path = [state]
        while path[-1] != self.start:
            path.append(self.came_from[path[-1]])
        return path[::-1]


def _orbit(state: State, placings: int) -> int:
    """In how many ways the claims can be placed, of which some are the same (and side by side)."""
    run = 1
    for one, other in pairwise(state[1:]):
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
    seen: dict[int, set[int]] = field(factory=lambda: defaultdict(set))
    """For each shared part the states that have it, their claims packed into one integer each.

    Many sets of thousands instead of one of millions: what is looked at together stays near.
    """
    transitions: int = 0
    _mask: int = field(init=False)
    _shifts: tuple[int, ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        bits = len(self.tables.claims).bit_length()
        self._mask = (1 << bits) - 1
        self._shifts = tuple(bits * place for place in range(self.places))

    @property
    def states(self) -> int:
        """How many states were reached."""
        return sum(map(len, self.seen.values()))

    def worlds(self) -> Iterator[World]:
        """Every world that was reached."""
        for shared, states in self.seen.items():
            for state in states:
                claims = (self.tables.claims[state >> s & self._mask] for s in self._shifts)
                yield World(self.tables.shareds[shared], tuple(claims))

    def run(self, start: World) -> None:
        """Search to the end.

        Raises:
            RuntimeError: the two searches have not met the same pairs.
        """
        tables = self.tables
        met = len(tables.pairs), len(tables.shareds), len(tables.claims)
        shared, claims = tables.shared(start.shared), map(tables.claim, start.claims)
        state = sum(claim << shift for claim, shift in zip(claims, self._shifts, strict=True))
        with no_garbage_collection():
            self.seen[shared].add(state)
            level = {shared: {state}}
            while level:
                level = self._expand(level)
        if met != (len(tables.pairs), len(tables.shareds), len(tables.claims)):
            raise RuntimeError("the reduced search has missed a pair")

    def _expand(self, level: dict[int, set[int]]) -> dict[int, set[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for shared, states in level.items():
            for shift in self._shifts:
                self._move(shared, states, shift, found)
            if self.tables.shareds[shared].crashes:
                self._crash(shared, states, found)
        level = {}
        for shared, states in found.items():
            known = self.seen[shared]
            fresh = states - known  # not ``-=``, which would walk through all that is known
            if fresh:
                known |= fresh
                level[shared] = fresh
        return level

    def _move(self, shared: int, states: set[int], shift: int, found: dict[int, set[int]]) -> None:
        """Let the claims at one place move: all states in which they are the same, together."""
        mask = self._mask
        alike: dict[int, list[int]] = defaultdict(list)
        for state in states:
            alike[state >> shift & mask].append(state)
        for claim, group in alike.items():
            for next_shared, next_claim in self.tables.after((shared, claim)):
                change = next_claim - claim << shift
                found[next_shared].update([state + change for state in group])
                self.transitions += len(group)

    def _crash(self, shared: int, states: set[int], found: dict[int, set[int]]) -> None:
        """Let the server crash, in all places at once."""
        mask, shifts = self._mask, self._shifts
        claims = {state >> shift & mask for state in states for shift in shifts}
        after = {claim: self.tables.after_crash((shared, claim)) for claim in claims}
        left = {claim: struck[1] for claim, struck in after.items() if struck is not None}
        if left:
            next_shared = next(struck[0] for struck in after.values() if struck is not None)
            found[next_shared].update(
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
