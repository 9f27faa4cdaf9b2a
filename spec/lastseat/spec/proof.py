"""Everything that the model can say for itself, in one go.

The quick proof takes about a second and can stand before every run that relies on the model; the
full one takes its time. Both search every life, compare the refinements with the abstract life, let
the judge look at whole histories, and make sure that broken lives are convicted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

from attrs import evolve, frozen

from lastseat.spec.agreement import FAULTS_ONLY, FULL, agree, complete
from lastseat.spec.broken import CANARIES, Canary
from lastseat.spec.inclusion import refines
from lastseat.spec.life import ABSTRACT
from lastseat.spec.modelcheck import Report, Scope, search
from lastseat.spec.refinements import OPTIMISTIC, REFINEMENTS
from lastseat.spec.world import Claim

TWINS = Scope((Claim(0, 1, callers=2), Claim(0, 1)), (1,), faults=1, crashes=1)
"""Two callers use one id at once, and a third one wants the same unit."""

ONE_ID = Scope((Claim(0, 1, callers=2),), (1,), faults=1, crashes=1)
TWO_RESOURCES = Scope((Claim(0, 2), Claim(0, 1), Claim(1, 1), Claim(1, 1)), (2, 1), faults=1)
CRASH = Scope.of(3, 2, faults=1, crashes=1, repeats=1)
FIVE = Scope.of(5, 2, faults=2, repeats=1)

LARGER = (Scope.of(3, 2, faults=2, repeats=1), TWINS, TWO_RESOURCES, CRASH, FIVE)


class Part(Protocol):
    """One result of a proof."""

    @property
    def ok(self) -> bool:
        """Whether it is as it should be."""
        ...

    def text(self) -> str:
        """For a terminal."""
        ...


@frozen
class Caught:
    """Whether a broken life was convicted, and by the property that has to."""

    canary: Canary
    report: Report

    @property
    def ok(self) -> bool:
        """The right property convicts it."""
        violation = self.report.violation
        return violation is not None and violation.rule == self.canary.rule

    def text(self) -> str:
        """For a terminal."""
        violation = self.report.violation
        name = self.canary.life.name
        if violation is None:
            return f"broken, {name}: NOT CONVICTED, {self.canary.rule!r} should have"
        if not self.ok:
            return f"broken, {name}: {violation.rule!r} and not {self.canary.rule!r} CONVICTS it"
        steps = len(violation.path)
        return f"broken, {name}: convicted by {violation.rule!r}, in {steps} steps"


@frozen
class Proof:
    """All parts, and the seconds that they took."""

    parts: tuple[Part, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Every part is as it should be."""
        return all(part.ok for part in self.parts)

    def text(self) -> str:
        """For a terminal."""
        failed = sum(not part.ok for part in self.parts)
        count = f"{len(self.parts)} parts, {failed} failed, {self.seconds:.1f} s"
        return "\n".join([*(part.text() for part in self.parts), count])


def prove(full: bool = False) -> Proof:
    """The quick proof, or the full one; :func:`parts` tells its parts as they come."""
    began = time.perf_counter()
    done = tuple(parts(full))
    return Proof(done, time.perf_counter() - began)


def parts(full: bool = False) -> Iterator[Part]:
    """The parts of a proof, one after the other."""
    two = Scope.of(2, 1, faults=1)
    again = Scope.of(2, 1, faults=1, repeats=1)
    yield search(Scope.of(3, 2, faults=1, repeats=1))
    for life in REFINEMENTS:
        yield search(again, life)
        yield refines(life, two)
    yield agree(ABSTRACT, two, FAULTS_ONLY)
    yield complete(Scope.of(2, 1, faults=2))
    for canary in CANARIES[::4]:
        yield caught(canary)
    if full:
        yield from _rest(two, again)


def _rest(two: Scope, again: Scope) -> Iterator[Part]:
    for life in (ABSTRACT, *REFINEMENTS):
        for scope in LARGER:
            yield search(scope, life)
    yield search(FIVE, OPTIMISTIC, reduced=False)
    for life in REFINEMENTS:
        for scope in (again, ONE_ID, Scope.of(3, 2, faults=1)):
            yield refines(life, scope)
    for life in (ABSTRACT, *REFINEMENTS):
        for scope in (two, again, ONE_ID):
            yield agree(life, scope, FULL)
    yield complete(Scope((Claim(0, 1, callers=2),), (1,), faults=2))
    yield complete(Scope.of(3, 1, faults=3))
    for canary in CANARIES:
        yield caught(canary)


def caught(canary: Canary) -> Caught:
    """Search a broken life."""
    scope = evolve(TWINS, capacities=(canary.seats,))
    return Caught(canary, search(scope, canary.life))
