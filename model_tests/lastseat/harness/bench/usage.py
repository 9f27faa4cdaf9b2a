"""Who has used how much CPU: processes of this machine, in the kernel's own accounts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

_PROC = Path("/proc")


@frozen
class Usage:
    """Seconds of CPU that each of some processes has used up to now."""

    by_pid: dict[int, float]

    @classmethod
    def of(cls, pids: Iterable[int]) -> Usage:
        """Of these processes; those that are gone are left out."""
        return cls({pid: seconds for pid in pids for seconds in _seconds(pid)})

    def since(self, before: Usage) -> float:
        """Seconds that those of them that were there before have used since then."""
        common = self.by_pid.keys() & before.by_pid.keys()
        return sum(self.by_pid[pid] - before.by_pid[pid] for pid in common)


def children(parent: int) -> Iterator[int]:
    """The processes whose parent this is."""
    for folder in _PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # The name stands in parentheses and may hold anything; state and parent follow it.
        if int(stat.rpartition(")")[2].split()[1]) == parent:
            yield int(folder.name)


def family(parent: int) -> Iterator[int]:
    """The children of a process, and theirs."""
    for child in children(parent):
        yield child
        yield from family(child)


def _seconds(pid: int) -> Iterator[float]:
    try:
        # All threads, in nanoseconds; /proc/PID/stat counts in hundredths of a second.
        tasks = list((_PROC / str(pid) / "task").iterdir())
        yield sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return


def keep_to(core: int, pids: Iterable[int] = (0,)) -> None:
    """Have processes (0: this one, and those that it starts) run on this core only."""
    for pid in pids:
        os.sched_setaffinity(pid, {core})
