"""What a command ends in."""

from __future__ import annotations

import enum


class Verdict(enum.Enum):
    """Worst first; the value is the exit code."""

    VIOLATION = 1
    ERROR = 3
    INCONCLUSIVE = 2
    PASS = 0

    def __str__(self) -> str:
        return self.name.lower()


INTERRUPTED = 130
"""The exit code when the user interrupted a run that had found no violation."""


def worst(*verdicts: Verdict) -> Verdict:
    """The one that counts."""
    order = list(Verdict)
    return min(verdicts, key=order.index, default=Verdict.PASS)
