"""Is one life a refinement of another: can everything that is seen of it be seen of the other?

Seen are invocations, effects and emissions, with the attempt they belong to. The question is
answered exactly, for a scope: beside each node of the one life go all nodes at which the other may
be after the same was seen. Where none is left, something was seen that the other cannot show.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field, frozen

from lastseat.spec.life import ABSTRACT, Life
from lastseat.spec.modelcheck import Scope
from lastseat.spec.traces import Automaton, Happening
from lastseat.spec.vocabulary import Answer
from lastseat.spec.world import EFFECTS, INVOCATIONS, Move


@frozen
class Seen:
    """What an observer outside sees: an invocation, an effect or an emission, and of whom."""

    what: str
    claim: int
    attempt: int
    answer: Answer | None = None

    def __str__(self) -> str:
        answer = "" if self.answer is None else f" {self.answer}"
        return f"attempt {self.attempt} of b{self.claim + 1}: {self.what}{answer}"


def seen(happening: Happening) -> Seen | None:
    """What is seen of a happening; None: it is internal, or the environment's own affair."""
    who = happening.claim, happening.attempt
    if happening.move in INVOCATIONS:
        return Seen("invocation", *who)
    if happening.move in EFFECTS:
        return Seen("effect", *who)
    if happening.move is Move.EMIT:
        return Seen("emission", *who, happening.answer)
    return None


@frozen
class Inclusion:
    """Whether ``life`` refines ``within`` in a scope, and how much was compared."""

    life: str
    within: str
    scope: Scope
    compared: int
    """Nodes of the one life, each with the set of nodes of the other that go with it."""
    witness: tuple[Seen, ...] | None
    """What is seen in a shortest run of the one that the other cannot show."""

    @property
    def ok(self) -> bool:
        """Every behaviour of the one is a behaviour of the other."""
        return self.witness is None

    def text(self) -> str:
        """For a terminal."""
        if self.witness is None:
            how = f"refines the {self.within} life ({self.compared:,} pairs compared)"
            return f"{self.life}: {self.scope}\n  {how}"
        lines = [f"{self.life}: {self.scope}", f"  DOES NOT REFINE the {self.within} life:"]
        return "\n".join([*lines, *(f"    {n}. {s}" for n, s in enumerate(self.witness, start=1))])


@define
class _Subsets:
    """The other life made deterministic: sets of its nodes, closed under what is not seen."""

    automaton: Automaton
    sets: list[frozenset[int]] = field(factory=list)
    _numbers: dict[frozenset[int], int] = field(factory=dict)
    _after: dict[int, dict[Seen, int]] = field(factory=dict)

    def number(self, nodes: Iterable[int]) -> int:
        """The number of the set of these nodes and of all that follow unseen."""
        closed = set(nodes)
        todo = list(closed)
        while todo:
            for happening, after in self.automaton.after(todo.pop()):
                if after not in closed and seen(happening) is None:
                    closed.add(after)
                    todo.append(after)
        key = frozenset(closed)
        number = self._numbers.setdefault(key, len(self.sets))
        if number == len(self.sets):
            self.sets.append(key)
        return number

    def after(self, number: int, what: Seen) -> int | None:
        """The set after something was seen; None: it cannot be seen now."""
        if number not in self._after:
            grouped: dict[Seen, set[int]] = {}
            for node in self.sets[number]:
                for happening, after in self.automaton.after(node):
                    label = seen(happening)
                    if label is not None:
                        grouped.setdefault(label, set()).add(after)
            self._after[number] = {s: self.number(nodes) for s, nodes in grouped.items()}
        return self._after[number].get(what)


def refines(life: Life, scope: Scope, within: Life = ABSTRACT) -> Inclusion:
    """Compare all that can be seen of ``life`` in ``scope`` with what can be seen of ``within``."""
    automaton = Automaton(life, scope.world)
    subsets = _Subsets(Automaton(within, scope.world))
    start = (0, subsets.number([0]))
    came_from: dict[tuple[int, int], tuple[tuple[int, int], Seen | None] | None] = {start: None}
    level = [start]
    while level:
        found = []
        for here in level:
            for happening, node in automaton.after(here[0]):
                label = seen(happening)
                subset = here[1] if label is None else subsets.after(here[1], label)
                if subset is None:
                    witness = (*_told(came_from, here), *filter(None, [label]))
                    return Inclusion(life.name, within.name, scope, len(came_from), witness)
                after = (node, subset)
                if after not in came_from:
                    came_from[after] = (here, label)
                    found.append(after)
        level = found
    return Inclusion(life.name, within.name, scope, len(came_from), None)


def _told(
    came_from: dict[tuple[int, int], tuple[tuple[int, int], Seen | None] | None],
    here: tuple[int, int],
) -> tuple[Seen, ...]:
    """What was seen on the way to ``here``."""
    labels = []
    step = came_from[here]
    while step is not None:
        here, label = step
        if label is not None:
            labels.append(label)
        step = came_from[here]
    return tuple(reversed(labels))
