"""Silence: nothing comes any more, and the connection does not end. Only a deadline helps.

A client is met by silence only where its deadline is short, so that nobody waits for long. What the
network has swallowed may arrive when its sender has given up: that is a fault of its own, so that
anything may happen in between.
"""

from __future__ import annotations

from lastseat.harness.faults.fault import Arrives, Fault, Place, Tells, server_works, turn_waits
from lastseat.harness.gate import treatment
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import (
    Answered,
    Broken,
    GateEvent,
    Sent,
    Undelivered,
    Withheld,
)
from lastseat.harness.gate.treatment import Then, Treatment


def _stuck(place: Place) -> Connection | None:
    """The connection on which a turn is stuck, whose client waits for it no longer."""
    for connection in place.gate.of(place.client):
        moved_on = connection.closed or connection.spoken_on or not place.busy
        if connection.withheld and moved_on:
            return connection
    return None


def _stall_request(place: Place) -> None:
    assert place.connection is not None
    place.connection.withhold()


def _stall_answer(place: Place) -> None:
    assert place.connection is not None
    place.connection.release(Treatment(treatment.nothing, Then.SILENCE))


def _arrive(place: Place) -> None:
    stuck = _stuck(place)
    assert stuck is not None
    stuck.deliver()


def _vanish(place: Place) -> None:
    stuck = _stuck(place)
    assert stuck is not None
    stuck.drop()


def _outwait(place: Place) -> None:
    assert place.connection is not None
    place.connection.outwaited = True


def _is_unheard(event: GateEvent) -> bool:
    """Whether the server's answer was kept from the client, or came too late for it anyway."""
    match event:
        case Broken(by="client", turn=turn):
            return turn is not None
        case Answered(delivered=delivered):
            return not delivered
    return False


_ITS_OWN_LIMITS = frozenset({"57014", "55P03"})
"""What the server answers to a client's CancelRequest, or at its statement or lock timeout."""


def _is_outwaited(event: GateEvent) -> bool:
    """Whether a client has ended its wait: it left, or had the server end it.

    Nobody else ends it: the lock is held until then.
    """
    match event:
        case Broken(by="client" | "server", turn=turn):
            return turn is not None
        case Answered(answer=answer):
            return answer.error is not None and answer.error.sqlstate in _ITS_OWN_LIMITS
    return False


def _hasty(place: Place) -> bool:
    return place.hasty and turn_waits(place)


SILENT = (
    Fault(
        "stall-request",
        "the request is stuck in the network until the client has given up",
        "a cable that is cut, a host that is frozen, a queue that is full",
        _hasty,
        _stall_request,
        lambda event: isinstance(event, Withheld),
        "the turn was withheld, and nothing was said to the client until it gave up",
        Arrives.NEVER,
        Tells.NOTHING,
        waits=True,
    ),
    Fault(
        "stall-answer",
        "the server executes the request, and its answer is stuck until the client has given up",
        "a cable that is cut while the server works, one way",
        _hasty,
        _stall_answer,
        _is_unheard,
        "the server has answered, or was at work still, when the client gave up unanswered",
        Arrives.IN_TIME,
        Tells.NOTHING,
        waits=True,
    ),
    Fault(
        "outwait",
        "the client waits for a lock until it has given up",
        "somebody who holds the row while he thinks",
        lambda place: place.hasty and server_works(place),
        _outwait,
        _is_outwaited,
        "the client has left while the server was waiting, or has had the server end the wait",
        Arrives.IN_TIME,
        Tells.NOTHING,
        breaks=False,
        waits=True,
    ),
    Fault(
        "arrive-late",
        "a request that was stuck arrives, though its sender has given up",
        "a network that comes back; a server that thaws",
        lambda place: _stuck(place) is not None,
        _arrive,
        lambda event: isinstance(event, Sent),
        "the turn was sent to the server, after its attempt had ended",
        Arrives.LATE,
        Tells.NOTHING,
        elsewhere=True,
    ),
    Fault(
        "vanish",
        "a request that was stuck is lost for good, and the server learns that its client is gone",
        "a network that comes back and has forgotten the connection",
        lambda place: _stuck(place) is not None,
        _vanish,
        lambda event: isinstance(event, Undelivered),
        "the turn was given up by the gate, and never sent to the server",
        Arrives.NEVER,
        Tells.NOTHING,
        elsewhere=True,
    ),
)
