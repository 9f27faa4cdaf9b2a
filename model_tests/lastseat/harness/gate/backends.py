"""The server processes behind the gate's connections, seen from beside them.

The watcher is one connection of its own. It asks only about process ids that it is given, and
never signals any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

import psycopg

_BLOCKERS = "SELECT pid, pg_blocking_pids(pid) FROM unnest(%s::int[]) AS pid"
_ALIVE = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s::int[])"
_WROTE = "SELECT backend_xid IS NOT NULL FROM pg_stat_activity WHERE pid = %s"
_HERE = """
    SELECT pid FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend'
       AND pid <> pg_backend_pid()
"""
_TERMINATE = "SELECT pg_terminate_backend(%s)"
_CANCEL = "SELECT pg_cancel_backend(%s)"
_HELD = """
    SELECT DISTINCT pid FROM pg_locks
     WHERE pid = ANY(%s::int[]) AND granted AND locktype <> 'virtualxid'
"""
_KNOWN = """
    SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    UNION SELECT word FROM pg_get_keywords()
"""


class Backends:
    """Looks at server processes, and ends those that it is told to end."""

    def __init__(self, dsn: str) -> None:
        self._watcher = psycopg.connect(dsn, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def blockers(self, pids: Collection[int]) -> Mapping[int, frozenset[int]]:
        """For each of these processes, those that it waits for (also of other databases)."""
        rows = self._watcher.execute(_BLOCKERS, (list(pids),)).fetchall()
        return {pid: frozenset(by) for pid, by in rows}

    def alive(self, pids: Collection[int]) -> frozenset[int]:
        """Those of these processes that still are."""
        rows = self._watcher.execute(_ALIVE, (list(pids),)).fetchall()
        return frozenset(pid for (pid,) in rows)

    def here(self) -> frozenset[int]:
        """Every process that serves somebody in this database, whichever way they came."""
        return frozenset(pid for (pid,) in self._watcher.execute(_HERE).fetchall())

    def has_transaction_id(self, pid: int) -> bool:
        """Has this process's open transaction been given an id, that is, written or locked rows?"""
        row = self._watcher.execute(_WROTE, (pid,)).fetchone()
        return bool(row and row[0])

    def holding_locks(self, pids: Collection[int]) -> frozenset[int]:
        """Those of these processes that hold any lock: none does outside a transaction, but for
        session-level advisory locks."""
        rows = self._watcher.execute(_HELD, (list(pids),)).fetchall()
        return frozenset(pid for (pid,) in rows)

    def terminate(self, pid: int) -> None:
        """Tell this process to end; ``alive`` tells when it has."""
        self._watcher.execute(_TERMINATE, (pid,))

    def cancel(self, pid: int) -> None:
        """Tell this process to give up the statement that it executes."""
        self._watcher.execute(_CANCEL, (pid,))

    def known_names(self) -> frozenset[str]:
        """The names that before a parenthesis are the server's own functions and keywords."""
        return frozenset(name for (name,) in self._watcher.execute(_KNOWN).fetchall())

    def close(self) -> None:
        self._watcher.close()


def parked(waiting: Collection[int], blockers: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """Those processes that will wait until some process outside ``waiting`` moves.

    Every chain of blockers must end at a process that is not itself waiting; a cycle is a deadlock,
    which the server will resolve on its own, so nobody in or behind it is parked yet.
    """
    settled: set[int] = set()
    undecided = {pid: by for pid, by in blockers.items() if by and pid in waiting}
    while True:
        # A process is parked once all that it waits for either stand still or are parked.
        found = {
            pid
            for pid, by in undecided.items()
            if all(blocker not in waiting or blocker in settled for blocker in by)
        }
        if not found:
            return frozenset(settled)
        settled |= found
        for pid in found:
            del undecided[pid]
