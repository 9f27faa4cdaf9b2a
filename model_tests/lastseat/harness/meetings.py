"""The faults that meet the clients of a run: what was done to whom, and whether it was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import Factory, define, frozen

from lastseat.harness.faults import Fault, Place
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import GateEvent
from lastseat.spec import events as history


@frozen
class Fired:
    """A fault that met a turn, and whether it was seen to happen."""

    fault: str
    client: str
    turn: str
    seen: bool
    case: str = ""
    """Where that was looked for."""
    again: str = ""
    """The command that runs it again, where it was not seen."""

    def __str__(self) -> str:
        """For people, of one that was not seen."""
        words = f"{self.fault} at «{self.turn}» of {self.client} was not seen to happen"
        if self.again:
            words += f", in {self.case}; {self.again} shows the run"
        return words


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


@define
class Meetings:
    """All faults of a run, in the order in which they were triggered.

    ``tick`` gives the next logical instant; ``left``: has the client let go of the connection of
    that number?
    """

    tick: Callable[[], int]
    left: Callable[[int], bool]
    _met: list[Meeting] = Factory(list)

    def trigger(self, fault: Fault, place: Place, turn: str) -> None:
        """Let the fault meet the turn that is there."""
        target = None if fault.elsewhere else place.connection
        self._met.append(Meeting(fault, place.client, target, turn, self.tick()))
        fault.trigger(place)

    def look(self, events: Sequence[GateEvent]) -> None:
        """What these events prove: that a fault has happened, or is over."""
        for meeting in self._met:
            meeting.look(events)
            if meeting.end is None and meeting.met is not None:
                over = not meeting.fault.breaks or self.left(meeting.met)
                meeting.end = self.tick() if over else None

    def any_of(self, client: str) -> bool:
        """Has one met this client?"""
        return any(meeting.client == client for meeting in self._met)

    def silence(self, client: str, since: int) -> bool:
        """Whether a fault has met this client ``since`` then that only its own deadline ends."""
        return any(m.client == client and m.fault.waits and m.start >= since for m in self._met)

    @property
    def silent(self) -> bool:
        """Whether any of them is one that only a deadline ends."""
        return any(meeting.fault.waits for meeting in self._met)

    def ending(self) -> list[Connection]:
        """The connections that a fault ends at once."""
        found = (m.connection for m in self._met if m.fault.at_once)
        return [connection for connection in found if connection is not None]

    def report(self) -> tuple[Fired, ...]:
        """Every fault that met a turn, and whether it was seen to happen."""
        return tuple(Fired(m.fault.name, m.client, m.turn, m.fired) for m in self._met)

    def lines(self) -> Iterator[history.Fault]:
        """The faults as the history tells them."""
        for m in self._met:
            yield history.Fault(m.fault.name, m.start, m.end, m.client)
