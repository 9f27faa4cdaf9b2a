"""Runs of the model with every attempt under its own name: for telling, recording and comparing.

The search does not need names: a claim's attempts are known by their slots, and an attempt that is
gone frees its slot. Here each attempt of a claim has a number, in the order of invocation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from attrs import define, field, frozen

from lastseat.spec.explorer import Tables
from lastseat.spec.life import Life
from lastseat.spec.vocabulary import Answer
from lastseat.spec.world import INVOCATIONS, Claim, Commit, Move, Stage, World


@frozen
class Happening:
    """One transition, told with names. Claims count from 0, a claim's attempts from 1."""

    move: Move
    claim: int = -1
    """-1: the crash, which happens to all."""
    attempt: int = 0
    answer: Answer | None = None
    commit: Commit | None = None
    """What had become of the attempt's commit before."""
    struck: tuple[tuple[int, int], ...] = ()
    """Of the crash: claim and number of each attempt that had not emitted."""

    def __str__(self) -> str:
        if self.claim < 0:
            return self.move.value
        answer = "" if self.answer is None else f" {self.answer}"
        return f"attempt {self.attempt} of b{self.claim + 1} {self.move.value}{answer}"


T = TypeVar("T")

Cast = tuple[tuple[int, ...], ...]
"""For each claim, the numbers of its attempts, slot by slot; the last entry is the next number."""

Node = tuple[int, tuple[int, ...], Cast]
"""A world as numbers (the shared part, the claims in their places), and who is who in it."""


@define
class Automaton:
    """A life in one scope, node by node; what follows from a node is computed once."""

    life: Life
    world: World
    tables: Tables = field(init=False)
    nodes: list[Node] = field(factory=list)
    _numbers: dict[Node, int] = field(factory=dict)
    _after: dict[int, tuple[tuple[Happening, int], ...]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.tables = Tables(self.life, lambda _: None)
        claims = tuple(map(self.tables.claim, self.world.claims))
        cast = tuple((1,) for _ in claims)
        self._number((self.tables.shared(self.world.shared), claims, cast))

    def _number(self, node: Node) -> int:
        number = self._numbers.setdefault(node, len(self.nodes))
        if number == len(self.nodes):
            self.nodes.append(node)
        return number

    def after(self, number: int) -> tuple[tuple[Happening, int], ...]:
        """What can happen at a node, and the node that it leads to. Node 0 is the start."""
        known = self._after.get(number)
        if known is None:
            node = self.nodes[number]
            known = self._after[number] = tuple(
                (happening, self._number(after))
                for happening, after in (*self._moves(node), *self._crash(node))
            )
        return known

    def claims(self, number: int) -> tuple[Claim, ...]:
        """The claims at a node, in their places."""
        return tuple(self.tables.claims[claim] for claim in self.nodes[number][1])

    def _moves(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        shared, claims, cast = node
        for place, number in enumerate(claims):
            claim = self.tables.claims[number]
            for step in self.life.moves(self.tables.shareds[shared], claim):
                names = cast[place]
                commit = None if step.move in INVOCATIONS else claim.live[step.slot].commit
                happening = Happening(step.move, place, names[step.slot], step.answer, commit)
                if step.move in INVOCATIONS:
                    names = (*names, names[-1] + 1)
                elif len(step.claim.live) < len(claim.live):
                    names = names[: step.slot] + names[step.slot + 1 :]
                yield (
                    happening,
                    (
                        self.tables.shared(step.shared),
                        _put(claims, place, self.tables.claim(step.claim)),
                        _put(cast, place, names),
                    ),
                )

    def _crash(self, node: Node) -> Iterator[tuple[Happening, Node]]:
        shared, claims, cast = node
        after = self.life.crash(self.tables.shareds[shared])
        if after is None:
            return
        left = tuple(self.tables.claim(self.life.crashed(self.tables.claims[c])) for c in claims)
        struck = tuple(
            (place, cast[place][slot])
            for place, number in enumerate(claims)
            for slot, attempt in enumerate(self.tables.claims[number].live)
            if attempt.stage not in (Stage.GONE, Stage.BROKEN)
        )
        yield Happening(Move.CRASH, struck=struck), (self.tables.shared(after), left, cast)


def _put(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    return (*items[:place], item, *items[place + 1 :])
