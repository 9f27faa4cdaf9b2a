"""What a search has covered so far."""

from __future__ import annotations

from collections import Counter

from attrs import Factory, define


@define
class Coverage:
    """Filled while the search goes on."""

    schedules: int = 0
    classes: int = 0
    """Schedules that stand for a class each, and were run to their end."""
    blocked: int = 0
    """Schedules that were broken off: whatever could follow was run elsewhere."""
    diverged: int = 0
    """Prefixes that could not be brought about: the server woke the waiters in another order."""
    not_repeated: int = 0
    """Schedules that ended otherwise when they were run once more."""
    remaining: int = 0
    """Prefixes that are known to be needed and were not run."""
    edges: int = 0
    """Pairs of turns whose order can be noticed, and that came in both."""
    forks: int = 0
    """Moves after which the server let now this client go on, now that one."""
    commits: str = ""
    """Did two of them overlap inside the server, or why not?"""
    interrupted: bool = False
    outcomes: Counter[str] = Factory(Counter)
    """How the schedules ended, told by whoever judges them, and how often."""
