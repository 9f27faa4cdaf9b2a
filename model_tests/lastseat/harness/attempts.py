"""What a run consists of: its attempts, and the faults that met them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from lastseat.harness.faults import Fault
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import GateEvent
from lastseat.harness.implementations.protocol import Raised
from lastseat.spec.vocabulary import Answer, Outcome, Request


@frozen
class Fired:
    """A fault that met a turn, and whether it was seen to happen."""

    fault: str
    client: str
    turn: str
    seen: bool


@define
class Attempt:
    """One attempt of this run."""

    name: str
    client: str
    request: Request
    invoked: float
    answer: Answer | None = None
    raised: Raised | None = None
    emitted_at: int | None = None
    under_way: bool = False
    """Has one of its turns been released?"""
    hung: bool = False
    fenced: bool = False

    @property
    def running(self) -> bool:
        return self.emitted_at is None and not self.hung

    @property
    def failed(self) -> bool:
        """Did it end in anything but a definite answer of the database's?"""
        if self.raised is not None:
            return True
        return self.answer is not None and self.answer.outcome is Outcome.FAILED

    @property
    def in_doubt(self) -> bool:
        if self.raised is not None:
            return self.raised.in_doubt
        return self.answer is not None and self.answer.in_doubt


@define
class Meeting:
    """A fault on its way to a client: when it was triggered, when it was seen and over.

    ``connection`` is the one that it is to meet; None: the client's next.
    """

    fault: Fault
    client: str
    connection: Connection | None
    turn: str
    start: int
    met: int | None = None
    """The number of the connection that it was seen to happen to."""
    end: int | None = None

    @property
    def fired(self) -> bool:
        return self.met is not None

    def look(self, events: Sequence[GateEvent]) -> None:
        """Do these events prove it?"""
        if self.met is None:
            number = self.connection.number if self.connection is not None else None
            self.met = self.fault.fired(number, self.client, events)
