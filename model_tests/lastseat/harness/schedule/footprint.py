"""What a move touches, and which moves depend on each other: those whose order can be noticed.

The relation errs to one side. What it takes for dependent costs time; what it takes for independent
must be so, or a search that trusts it is blind.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from attrs import frozen

EVERYTHING = "*"
"""Stands for all that there is in the database, and is touched by whoever touches anything."""

Things = frozenset[str]
NONE: Things = frozenset()
ALL: Things = frozenset({EVERYTHING})


@frozen
class Footprint:
    """Of one move, and of all that followed from it, whoever did it.

    ``reads`` are things looked at; ``writes`` things written or locked by a transaction that goes
    on; ``commits`` and ``aborts`` the things that a transaction held which ended so.
    """

    reads: Things = NONE
    writes: Things = NONE
    commits: Things = NONE
    aborts: Things = NONE
    snapshot: bool = False
    """Was some of it done above READ COMMITTED, or may it have been?"""
    begins: bool = False
    """Did an attempt begin?"""
    ends: bool = False
    """Did one end? The rules speak of what lies between the two."""

    def __or__(self, other: Footprint) -> Footprint:
        if other is NOTHING or self is NOTHING:  # most are, and this is done at every event
            return self if other is NOTHING else other
        return Footprint(
            self.reads | other.reads,
            self.writes | other.writes,
            self.commits | other.commits,
            self.aborts | other.aborts,
            self.snapshot or other.snapshot,
            self.begins or other.begins,
            self.ends or other.ends,
        )

    @property
    def local(self) -> bool:
        """Did it touch nothing that anybody else could?"""
        return not (self.reads or self.writes or self.commits or self.aborts)


NOTHING = Footprint()


def dependent(a: Footprint, b: Footprint) -> bool:
    """Could somebody notice in which order these two moves of different clients were made?"""
    if (a.begins and b.ends) or (a.ends and b.begins):
        return True
    if a.local or b.local:
        return False
    if a.snapshot or b.snapshot:
        # The first statement sees what every COMMIT before it has left, and SERIALIZABLE watches
        # reads as well, by the page where there are few rows. Only two that merely read commute.
        return not (_only_reads(a) and _only_reads(b))
    return _depends(a, b) or _depends(b, a)


def _only_reads(a: Footprint) -> bool:
    return not (a.writes or a.commits or a.aborts)


def _depends(a: Footprint, b: Footprint) -> bool:
    """At READ COMMITTED a read sees what is committed, and never what is merely written. Who wants
    a lock depends on who takes it or lets it go; deferred checks may want one at the COMMIT."""
    return _meet(a.reads, b.commits) or _meet(a.writes | a.commits, b.writes | b.commits | b.aborts)


def _meet(a: AbstractSet[str], b: AbstractSet[str]) -> bool:
    return bool(a and b and (EVERYTHING in a or EVERYTHING in b or a & b))
