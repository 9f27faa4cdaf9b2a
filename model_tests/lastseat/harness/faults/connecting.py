"""What meets a client that connects: it is refused, or hung up on, or nobody answers.

A client that is idle and about to begin loses its connections, and the next one that it makes is
received so: as when the server was restarted and is not ready yet.
"""

from __future__ import annotations

from collections.abc import Callable

from lastseat.harness.faults.fault import Arrives, Fault, Place, Tells
from lastseat.harness.gate import treatment
from lastseat.harness.gate.events import GateEvent, Ignored, Refused
from lastseat.harness.gate.treatment import LastWords, Reception, Then


def _will_connect(place: Place) -> bool:
    return not place.busy and place.begins


def _receives(reception: Reception) -> Callable[[Place], None]:
    return lambda place: place.gate.receive(place.client, reception)


def _refused(event: GateEvent) -> bool:
    return isinstance(event, Refused)


def _refuses(sqlstate: str, words: str, stands_for: str, says: LastWords) -> Fault:
    return Fault(
        f"refuse-{sqlstate}",
        f"the client's connection is gone, and the next is refused with FATAL {sqlstate}: {words}",
        stands_for,
        _will_connect,
        _receives(Reception(says)),
        _refused,
        "the client has asked to be let in, and was given the error",
        Arrives.NO_TURN,
        Tells.NOTHING,
        sqlstate,
        elsewhere=True,
    )


CONNECTING = (
    _refuses(
        "53300",
        "too many clients",
        "every other client has reconnected faster",
        treatment.fatal("53300", "sorry, too many clients already"),
    ),
    _refuses(
        "57P03",
        "starting up",
        "the server was restarted",
        treatment.fatal("57P03", "the database system is starting up"),
    ),
    Fault(
        "close-connecting",
        "the client's connection is gone, and the next is closed without a word",
        "a proxy whose server is away",
        _will_connect,
        _receives(Reception(None)),
        _refused,
        "the client has asked to be let in, and was hung up on",
        Arrives.NO_TURN,
        Tells.NOTHING,
        elsewhere=True,
    ),
    Fault(
        "reset-connecting",
        "the client's connection is gone, and the next is reset",
        "a port behind which nothing listens any more",
        _will_connect,
        _receives(Reception(None, Then.RESET)),
        _refused,
        "the client has asked to be let in, and its connection was reset",
        Arrives.NO_TURN,
        Tells.NOTHING,
        elsewhere=True,
    ),
    Fault(
        "stall-connecting",
        "the client's connection is gone, and nobody answers when it connects",
        "a host that is frozen or gone, whose address still takes connections",
        lambda place: place.hasty and _will_connect(place),
        _receives(Reception(None, Then.SILENCE)),
        lambda event: isinstance(event, Ignored),
        "the client has asked to be let in, and nothing was said until it gave up",
        Arrives.NO_TURN,
        Tells.NOTHING,
        elsewhere=True,
        waits=True,
    ),
)
