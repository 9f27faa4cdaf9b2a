"""What a client gets to see, where it is not simply what the server says.

A *treatment* is what becomes of one answer on its way to the client. A *reception* is what meets a
client that connects. Framing may be damaged on the way, values never are.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from lastseat.harness.gate import messages
from lastseat.harness.gate.messages import Message, ServerError

LastWords = ServerError
"""What a server says before it ends a connection: of severity FATAL or PANIC."""

Shown = Callable[[Sequence[Message]], Iterable[bytes]]
"""What the client gets to read of an answer's messages; all answers end in ReadyForQuery, or, where
the turn ended in Flush, with the last message that was due."""


class Then(enum.Enum):
    """What becomes of the connection."""

    GO_ON = "goes on"
    CLOSE = "is closed (FIN)"
    RESET = "is reset (RST)"
    SILENCE = "stays, and nothing comes any more"


@frozen
class Treatment:
    """``whole``: does the client get its answer, whatever follows it?"""

    shown: Shown
    then: Then = Then.CLOSE
    whole: bool = False


@frozen
class Reception:
    """``says`` is the server's only word to a client that connects, if it says any."""

    says: LastWords | None
    then: Then = Then.CLOSE


def nothing(_: Sequence[Message]) -> Iterable[bytes]:
    """No byte of it."""
    return ()


def everything(answer: Sequence[Message]) -> Iterable[bytes]:
    """All of it."""
    return (message.raw for message in answer)


def first(count: int) -> Shown:
    """So many messages; where there are no more than that, all but the last."""
    return lambda answer: (message.raw for message in answer[: min(count, len(answer) - 1)])


def all_but_the_last(answer: Sequence[Message]) -> Iterable[bytes]:
    """Also CommandComplete, but not ReadyForQuery."""
    return (message.raw for message in answer[:-1])


def up_to_half_a_message(answer: Sequence[Message]) -> Iterable[bytes]:
    """All but ReadyForQuery, and only half of what comes before it: mostly CommandComplete."""
    *whole, half = answer[:-1] or answer
    return [*(message.raw for message in whole), half.raw[: len(half.raw) // 2]]


def garbled(answer: Sequence[Message]) -> Iterable[bytes]:
    """All of it, but the first header asks for a password, with a length that is never reached.

    In the middle of a session no driver expects that type, and every driver knows it: pg8000 fails
    with a KeyError at a type that it does not know. Drivers that check types reject it at once, the
    others at the end of the stream. Some reserve the announced length before they read, so it
    exceeds what follows by no more than ``_NEVER_SENT``.
    """
    rest = b"".join(message.raw for message in answer)[5:]
    return (b"R" + struct.pack("!i", len(rest) + _NEVER_SENT), rest)


def twice(answer: Sequence[Message]) -> Iterable[bytes]:
    """All of it, and all of it again."""
    return [message.raw for message in answer] * 2


def fatal(sqlstate: str, words: str) -> LastWords:
    """The session ends."""
    return ServerError("FATAL", sqlstate, words)


def panic(sqlstate: str, words: str) -> LastWords:
    """The whole server ends, and recovers."""
    return ServerError("PANIC", sqlstate, words)


def replaced_by(error: LastWords) -> Shown:
    """The farewell of a server (or of what stands before it) in the place of its answer."""
    raw = messages.error(error.severity, error.sqlstate, error.message)
    return lambda _: (raw,)


_NEVER_SENT = 1 << 16
"""Bytes: above 30,000, beyond which libpq trusts only the types that it knows to be long."""

LOST = Treatment(nothing)
GARBAGE = b"~\0\0\0\0 not a message of the protocol"
"""To the server: the type of no message, and the length of none."""
