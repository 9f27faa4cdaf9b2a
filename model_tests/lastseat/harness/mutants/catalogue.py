"""The wrong implementations by name, and the right ones beside them."""

from __future__ import annotations

from attrs import frozen

from lastseat.harness.implementations.client import Implementation

_HERE = __package__


@frozen
class Mutant:
    """``breaks`` names the rules of which at least one must be among those it is convicted by."""

    name: str
    factory: str
    breaks: frozenset[str]

    @property
    def implementation(self) -> Implementation:
        return Implementation.python(f"{_HERE}.{self.factory}", self.name)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("X01", "rows:sum_then_insert", frozenset({"capacity"})),
    Mutant("X03", "rows:lock_and_sum_at_once", frozenset({"capacity"})),
    Mutant("X25", "counted:unchecked_version", frozenset({"capacity", "counter"})),
    Mutant("X39", "raw:Swallowing", frozenset({"BOOKED", "no swallowed error"})),
    Mutant("X44", "raw:Repeating", frozenset({"one id", "no hidden retry"})),
    Mutant("X48", "rows:retry_inside", frozenset({"no hidden retry"})),
)

CONFORMING: tuple[Mutant, ...] = (
    Mutant("guarded-update", "counted:guarded_update", frozenset()),
    Mutant("lock-then-sum", "rows:lock_then_sum", frozenset()),
)

CANARIES: tuple[Mutant, ...] = tuple(m for m in MUTANTS if m.name in {"X03", "X39", "X48"})
"""Convicted in every verification: by an interleaving, by a fault, and by a look at the wire."""
