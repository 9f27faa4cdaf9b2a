"""What a fault is: where it can strike, its trigger, and the proof that it fired.

A fault that was not seen to fire did not happen.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from attrs import field, frozen

from lastseat.harness.faults.possible import Circumstances
from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import GateEvent
from lastseat.harness.gate.gate import Gate


@frozen
class Constraint:
    """A constraint of the database's, named as the server names it in an error."""

    sqlstate: str
    words: str
    schema: str
    table: str
    name: str


@frozen
class Place:
    """Where a fault may strike: one client, as the gate and its caller know it.

    ``connection`` is the one on which its turn waits, or which the server works for, or its only
    one. ``busy``: does it run an attempt? If not, ``begins``: will it? ``hasty``: does it give up
    so soon that it can be waited for? ``violated`` tells which constraint the turn that waits would
    really violate, if it writes; the fault itself knows nothing of what is stored. ``where`` tells
    what decides which errors the server can answer with.
    """

    client: str
    gate: Gate
    backends: Backends
    connection: Connection | None
    busy: bool
    begins: bool
    hasty: bool
    violated: Callable[[str], Constraint | None]
    where: Circumstances


class Arrives(enum.Enum):
    """Does the turn that it meets arrive at the server?"""

    NEVER = "never"
    IN_TIME = "in time"
    LATE = "when its sender has given up"
    NO_TURN = "there is none"


class Tells(enum.Enum):
    """What does the client get to know of what became of its turn?"""

    NOTHING = "nothing"
    ANSWER = "the answer"
    ERROR = "an error, and the session goes on"
    ROLLBACK = "that its COMMIT has rolled back"


@frozen
class Fault:
    """``available`` tells whether it can strike at this place, as it is now."""

    name: str
    words: str
    stands_for: str
    """What happens like this in real life."""
    available: Callable[[Place], bool]
    trigger: Callable[[Place], None]
    proof: Callable[[GateEvent], bool]
    proof_words: str
    arrives: Arrives
    tells: Tells
    sqlstate: str | None = None
    """That of the error that reaches the client, be it the last word before the end."""
    breaks: bool = field(default=True, kw_only=True)
    """Does the connection end by it?"""
    at_once: bool = field(default=False, kw_only=True)
    """Does it end without an answer of the server's to a turn?"""
    elsewhere: bool = field(default=False, kw_only=True)
    """Does it happen to another connection of the client's than where its turn is?"""
    waits: bool = field(default=False, kw_only=True)
    """Does its client learn of it only by its own deadline?"""

    def fired(self, number: int | None, client: str, events: Iterable[GateEvent]) -> int | None:
        """The connection that it happened to, if these events prove it; ``number``: which one it
        was to be, if there was one."""
        for event in events:
            if event.client == client and number in {None, event.connection} and self.proof(event):
                return event.connection
        return None


def turn_waits(place: Place) -> bool:
    """Is there a turn at the gate?"""
    connection = place.connection
    return (
        place.busy
        and connection is not None
        and bool(connection.held)
        and connection.in_flight is None
        and not connection.withheld
    )


def server_works(place: Place) -> bool:
    """Is the server at work for the client, so that it may be waiting for a lock?"""
    return place.busy and place.connection is not None and place.connection.in_flight is not None
