"""What free-running clients ask for: contended, sometimes twice, and again where it is in doubt."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

from lastseat.harness.names import Fresh
from lastseat.spec.vocabulary import Answer, Cause, Outcome, Request

_CONTENDED = 4
"""How many resources are asked for at a time."""
_FULL = 6
"""So many rejections, and demand moves on to another resource."""
_AT_LEAST = 60
"""Resources: an outage may go on for longer than was planned."""
_UNITS = (1, 1, 1, 2)
_AGAIN = 0.5
"""How often a request that met a conflict is made again."""
_LATER = 0.02
"""How often a request is one that was made before, perhaps long ago, perhaps by somebody else."""
_REMEMBERED = 2_000


@frozen
class Stock:
    """The resources there are, by id, and their capacity."""

    capacities: Mapping[str, int]

    @classmethod
    def for_attempts(cls, attempts: int, fresh: Fresh) -> Stock:
        """Enough for so many attempts; small resources for few, so that they are soon full."""
        capacity = 20 if attempts < 10_000 else 250
        count = max(_AT_LEAST, attempts // capacity)
        return cls({fresh.id(f"r{n}"): capacity for n in range(count)})


@define
class Demand:
    """Decides what is asked for next; the same seed and the same answers ask for the same."""

    stock: Stock
    fresh: Fresh
    rng: random.Random
    _wanted: list[str] = field(init=False)
    """The resources that are asked for at present."""
    _later: Iterator[str] = field(init=False)
    _rejections: Counter[str] = field(factory=Counter, init=False)
    _again: deque[Request] = field(factory=deque, init=False)
    _before: deque[Request] = field(factory=lambda: deque(maxlen=_REMEMBERED), init=False)

    def __attrs_post_init__(self) -> None:
        self._later = iter(self.stock.capacities)
        self._wanted = list(itertools.islice(self._later, _CONTENDED))

    def current(self) -> str:
        """A resource that is asked for at present."""
        return self.rng.choice(self._wanted)

    def next(self) -> Request:
        """The next request, of whichever client."""
        if self._again:
            return self._again.popleft()
        if self._before and self.rng.random() < _LATER:
            return self.rng.choice(self._before)
        request = Request(self.fresh.id("b"), self.current(), self.rng.choice(_UNITS))
        self._before.append(request)
        return request

    def answered(self, request: Request, answer: Answer | None) -> None:
        """What was in doubt is asked for again, twice at once, by whoever is free first."""
        if answer is None:
            return
        if answer.outcome is Outcome.REJECTED:
            self._rejected(request.resource_id)
        if answer.in_doubt:
            self._again.extend((request, request))
        elif answer.cause is Cause.CONFLICT and self.rng.random() < _AGAIN:
            self._again.append(request)

    def _rejected(self, resource: str) -> None:
        self._rejections[resource] += 1
        if self._rejections[resource] >= _FULL and resource in self._wanted:
            following = next(self._later, None)
            if following is not None:
                self._wanted[self._wanted.index(resource)] = following
