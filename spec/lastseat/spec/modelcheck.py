"""Search a life exhaustively in a small scope, and report what held, what happened, what broke.

``search`` answers for one life in one scope. Properties that must *always* hold are asked of every
transition, and of every dead end whether somebody hangs; what must *sometimes* happen has to be met
somewhere, or the search looked in the wrong place and fails. A violation comes with a path to it,
in words, than which none is shorter.
"""

from __future__ import annotations

import time
from collections import Counter

from attrs import define, field, frozen

from lastseat.spec.explorer import Reduced, State, Tables, Unreduced, Violated
from lastseat.spec.life import ABSTRACT, Life
from lastseat.spec.properties import ALWAYS, BEYOND, NOBODY_HANGS, SOMETIMES, Edge, Sometimes
from lastseat.spec.traces import Automaton, Happening
from lastseat.spec.world import Claim, Ledger, Move, Shared, World


@frozen
class Scope:
    """What is searched: which resources and claims there are, and how much may go wrong."""

    claims: tuple[Claim, ...]
    capacities: tuple[int, ...]
    faults: int = 0
    crashes: int = 0
    repeats: int = 0

    @classmethod
    def of(
        cls, attempts: int, capacity: int, faults: int = 0, crashes: int = 0, repeats: int = 0
    ) -> Scope:
        """So many attempts for one unit each, all under their own ids, on one resource."""
        return cls((Claim(0, 1),) * attempts, (capacity,), faults, crashes, repeats)

    @property
    def world(self) -> World:
        """The world in which nothing has happened yet."""
        ledgers = tuple(Ledger(capacity) for capacity in self.capacities)
        return World(Shared(ledgers, self.faults, self.crashes, self.repeats), self.claims)

    @property
    def offers(self) -> frozenset[str]:
        """What the scope has of what a sometimes-property may need."""
        wanted = Counter[int]()
        for claim in self.claims:
            wanted[claim.resource] += claim.units
        words = {
            "fault": self.faults > 0,
            "crash": self.crashes > 0,
            "repeat": self.repeats > 0,
            "twins": any(claim.callers > 1 for claim in self.claims),
            "scarce": any(wanted[r] > capacity for r, capacity in enumerate(self.capacities)),
        }
        return frozenset(word for word, offered in words.items() if offered)

    def __str__(self) -> str:
        attempts = sum(claim.callers for claim in self.claims)
        units = sorted({claim.units for claim in self.claims})
        return ", ".join(
            [
                _count(attempts, "attempt") + f" under {_count(len(self.claims), 'id')}",
                f"for {' or '.join(map(str, units))} unit{'s' * (units != [1])}",
                "capacity " + " and ".join(map(str, self.capacities)),
                _count(self.faults, "fault"),
                *([_count(self.crashes, "crash", "es")] if self.crashes else []),
                _count(self.repeats, "repeat"),
            ]
        )


def _count(number: int, word: str, plural: str = "s") -> str:
    return f"{number} {word}{plural * (number != 1)}"


@frozen
class Violation:
    """A property that does not hold, and a shortest way to see it, sentence by sentence."""

    rule: str
    sentence: str
    path: tuple[str, ...]


@frozen
class Report:
    """What a search found. ``seconds`` is the time of the search that was asked for."""

    life: str
    scope: Scope
    reduced: bool
    states: int
    """Distinct states; of the reduced search up to the places of claims."""
    unreduced_states: int
    """With places told apart; where the search was reduced, as the sum of the orbits."""
    transitions: int
    depth: int
    """Steps to the farthest state."""
    seconds: float
    reached: tuple[str, ...]
    missed: tuple[str, ...]
    """Sometimes-properties that the scope offers and that never happened."""
    strayed: tuple[str, ...]
    """Those that happened although the life declares itself incapable of them."""
    violation: Violation | None

    @property
    def ok(self) -> bool:
        """Nothing was violated, and the search saw all that it should have."""
        return self.violation is None and not self.missed and not self.strayed

    @property
    def states_per_second(self) -> float:
        """The speed of the search that was asked for."""
        return self.states / max(self.seconds, 1e-9)

    def text(self, verbose: bool = False) -> str:
        """For a terminal; ``verbose`` lists each property."""
        return "\n".join(self._lines(verbose))

    def _lines(self, verbose: bool) -> list[str]:
        how = f" up to symmetry, {self.unreduced_states:,} without" if self.reduced else ""
        speed = f"{self.seconds:.2f} s ({self.states_per_second:,.0f} states/s)"
        lines = [
            f"{self.life}: {self.scope}",
            f"  {self.states:,} states{how}, {self.transitions:,} transitions, {speed}",
        ]
        if self.violation is not None:
            found = self.violation
            lines.append(f"  VIOLATED  {found.rule}: {found.sentence}")
            lines += [f"    {n}. {words}" for n, words in enumerate(found.path, start=1)]
            return lines
        if verbose:
            lines += [f"  always    {p.name}: {p.sentence}" for p in (*ALWAYS, NOBODY_HANGS)]
            lines += [f"  sometimes {name}" for name in self.reached]
        else:
            lines.append(
                f"  {len(ALWAYS) + 1} properties always held, {len(self.reached)} things happened"
            )
        lines += [f"  NEVER     {name}" for name in self.missed]
        lines += [f"  STRAYED   {name}" for name in self.strayed]
        return lines


@define
class _Watch:
    """Sees every transition: names the property that one violates, notes what happened."""

    reached: set[str] = field(factory=set)
    _open: list[Sometimes] = field(factory=lambda: list(SOMETIMES))

    def __call__(self, edge: Edge) -> str | None:
        for some in [some for some in self._open if some.happens(edge)]:
            self.reached.add(some.name)
            self._open.remove(some)
        return next((always.name for always in ALWAYS if not always.holds(edge)), None)


def search(scope: Scope, life: Life = ABSTRACT, reduced: bool = True) -> Report:
    """Search ``life`` in ``scope`` to its end, or to the first violation.

    Without ``reduced``, claims are told apart by their places; this search follows a reduced one,
    whose result it must confirm.

    Raises:
        RuntimeError: the two searches disagree, which is a bug of the search.
    """
    watch = _Watch()
    tables = Tables(life, watch)
    small = Reduced(tables, tables.canonical(scope.world))
    violation: Violation | None = None
    began = time.perf_counter()
    try:
        small.run()
    except Violated as violated:
        violation = _explain(violated, small, life, scope)
    seconds = time.perf_counter() - began
    states = orbits = small.states
    transitions = small.transitions
    if violation is None:
        orbits = small.unreduced_states()
        if not reduced:
            began = time.perf_counter()
            large = Unreduced(tables, len(scope.claims))
            large.run(scope.world)
            seconds = time.perf_counter() - began
            states, transitions = large.states, large.transitions
            if states != orbits:
                raise RuntimeError(f"{states} states, and {orbits} as the sum of the orbits")
    incapable = BEYOND.get(life.name, frozenset())
    due = {s.name for s in SOMETIMES if s.needs <= scope.offers} - incapable
    whole = violation is None
    return Report(
        life=life.name,
        scope=scope,
        reduced=reduced,
        states=states,
        unreduced_states=orbits,
        transitions=transitions,
        depth=len(small.levels) - 1,
        seconds=seconds,
        reached=tuple(s.name for s in SOMETIMES if s.name in watch.reached),
        missed=tuple(s.name for s in SOMETIMES if whole and s.name in due - watch.reached),
        strayed=tuple(s.name for s in SOMETIMES if s.name in incapable & watch.reached),
        violation=violation,
    )


def _explain(violated: Violated, found: Reduced, life: Life, scope: Scope) -> Violation:
    """The path to a violation, from states without places back to attempts with names."""
    sentences = {always.name: always.sentence for always in (*ALWAYS, NOBODY_HANGS)}
    automaton = Automaton(life, scope.world)
    node = 0
    path: list[str] = []
    for state in found.path(violated.state)[1:]:
        happening, node = next(
            (happening, after)
            for happening, after in automaton.after(node)
            if _canonical(automaton, after, found.tables) == state
        )
        path.append(_tell(happening, scope))
    edge = violated.edge
    if edge is not None:
        path.append(_tell(_last(automaton, node, edge, found.tables), scope))
    else:
        path.append("nothing more can happen, and not every attempt has emitted")
    return Violation(violated.rule, sentences[violated.rule], tuple(path))


def _last(automaton: Automaton, node: int, edge: Edge, tables: Tables) -> Happening:
    """The happening that is the violating transition."""
    shared = tables.shared(edge.shared_after)
    for happening, after in automaton.after(node):
        same = (happening.move, happening.answer) == (edge.move, edge.answer)
        same = same and edge.claim_after in automaton.claims(after)
        if same and _canonical(automaton, after, tables)[0] == shared:
            return happening
    raise RuntimeError("the violating transition cannot be told")


def _canonical(automaton: Automaton, node: int, tables: Tables) -> State:
    shared = automaton.tables.shareds[automaton.nodes[node][0]]
    return tables.canonical(World(shared, automaton.claims(node)))


def _tell(happening: Happening, scope: Scope) -> str:
    if happening.move is Move.INVOKE:
        claim = scope.claims[happening.claim]
        return f"{happening}: {claim.units} of r{claim.resource + 1}"
    return str(happening)
