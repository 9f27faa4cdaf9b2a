"""A turn on its way: what is sent to the server for it, and what comes back.

The answer to a turn ends in ReadyForQuery; but to one that ends in Flush, with the answer to its
last message, since the server is ready for another query only after Sync.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence

from lastseat.harness.gate import messages
from lastseat.harness.gate.messages import Message, ServerError
from lastseat.harness.gate.treatment import Treatment
from lastseat.harness.gate.turns import Answer, Turn

_SURVIVED = "ERROR"  # FATAL and PANIC are followed by the end of the connection, not by an answer
_ASKS = {"P": "parse", "B": "bind", "C": "close", "D": "describe", "E": "execute"}
_ANSWERS = {
    "1": "parse",
    "2": "bind",
    "3": "close",
    "T": "describe",
    "n": "describe",
    "C": "execute",
    "s": "execute",
    "I": "execute",
}
_ACKNOWLEDGED = {"P": "1", "B": "2", "C": "3", "D": "n"}
"""To what is asked for a statement that returns no rows."""
_UNTAGGED = {"s": "suspended", "I": "empty"}


class Flight:
    """One turn between its release and its answer.

    ``instead``: statements that the server is given in the turn's place, one after the other. The
    client is shown the error that they raise and the transaction status after the last of them, as
    if its own turn had met that error. The first ``leading`` of them are the turn's own, which
    return no rows: they are answered before the error.

    ``behind``: a statement that the server is given before the turn, unseen by the client.

    ``treatment``: what becomes of the answer; None: the client gets it as it is.

    ``skipped``: an earlier turn since the last Sync failed, so that the server would do nothing of
    this one but its Sync.
    """

    def __init__(
        self,
        turn: Turn,
        *,
        instead: Sequence[str] = (),
        leading: int = 0,
        behind: str | None = None,
        treatment: Treatment | None = None,
        skipped: bool = False,
    ) -> None:
        self.turn = turn
        self.substituted = bool(instead)
        self.treatment = treatment
        self.error: ServerError | None = None
        self._requests = deque(_requests(turn, instead, skipped=skipped))
        self._unseen = behind is not None
        if behind is not None:
            self._requests.appendleft(messages.query(behind))
        self._leading = _acknowledgements(turn, leading)
        self._flushed = turn.ends_with == "H" and not self.substituted
        self._due = _due(turn) if self._flushed and not skipped else None
        self._ready = self._flushed
        self._shown: list[Message] = []
        self._last_ready: Message | None = None
        self._tags: list[str] = []
        self._status: str | None = None
        self._rows = 0
        self._copy: str | None = None

    def next_request(self) -> bytes:
        """What to send to the server now."""
        if not self._requests:
            return b""
        self._ready = self._flushed
        self._last_ready = None
        return self._requests.popleft()

    @property
    def answered(self) -> bool:
        """Has the server answered the last request?"""
        return self._ready and not (self._due and any(self._due.values()))

    @property
    def done(self) -> bool:
        """Is there nothing more to send, and nothing more to come?"""
        return self.answered and not self._requests

    @property
    def failed_until_sync(self) -> bool:
        """Does the server do nothing more now until the client sends Sync?"""
        return self.turn.ends_with == "H" and self.error is not None

    def feed(self, message: Message) -> None:
        """Take one message of the server's."""
        kind = message.kind
        if self._unseen:
            self._ready = kind == "Z"
            self._unseen = not self._ready
            return
        self._show(message)
        if self._due is not None and kind in _ANSWERS:
            self._due[_ANSWERS[kind]] = max(0, self._due[_ANSWERS[kind]] - 1)
        if kind == "C":
            self._tags.append(messages.text(message.payload)[0])
        elif kind in _UNTAGGED:
            self._tags.append(_UNTAGGED[kind])
        elif kind == "D":
            self._rows += 1
        elif kind == "E":
            self._failed(messages.read_error(message.payload))
        elif kind == "G":
            self._copy = "rows"
        elif kind == "Z":
            self._status = message.payload.decode("ascii", "replace")
            self._ready = True

    def take_shown(self) -> list[Message]:
        """What the client is to read, as far as it has come and was not taken before."""
        if self.substituted and self.turn.ends_with != "H" and self._last_ready is not None:
            self._shown.append(self._last_ready)
        shown, self._shown = self._shown, []
        return shown

    def answer(self) -> Answer:
        """What the server said to the turn."""
        if self.substituted:
            status = self._status if self.turn.ends_with != "H" else None
            return Answer(tuple(self._tags[: len(self._leading)]), self.error, status)
        return Answer(tuple(self._tags), self.error, self._status, self._rows)

    def takes(self, message: Message) -> bool:
        """Does this message of the client's belong to the COPY that this turn has begun?

        While rows may come the server ignores Sync and Flush, since some drivers send one behind
        every Execute; after the rows the turn's own Sync is sent again.
        """
        if self._copy is None:
            return False
        if message.kind in "cf":
            self._copy = "ended"
            return True
        if message.kind == "d" or (message.kind in "SH" and self._copy == "rows"):
            return True
        if message.kind == "S" and self.turn.ends_with == "S":
            self._copy = None
            return True
        return False

    def _show(self, message: Message) -> None:
        if message.kind == "Z" and self.substituted:
            self._last_ready = message
        elif self.substituted and message.kind == "C" and len(self._tags) < len(self._leading):
            self._shown += (*self._leading[len(self._tags)], message)
        elif (
            not self.substituted
            or message.kind in "SA"
            or (message.kind == "E" and self.error is None)
        ):
            self._shown.append(message)

    def _failed(self, error: ServerError) -> None:
        self.error = self.error or error
        if self._copy is not None:
            self._copy = "ended"
        if error.severity == _SURVIVED:
            self._due = None
        elif self._flushed:
            self._ready = False


def _requests(turn: Turn, instead: Sequence[str], *, skipped: bool) -> Iterator[bytes]:
    if skipped:
        yield from (message.raw for message in turn.messages if message.kind == "S")
    elif instead:
        yield from map(messages.query, instead)
    else:
        yield turn.raw


def _acknowledgements(turn: Turn, leading: int) -> list[list[Message]]:
    """What the server says to each of the first statements of a turn, before its tag."""
    found: list[list[Message]] = [[] for _ in range(leading)]
    executed = 0
    for message in turn.messages:
        if executed == leading:
            break
        if message.kind == "E":
            executed += 1
        elif message.kind in _ACKNOWLEDGED:
            kind = _ACKNOWLEDGED[message.kind]
            found[executed].append(Message(kind, messages.message(kind)))
    return found


def _due(turn: Turn) -> Counter[str]:
    return Counter(_ASKS[m.kind] for m in turn.messages if m.kind in _ASKS)
