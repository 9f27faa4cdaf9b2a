"""Which totals may bookings have that were each made or not, and nobody knows which?

Few numbers decide it if all of them fit together, whatever their sizes: then all may have been
made. Else the totals that are possible are kept, as bits where that is narrow enough, in a set
where it is not. What this takes does not depend on the sizes of bookings and capacities.

With sizes that are large and all different, totals double with each booking (to decide about them
is the subset sum problem). A set that grows too large is thinned: what is left in it is possible
still, so that a yes remains a yes, and a no becomes an open question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import define, field

WIDTH = 1 << 20
"""The most bits."""

MOST = 4096
"""The most totals in a set."""


@define
class Totals:
    """The totals of bookings that begin one after the other; none exceeds ``room``.

    ``units`` are those of all that will begin, in whatever order.
    """

    room: int
    units: Sequence[int]
    limit: int = field(default=0, init=False)
    """What all that have begun are together."""
    _unit: int = field(init=False)
    """What all sizes are multiples of: in the rest, everything is counted in it."""
    _known: _Bits | _Set | None = field(default=None, init=False)
    """None where all fit together: then the more were made, the better."""

    def __attrs_post_init__(self) -> None:
        self._unit = math.gcd(*self.units) or 1
        room, total = self.room // self._unit, sum(self.units) // self._unit
        if total > room:
            self._known = _Bits(room) if room < WIDTH else _Set(room)

    @property
    def most(self) -> int:
        """No total is greater, even if all sizes could be had."""
        return max(0, min(self.room, self.limit))

    def maybe(self, units: int) -> None:
        """A booking begins that may have been made."""
        self.limit += units
        if self._known is not None and units <= self.room:
            self._known.add(units // self._unit)

    def at_least(self, needed: int) -> bool | None:
        """Whether a total of ``needed`` or more is possible, if it is not above ``most``; from here
        on the others are not. None: that is an open question."""
        return self._known is None or self._known.restrict(-(-needed // self._unit))


@define
class _Bits:
    """Bit ``s`` stands for the total ``s``."""

    room: int
    bits: int = 1
    floor: int = 0
    """The totals below this one were ruled out."""

    def add(self, units: int) -> None:
        """What was possible is, with and without it."""
        self.bits |= (self.bits << units) & ((1 << self.room + 1) - 1)

    def restrict(self, needed: int) -> bool | None:
        """Whether some total is left; if not, all remain."""
        if needed <= self.floor:
            return True
        left = self.bits >> needed << needed
        if left:
            self.bits, self.floor = left, needed
        return bool(left)


@define
class _Set:
    """The totals one by one."""

    room: int
    totals: set[int] = field(factory=lambda: {0})
    floor: int = 0
    thinned: bool = False
    """Whether some are possible that are not in it any more."""

    def add(self, units: int) -> None:
        """What was possible is, with and without it."""
        room = self.room - units
        self.totals |= {total + units for total in self.totals if total <= room}
        if len(self.totals) > MOST:
            # Spread out, and always with the greatest.
            self.totals = set(sorted(self.totals, reverse=True)[::2])
            self.thinned = True

    def restrict(self, needed: int) -> bool | None:
        """Whether some total is left; if not, all remain."""
        if needed <= self.floor:
            return True
        left = {total for total in self.totals if total >= needed}
        if left:
            self.totals, self.floor = left, needed
            return True
        return None if self.thinned else False
