"""One connection as an observer knows it: its transaction, and where its attempt stands."""

from __future__ import annotations

from attrs import Factory, define, frozen

from lastseat.harness.gate.turns import Turn
from lastseat.harness.judge.savepoints import Savepoints
from lastseat.spec.events import Phase
from lastseat.spec.visibility import Does, Exchange


@define
class Line:
    """What is known of a connection."""

    client: str
    backend_pid: int = 0
    """Of its server process; 0 if it is not known."""
    gone: bool = False
    """Whether it has ended. Its client may still say what it meant to do on it."""
    unnoticed: bool = False
    """Whether it was lost while its client waited for nothing."""
    left: bool = False
    """Whether its client has let go of it."""
    open: bool = False
    """Whether there is a transaction that the client has begun."""
    implicit: bool = False
    """Whether there is one that the server has begun, and ends with the batch."""
    transaction: int = 0
    writes: set[int] = Factory(set)
    """The exchanges of the open transaction that wrote something, or may have, and stand."""
    savepoints: Savepoints = Factory(Savepoints)
    arrived: dict[int, tuple[Turn, int]] = Factory(dict)
    """The turns that the client has said and the gate still holds, by number, and when it did."""
    pending: list[int] = Factory(list)
    """The exchanges of the turn that the server works on, by their index."""
    undecided: dict[int, str | None] = Factory(dict)
    """Commits that were answered and not confirmed yet: after Flush the server still owes
    ReadyForQuery. Their tags; None where it did not execute them."""
    failed: str | None = None
    """The error for which the server skips the rest of a batch."""
    unsure: bool = False
    """Whether the turn in flight may or may not write; the server is asked when it has answered."""
    withheld: dict[int, list[int]] = Factory(dict)
    """The exchanges of turns that are stuck in the network, by the turn's number."""
    unanswered: bool = False
    """Whether its client waits for what will not come."""
    given_up: bool = False
    """Whether it has been told that its client waits no longer."""
    begun: str | None = None
    """The attempt that has touched a relation on this connection."""
    ended: str | None = None
    """The attempt whose transaction has ended on it."""
    committed: str | None = None
    """The attempt whose commit was confirmed on it."""
    phase: Phase = Phase.CONNECT
    """Where in its attempt's life the last turn stands."""

    def at_rest(self) -> Line:
        """What stays true of the connection when its client's attempts are over."""
        return Line(
            self.client,
            self.backend_pid,
            gone=self.gone,
            left=self.left,
            open=self.open,
            implicit=self.implicit,
            failed=self.failed,
        )


@frozen
class Prepared:
    """A transaction that waits for the second phase of its commit, on no connection."""

    attempt: str
    transaction: int
    writes: frozenset[int]


def phase_of(line: Line, exchange: Exchange, *, wrote: bool, gives_back: bool) -> Phase:
    """Where a statement stands in its attempt's life; ``wrote``: its transaction certainly has.

    What only clears up decides nothing, and what was decided before it stays decided: the end of a
    transaction that wrote nothing, what gives something back (a savepoint behind which nothing is
    written, a cursor, a setting), what asks nothing outside a transaction, as a pool's reset, and
    all that follows a confirmed commit.
    """
    if exchange.does in {Does.READ, Does.WRITE}:
        line.begun = exchange.attempt
    if exchange.commits and wrote:
        return Phase.COMMIT
    if line.begun != exchange.attempt:
        return Phase.CONNECT
    ends = exchange.does in {Does.COMMIT, Does.ROLLBACK}
    asks_nothing = exchange.does is Does.OTHER and (
        gives_back or not line.open or line.ended == exchange.attempt
    )
    over = ends or asks_nothing or line.committed == exchange.attempt
    return Phase.CLEANUP if over else Phase.STATEMENT
