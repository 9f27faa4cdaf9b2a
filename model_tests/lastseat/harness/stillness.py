"""When does nothing more follow from a decision?

When every client that runs an attempt has a turn at the gate, or waits for a lock that only another
decision can free; and when the server processes whose connections broke are gone, or wait likewise.
The server is asked who waits for whom only when an answer is late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from attrs import define, field

from lastseat.harness.gate.backends import Backends, parked
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.gate import Gate
from lastseat.harness.loop import Loop

_SLOWEST_LOOK = 0.02  # seconds at most between two looks
_DYING_LOOK = 0.0005  # seconds: a server process whose client is gone ends within a few of these


@define
class Pace:
    """How long to wait for news until the server is asked who waits for a lock.

    Several times as long as news usually takes, which depends on the machine and on who else uses
    it: to ask too early is in vain, and to ask late is time lost at every lock.
    """

    usual: float = 0.0005
    """Seconds that news takes: an average in which the latest counts for more."""

    def came_after(self, seconds: float) -> None:
        """Something came, after so long a wait."""
        self.usual += (seconds - self.usual) / 16

    @property
    def first_look(self) -> float:
        """Seconds without news after which it may be a lock."""
        return min(max(0.0003, 4 * self.usual), 0.005)


@define
class Stillness:
    """Watches the gate's connections and the server processes behind them.

    ``busy`` are the clients that run an attempt; ``ending`` the connections that a fault ends;
    ``waits`` is told who begins to wait for a lock.
    """

    gate: Gate
    backends: Backends
    loop: Loop
    pace: Pace
    busy: Collection[str]
    ending: Callable[[], Collection[Connection]]
    waits: Callable[[str], None]
    commits_wait: bool = False
    """May a commit be done and wait until it is finished from outside?"""
    dying: dict[int, str] = field(factory=dict, init=False)
    """Server processes whose connection broke, until they are gone; by whose it was."""
    _parked: frozenset[int] = field(default=frozenset(), init=False)
    _committing: frozenset[int] = field(default=frozenset(), init=False)
    _told: frozenset[int] = field(default=frozenset(), init=False)
    """Those whose waiting has been told."""

    def reached(self, take_news: Callable[[], None], patience: Callable[[], float]) -> bool:
        """Wait until nothing more follows; False when that took more seconds than ``patience``.

        ``take_news`` is called whenever something may have happened.
        """
        pause, end = self.pace.first_look, None
        before, self._parked = self._parked, frozenset()
        while True:
            take_news()
            if self._still():
                return True
            if self._told:
                self._told &= self._working().keys()
            if before and before.issuperset(self._working()):
                # Who waited before may wait still. A lock is free before the answer to the COMMIT
                # that freed it is sent, so the server knows already.
                before = frozenset()
                self._look()
            elif self._something_comes(_DYING_LOOK if self.dying else pause):
                pause = self.pace.first_look
            else:
                self._look()
                pause = min(pause * 2, _SLOWEST_LOOK)
                end = end or self.loop.now() + patience()
                if self.loop.now() > end:
                    return False

    def _something_comes(self, within: float) -> bool:
        began = time.monotonic()
        came = self.loop.poll(within)
        if came:
            self.pace.came_after(time.monotonic() - began)
        return came

    def at_gate(self, client: str) -> Connection | None:
        """The client's connection on which a turn waits for a decision."""
        for connection in self.gate.of(client):
            if connection.held and connection.in_flight is None and not connection.withheld:
                return connection
        return None

    def committing(self, client: str) -> Connection | None:
        """The client's connection on which a commit is done, and waits to be finished."""
        for connection in self.gate.of(client):
            if connection.in_flight is not None and connection.backend_pid in self._committing:
                return connection
        return None

    def finish(self, connection: Connection) -> None:
        """Let others see what was committed on this connection; the answer follows."""
        self._committing -= {connection.backend_pid}
        connection.finishing = True
        self.backends.cancel(connection.backend_pid)

    def moves_not(self, client: str) -> bool:
        """Does this client wait for a decision, or for another client's lock?"""
        for connection in self.gate.of(client):
            if connection.in_flight is None:
                if connection.spoken_on or (connection.held and not connection.withheld):
                    return True
            elif connection.backend_pid in self._parked and not connection.outwaited:
                return True
        return False

    def at_rest(self, client: str) -> bool:
        """Is nothing of this client's under way, on any connection or in any server process?"""
        return (
            client not in self.busy
            and client not in self.dying.values()
            and all(
                c.in_flight is None and not c.held and c.status == "I" for c in self.gate.of(client)
            )
        )

    def _still(self) -> bool:
        if not all(map(self.moves_not, self.busy)):
            return False
        if any(connection.alive for connection in self.ending()):
            return False
        orphans = {c.backend_pid for c in self.gate.open_connections() if c.left_alone}
        return self._parked.issuperset(self.dying.keys() | orphans)

    def _working(self) -> dict[int, str]:
        """The server processes that have not answered yet, and whose they are."""
        connections = self.gate.open_connections()
        return {c.backend_pid: c.client for c in connections if c.in_flight is not None}

    def _look(self) -> None:
        working = self._working()
        waiting = {*working, *self.dying}
        if self.commits_wait:
            open_ = self.gate.open_connections()
            told = {c.backend_pid for c in open_ if c.finishing}
            self._committing = self.backends.committing(waiting) - told
        locked = parked(waiting - self._committing, self.backends.blockers(waiting))
        self._parked = locked | self._committing
        for pid in locked - self._told:
            self.waits(working.get(pid, "a process that lost its client"))
        self._told = locked
        if self.dying:
            alive = self.backends.alive(self.dying)
            self.dying = {pid: whose for pid, whose in self.dying.items() if pid in alive}
