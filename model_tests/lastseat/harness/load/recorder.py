"""Writes a history as it happens: whatever ends the recorder, what was recorded is on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from lastseat.harness.implementations.protocol import Raised
from lastseat.spec import events, history
from lastseat.spec.events import Event, Header, Rows
from lastseat.spec.vocabulary import Answer, Request


class Recorder:
    """One total order of events. An invocation is written before it is passed on to the client, an
    emission when it was read: the interval in between holds all that the attempt did. ``clock``
    gives seconds: one that stands while nobody reads counts no attempt as late that was not."""

    def __init__(self, path: Path, header: Header, clock: Callable[[], float]) -> None:
        self.path = path
        self.now = 0
        self._clock = clock
        self._began = clock()
        self._faults: set[tuple[str, int, str | None]] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._write(header)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fault, start, client in sorted(self._faults, key=str):
            self._write(events.Fault(fault, start, None, client))
        self._file.close()

    def tick(self) -> int:
        """The next instant."""
        self.now += 1
        return self.now

    def invoke(self, attempt: str, client: str, request: Request) -> None:
        self._write(events.Invoke(self.tick(), attempt, client, request, self._ms()))

    def emit(self, attempt: str, told: Answer | Raised, at: float) -> None:
        """The attempt was answered ``at`` this time of the clock."""
        ms = self._ms(at)
        if isinstance(told, Raised):
            raised = events.Raise(self.tick(), attempt, told.message, told.in_doubt, ms)
            self._write(raised)
        else:
            self._write(events.Emit(self.tick(), attempt, told, ms))

    def deadline_expired(self, attempt: str) -> None:
        """So much time has passed: that much can be seen from outside."""
        self._write(events.Seen(self.tick(), attempt, events.What.DEADLINE, ms=self._ms()))

    def fault_begins(self, kind: str, client: str) -> int:
        """A disturbance of this client begins, or is about to; since when."""
        start = self.tick()
        self._faults.add((kind, start, client))
        return start

    def fault_ends(self, kind: str, start: int, client: str) -> None:
        self._faults.discard((kind, start, client))
        self._write(events.Fault(kind, start, self.tick(), client))

    def fence(self, attempt: str) -> None:
        self._write(events.Fence(self.tick(), attempt))

    def audit(self, resource: str, rows: Rows, booked: int | None) -> None:
        self._write(events.Audit(self.tick(), resource, rows, booked))

    def final(self, resource: str, rows: Rows, booked: int | None) -> None:
        self._write(events.Final(resource, rows, booked))

    def end(self) -> None:
        """The recording is complete."""
        self._write(events.End(self.tick(), self._ms()))

    def flush(self) -> None:
        """Hand what was written to the kernel."""
        self._file.flush()

    def _ms(self, at: float | None = None) -> float:
        return round(((self._clock() if at is None else at) - self._began) * 1000, 1)

    def _write(self, line: Header | Event) -> None:
        self._file.write(history.encode(line) + "\n")
