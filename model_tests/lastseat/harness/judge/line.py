"""One connection as the watcher knows it: its transaction, and where its attempt stands."""

from __future__ import annotations

from attrs import Factory, define, frozen

from lastseat.spec.events import Phase
from lastseat.spec.visibility import Does, Exchange


@define
class Line:
    """What is known of a connection."""

    client: str
    backend_pid: int = 0
    gone: bool = False
    """Has it ended? Its client may still say what it meant to do on it."""
    unnoticed: bool = False
    """Was it lost while its client waited for nothing?"""
    left: bool = False
    """Has its client let go of it?"""
    open: bool = False
    """Is there a transaction that the client has begun?"""
    implicit: bool = False
    """Is there one that the server has begun, and ends with the batch?"""
    transaction: int = 0
    writes: set[int] = Factory(set)
    """The exchanges of the open transaction that wrote something, or may have."""
    pending: list[int] = Factory(list)
    """The exchanges of the turn that the server works on, by their index."""
    undecided: dict[int, str | None] = Factory(dict)
    """Commits that were answered and not confirmed yet: after Flush the server still owes
    ReadyForQuery. Their tags; None where it did not execute them."""
    failed: str | None = None
    """The error for which the server skips the rest of a batch."""
    unsure: bool = False
    """The turn in flight may or may not write; the server is asked when it has answered."""
    withheld: dict[int, list[int]] = Factory(dict)
    """The exchanges of turns that are stuck in the network, by the turn's number."""
    unanswered: bool = False
    """Does its client wait for what will not come?"""
    given_up: bool = False
    """Has it been told that its client waits no longer?"""
    guarded: list[int] | None = None
    """The exchanges since a savepoint that has not ended."""
    begun: str | None = None
    """The attempt that has touched a relation on this connection."""
    ended: str | None = None
    """The attempt whose transaction has ended on it."""
    committed: str | None = None
    """The attempt whose commit was confirmed on it."""
    phase: Phase = Phase.CONNECT
    """Where in its attempt's life the last turn stands."""


@frozen
class Prepared:
    """A transaction that waits for the second phase of its commit, on no connection."""

    attempt: str
    transaction: int
    writes: frozenset[int]


def phase_of(line: Line, exchange: Exchange) -> Phase:
    """Where a statement stands in its attempt's life.

    Ending a transaction that wrote nothing decides nothing: what is answered was decided before. So
    it is with what follows a transaction's end and asks nothing, as a pool's reset, and with all
    that follows a confirmed commit.
    """
    if exchange.does in {Does.READ, Does.WRITE}:
        line.begun = exchange.attempt
    if exchange.commits and line.writes:
        return Phase.COMMIT
    if line.begun != exchange.attempt:
        return Phase.CONNECT
    ends = exchange.does in {Does.COMMIT, Does.ROLLBACK}
    asks_nothing = exchange.does is Does.OTHER and line.ended == exchange.attempt
    over = ends or asks_nothing or line.committed == exchange.attempt
    return Phase.CLEANUP if over else Phase.STATEMENT
