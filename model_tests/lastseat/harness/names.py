"""Fresh ids for every run, so that nothing needs to be reset between two of them.

A scenario speaks of ``r1`` and ``b1``; the database sees ids that no other run has used, of the
kind that the implementation wants. What is recorded speaks the scenario's language again.
"""

from __future__ import annotations

import itertools
import random
import re
import uuid
from collections.abc import Iterator
from typing import Final

from attrs import Factory, define

_WORD = re.compile(r"[A-Za-z0-9_-]+")
_INTEGERS_FROM = 1_000_000  # what is shown of a statement tells ids from units by their size
_INTEGERS_TO = 2_000_000_000  # fits an integer column, with room for all that a run needs
_KINDS: Final = ("text", "uuid", "integer")


@define
class Fresh:
    """An inexhaustible source of ids: ``text``, ``uuid`` or ``integer``.

    Other sources have others: what an implementation names after a booking (a transaction that it
    prepares) is shared by all databases of a server, and so by all workers.
    """

    kind: str
    _prefix: str = Factory(lambda: uuid.uuid4().hex[:8])
    _first: int = Factory(lambda: random.SystemRandom().randrange(_INTEGERS_FROM, _INTEGERS_TO))
    _counter: Iterator[int] = Factory(lambda: itertools.count(1))

    def __attrs_post_init__(self) -> None:
        assert self.kind in _KINDS

    def id(self, logical: str) -> str:
        """A new id; a text id still shows what it stands for."""
        number = next(self._counter)
        if self.kind == "integer":
            return str(self._first + number)
        if self.kind == "uuid":
            return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._prefix}-{number}"))
        return f"{self._prefix}-{number}-{logical}"


@define
class Names:
    """The ids of one run, in both directions."""

    _fresh: Fresh
    _physical: dict[str, str] = Factory(dict)
    _logical: dict[str, str] = Factory(dict)
    _shown: dict[str, str] = Factory(dict)

    def physical(self, logical: str) -> str:
        """What the database sees."""
        if logical not in self._physical:
            self._physical[logical] = self._fresh.id(logical)
            made = self._physical[logical]
            self._logical[made] = logical
            # A uuid as a binary parameter is shown without hyphens.
            self._shown |= {made: logical, made.replace("-", ""): logical}
        return self._physical[logical]

    def logical(self, physical: str) -> str:
        """What the scenario says; an id that this run did not make stays as it is."""
        return self._logical.get(physical, physical)

    def plain(self, words: str) -> str:
        """A text with the scenario's names in the place of ids, where they stand as a whole."""
        if not any(made in words for made in self._shown):
            return words
        return _WORD.sub(lambda found: self._shown.get(found[0], found[0]), words)

    def mentioned(self, words: str) -> frozenset[str]:
        """The scenario's names of all ids that stand in a text as a whole."""
        return frozenset(self.in_order(words))

    def in_order(self, words: str) -> tuple[str, ...]:
        """The scenario's names of all ids that stand in a text as a whole, as they follow."""
        found = (self._shown.get(word) for word in _WORD.findall(words))
        return tuple(name for name in found if name is not None)
