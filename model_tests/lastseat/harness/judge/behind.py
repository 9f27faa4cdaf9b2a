"""What attempts leave behind on connections whose clients run nothing any more."""

from __future__ import annotations

from collections.abc import Iterator

from lastseat.harness.gate.backends import Backends
from lastseat.harness.gate.gate import Gate
from lastseat.harness.judge.sight import Sight

_OPEN = "its connection is still in a transaction after the answer"


def left_open(sight: Sight, client: str) -> Iterator[tuple[str, str]]:
    """This client's last attempt, if its connection shows a transaction that it left open."""
    own = sight.last_attempt(client)
    yield from ((attempt, _OPEN) for attempt, _ in sight.at_rest() if attempt == own)


def left_behind(gate: Gate, backends: Backends, sight: Sight) -> Iterator[tuple[str, str]]:
    """Attempts, and in words what they left: an open transaction, a lock, a prepared transaction.

    What is prepared is rolled back, or it would hold its locks for ever.
    """
    for attempt, _ in sight.at_rest():
        yield attempt, _OPEN
    idle = {
        c.backend_pid: sight.last_attempt(c.client)
        for c in gate.open_connections()
        if c.status == "I" and c.in_flight is None
    }
    for pid in backends.holding_locks(idle):
        yield idle[pid] or "", "its connection still holds a lock after the answer"
    if sight.prepared:
        for name in backends.prepared_transactions() & sight.prepared.keys():
            yield sight.prepared[name], f"its transaction «{name}» is still prepared"
            backends.forget_prepared(name)
