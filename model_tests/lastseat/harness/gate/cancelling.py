"""A client that gives up a turn: by a CancelRequest, or because it waits for nothing any more."""

from __future__ import annotations

import socket
from collections.abc import Callable

from lastseat.harness.gate import upstream
from lastseat.harness.gate.ends import Ends
from lastseat.harness.gate.events import Cancelled, GateEvent
from lastseat.harness.gate.pipe import Pipe
from lastseat.harness.gate.sql import Kind, classify
from lastseat.harness.gate.turns import Turn
from lastseat.harness.gate.upstream import Upstream
from lastseat.harness.loop import Loop

_CANCELLED = (
    "DO $lastseat$ BEGIN RAISE EXCEPTION USING ERRCODE = '57014',"
    " MESSAGE = 'canceling statement due to user request'; END $lastseat$"
)


def cleans_up(turn: Turn) -> bool:
    """Whether it only ends a transaction without a trace, or resets the session: not every driver
    waits for the answer to that."""
    kinds = {classify(statement.sql) for statement in turn.statements}
    return kinds <= {Kind.ROLLBACK, Kind.SAVEPOINT, Kind.NEUTRAL}


def as_cancelled(turn: Turn) -> tuple[str, ...]:
    """What the server is given in a turn's place, so that it answers as it answers a turn that is
    cancelled; nothing where a cancellation has no effect."""
    if cleans_up(turn) or turn.ends_with not in "QSH":
        return ()
    commits = any(classify(statement.sql) is Kind.COMMIT for statement in turn.statements)
    return (_CANCELLED, "ROLLBACK") if commits else (_CANCELLED,)


class Cancelling:
    """A CancelRequest on its way to the server, which hangs up when it has handled it.

    ``meant``: the number of the connection whose turn is to be cancelled, where it is known.
    ``here`` is asked first whether the turn is still held by the gate, where no server can cancel
    it, and was cancelled there.
    """

    def __init__(
        self,
        number: int,
        client: str,
        sock: socket.socket,
        key: bytes,
        *,
        meant: int | None,
        here: Callable[[], bool],
        loop: Loop,
        server: Upstream,
        report: Callable[[GateEvent], None],
    ) -> None:
        self._ends = Ends(client, number, report)
        pipe = Pipe(sock, loop, came=lambda _: None, ended=self.close)
        self._ends.open(client=pipe)
        pid = int.from_bytes(key[:4], "big")
        report(Cancelled(client, number if meant is None else meant, pid))
        if here():
            self.close()
            return
        try:
            handled = upstream.cancel(server, key)
        except OSError:  # as where there is no server: the connection ends without an answer
            self.close()
            return
        self._ends.open(server=Pipe(handled, loop, came=lambda _: None, ended=self.close))

    @property
    def over(self) -> bool:
        """Whether both sides know that it was handled."""
        return not self._ends.with_client

    def close(self) -> None:
        self._ends.leave_server(self._ends.passed("client", "end of a cancellation"), b"")
        self._ends.leave_client()
