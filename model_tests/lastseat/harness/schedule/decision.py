"""Decisions: the moves of a schedule, and the record by which it is run again.

A client *starts* its next attempt, or its next held turn is *released*, or its commit, which has
been done and is not seen by others yet, is *finished*, or a fault meets its turn.
Everything else (who gets which answer, who waits for whose lock, who wakes) follows, and is
observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

from lastseat.harness.schedule.footprint import NOTHING, Footprint

START = "start"
RELEASE = "release"
FINISH = "finish"


@frozen
class Decision:
    """One move: what is done to which client; anything but start, release and finish is a fault."""

    move: str
    client: str

    def __str__(self) -> str:
        return f"{self.move} {self.client}"

    @classmethod
    def parse(cls, words: str) -> Decision:
        """Read what ``str`` wrote; raises ValueError."""
        move, client = words.split()
        return cls(move, client)

    @property
    def is_fault(self) -> bool:
        return self.move not in {START, RELEASE, FINISH}


@frozen
class Step:
    """A decision as it was made: what else could have been, what it met, what followed."""

    number: int
    decision: Decision
    enabled: tuple[Decision, ...]
    fingerprint: str
    """The turn that it released or met; empty where there was none."""
    observed: tuple[str, ...]
    """What followed, in words."""
    until: int = 0
    """The logical instant at which all of it was over."""
    faults: tuple[str, ...] = ()
    """The faults that could have met the client in its place, where that was to be noted."""
    waiting: tuple[Decision, ...] = ()
    """The faults that could meet those who wait for somebody else when it is over; likewise."""
    touched: Footprint = NOTHING
    """What it touched, with all that followed from it."""
    woke: frozenset[str] = frozenset()
    """The clients that had waited for a lock, and that it let go on."""
    shape: str = ""
    """The turn without the values in it: what must come about again when the schedule does. Empty
    where there was no turn, and in schedules that were saved before shapes were."""


class World(Protocol):
    """What a strategy sees: which moves there are, and a way to make one."""

    def enabled(self) -> Sequence[Decision]:
        """The moves without a fault that can be made now; none when all is done."""

    def perform(self, decision: Decision) -> Step:
        """Make a move, and wait until nothing more follows from it."""


class Diverged(Exception):
    """A replay met something else than what was recorded."""


def encode(decisions: Sequence[Decision]) -> str:
    """A schedule as a string to paste."""
    return ", ".join(map(str, decisions))


def decode(schedule: str) -> tuple[Decision, ...]:
    """Read what ``encode`` wrote; raises ValueError."""
    return tuple(Decision.parse(words) for words in schedule.split(",") if words.strip())
