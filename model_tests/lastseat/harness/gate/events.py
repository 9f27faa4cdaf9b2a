"""What the gate reports, in the order in which it happened."""

from __future__ import annotations

from attrs import frozen

from lastseat.harness.gate.messages import ServerError
from lastseat.harness.gate.turns import Answer, Turn


@frozen
class Opened:
    """A client's connection reached the server."""

    client: str
    connection: int
    backend_pid: int


@frozen
class Refused:
    """The server did not take a client's connection, or there was none; ``error`` is its word."""

    client: str
    connection: int
    reason: str
    error: ServerError | None = None


@frozen
class Arrived:
    """A client has sent a turn; the server has not seen it yet."""

    client: str
    connection: int
    turn: Turn


@frozen
class Sent:
    """A turn was passed on to the server; or, where it is substituted, what stands in its place."""

    client: str
    connection: int
    turn: Turn


@frozen
class Answered:
    """The server answered a turn completely. Whether the client got to read it: ``delivered``.

    ``substituted``: the server was given another statement in the turn's place. ``told``: of an
    answer that it did not get completely, the client has read the error.
    """

    client: str
    connection: int
    turn: Turn
    answer: Answer
    delivered: bool = True
    substituted: bool = False
    told: bool = False


@frozen
class Withheld:
    """A turn that the client sent stays in the network.

    It is reported again as Sent when it arrives at last, or as Undelivered when it never will.
    """

    client: str
    connection: int
    turn: Turn


@frozen
class Ignored:
    """A client asked to be let in, and nobody answers it."""

    client: str
    connection: int


@frozen
class Undelivered:
    """A turn that the client sent and that never reached the server.

    ``by``: who had ended the connection before, the client (it gave up waiting), the server, or the
    gate (a fault). The turn may lack its end, where the client left without sending it.
    """

    client: str
    connection: int
    turn: Turn
    by: str


@frozen
class Broken:
    """A connection ended: ``by`` the client, the server, or the gate (a fault).

    ``turn`` is what the server was working on; ``error`` the fatal error that the client was shown
    at the end, if there was one.
    """

    client: str
    connection: int
    backend_pid: int
    by: str
    turn: Turn | None = None
    error: ServerError | None = None


@frozen
class HungUp:
    """The client closed its end, or was refused: it knows that this connection is no more."""

    client: str
    connection: int


@frozen
class Passed:
    """Something that is neither a turn nor an answer was passed on, ``to`` the client or the
    server: a notice, a setting, the rows of a COPY, a farewell. ``what`` says which."""

    client: str
    connection: int
    to: str
    what: str


@frozen
class Cancelled:
    """A client asked the server, on a connection of its own, to cancel what a process does.

    ``connection`` is the one that this process serves, where it is one of the client's.
    """

    client: str
    connection: int
    backend_pid: int


@frozen
class Garbled:
    """A client sent what is not PostgreSQL's protocol; its connection is broken next."""

    client: str
    connection: int
    reason: str


GateEvent = (
    Opened
    | Refused
    | Arrived
    | Sent
    | Withheld
    | Ignored
    | Answered
    | Undelivered
    | Broken
    | HungUp
    | Cancelled
    | Passed
    | Garbled
)
