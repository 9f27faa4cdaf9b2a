"""The server processes behind the gate's connections, seen from beside them.

It asks only about process ids that it is given, and never signals any other. Every question is
confined to processes of this database: other databases of the same server are other workers', and
an id that the gate still knows may by now belong to one of their processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lastseat.harness.asking import Asking, array
from lastseat.harness.gate.isolation import Level

PREPARED, ELSEWHERE = 0, -1
"""In the place of a process id: a prepared transaction, which any process of this database may end;
a process of another database, which moves when it likes."""

# Beside locks, a DEFERRABLE transaction waits for SERIALIZABLE ones, those of other databases too.
# Of locks, only NOTIFY's at COMMIT, and those on what databases share, are common to them.
_BLOCKERS = f"""
    SELECT pid, CASE WHEN EXISTS (SELECT FROM pg_stat_get_activity(b) WHERE datid <> here.oid)
                     THEN {ELSEWHERE} ELSE b END
      FROM unnest($1::int[]) AS pid,
           unnest(pg_blocking_pids(pid) || pg_safe_snapshot_blocking_pids(pid)) AS b,
           (SELECT oid FROM pg_database WHERE datname = current_database()) AS here
"""
_OURS = "FROM pg_stat_activity WHERE datname = current_database() AND"
_ALIVE = f"SELECT pid {_OURS} pid = ANY($1::int[])"
# Who locks rows has a transaction id, too, but not this lock on their table, which all that writes
# a table has.
_WROTE = f"""
    SELECT backend_xid IS NOT NULL AND EXISTS (
        SELECT FROM pg_locks AS l LEFT JOIN pg_class AS c ON c.oid = l.relation
         WHERE l.pid = a.pid AND l.database = a.datid AND granted
           AND c.relkind IS DISTINCT FROM 'S'
           AND mode IN ('RowExclusiveLock', 'AccessExclusiveLock'))
      {_OURS.replace("pg_stat_activity", "pg_stat_activity AS a")}
           a.pid = $1::int AND a.state <> 'idle'
"""
_HAS_ID = f"SELECT backend_xid IS NOT NULL {_OURS} pid = $1::int"
_HERE = f"SELECT pid {_OURS} backend_type = 'client backend' AND pid <> pg_backend_pid()"
_TERMINATE = f"SELECT pg_terminate_backend(pid) {_OURS} pid = $1::int"
_COMMITTING = f"SELECT pid {_OURS} pid = ANY($1::int[]) AND wait_event = 'SyncRep'"
_CANCEL = f"SELECT pg_cancel_backend(pid) {_OURS} pid = $1::int"
# Predicate locks (SIReadLock) block nobody, and are not given back at COMMIT: the server keeps them
# while any SERIALIZABLE transaction that overlapped it runs, in whatever database.
_HELD = f"""
    SELECT DISTINCT pid FROM pg_locks
     WHERE granted AND locktype <> 'virtualxid' AND mode <> 'SIReadLock'
       AND pid IN (SELECT pid {_OURS} pid = ANY($1::int[]))
"""
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
_LEVEL = "SELECT current_setting('default_transaction_isolation')"
_TRIGGERED = """
    SELECT DISTINCT relname::text FROM pg_trigger JOIN pg_class AS c ON c.oid = tgrelid
     WHERE NOT tgisinternal
"""
_DEFERRED = "SELECT 1 FROM pg_trigger WHERE NOT tgisinternal AND tgdeferrable LIMIT 1"
_DEFERRABLE = "SELECT 1 FROM pg_constraint WHERE condeferrable LIMIT 1"
_PARTITIONED = "SELECT 1 FROM pg_class WHERE relkind = 'p' LIMIT 1"
_KNOWN = """
    SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    UNION SELECT word FROM pg_get_keywords()
"""
_READERS = """
    WITH reader AS (
        SELECT proname::text AS name, min(nspname::text) AS schema
          FROM pg_proc JOIN pg_namespace AS n ON n.oid = pronamespace
         WHERE nspname NOT IN ('pg_catalog', 'information_schema')
         GROUP BY proname
        HAVING bool_and(prokind = 'f' AND provolatile <> 'v') AND count(DISTINCT nspname) = 1)
    SELECT name FROM reader UNION SELECT schema || '.' || name FROM reader
"""


class Backends:
    """Looks at server processes, and ends those that it is told to end."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    @property
    def asked(self) -> int:
        """How many questions the server has been asked on this connection, audits included."""
        return self._asking.asked

    def blockers(self, pids: Collection[int]) -> Mapping[int, frozenset[int]]:
        """For each of these processes those that it waits for, with PREPARED and ELSEWHERE."""
        found: dict[int, set[int]] = {pid: set() for pid in pids}
        for pid, by in self._asking.ask(_BLOCKERS, array(pids)):
            found[_number(pid)].add(_number(by))
        return {pid: frozenset(by) for pid, by in found.items()}

    def committing(self, pids: Collection[int]) -> frozenset[int]:
        """Those of these processes that have committed, and wait for a standby to confirm it; until
        then nobody else sees what they wrote, and they hold their locks."""
        return self._pids(_COMMITTING, array(pids))

    def alive(self, pids: Collection[int]) -> frozenset[int]:
        """Those of these processes that still are."""
        return self._pids(_ALIVE, array(pids))

    def here(self) -> frozenset[int]:
        """Every process that serves somebody in this database, whichever way they came."""
        return self._pids(_HERE)

    def own_pid(self) -> int:
        """The process that answers these questions."""
        (pid,) = self._pids("SELECT pg_backend_pid()")
        return pid

    def has_written(self, pid: int) -> bool | None:
        """Whether this process's open transaction has changed, or has tried to change, a table;
        that it has locked rows is not enough. None if it is in no transaction any more."""
        found = self._asking.ask(_WROTE, str(pid))
        return found[0][0] == "t" if found else None

    def has_transaction_id(self, pid: int) -> bool:
        """Whether this process's open transaction has written anything, or locked rows."""
        return self._asking.ask(_HAS_ID, str(pid)) == [("t",)]

    def holding_locks(self, pids: Collection[int]) -> frozenset[int]:
        """Those of these processes that hold a lock in which another one could be caught: outside a
        transaction only session-level advisory locks are left, and predicate locks are no such."""
        return self._pids(_HELD, array(pids))

    def terminate(self, pid: int) -> None:
        """Tell this process to end; ``alive`` tells when it has."""
        self._asking.ask(_TERMINATE, str(pid))

    def cancel(self, pid: int) -> None:
        """Tell this process to give up the statement that it executes."""
        self._asking.ask(_CANCEL, str(pid))

    def starts_above_read_committed(self) -> bool:
        """Do this user's sessions in this database begin at a higher isolation level?"""
        return self.default_level() > Level.READ_COMMITTED

    def prepared_transactions(self) -> frozenset[str]:
        """The names of those that wait for the second phase of their commit in this database."""
        return frozenset(name for (name,) in self._asking.ask(_PREPARED) if name)

    def forget_prepared(self, name: str) -> None:
        """Roll such a transaction back: it holds its locks for ever."""
        self._asking.ask("ROLLBACK PREPARED '" + name.replace("'", "''") + "'")

    def triggered_tables(self) -> frozenset[str]:
        """The tables that have triggers other than those of foreign keys."""
        return frozenset(name for (name,) in self._asking.ask(_TRIGGERED) if name)

    def commits_check(self) -> bool:
        """Are there triggers of the user's that wait for the commit?"""
        return bool(self._asking.ask(_DEFERRED))

    def commits_can_fail(self) -> bool:
        """Whether constraints or triggers of the user's may wait for the commit."""
        return self.commits_check() or bool(self._asking.ask(_DEFERRABLE))

    def partitioned(self) -> bool:
        """Whether there is a partitioned table."""
        return bool(self._asking.ask(_PARTITIONED))

    def default_level(self) -> Level:
        """The isolation level at which this user's sessions begin in this database."""
        ((name,),) = self._asking.ask(_LEVEL)
        return Level.parse(name or "")

    def known_names(self) -> frozenset[str]:
        """The names that before a parenthesis are the server's own functions and keywords."""
        return frozenset(name for (name,) in self._asking.ask(_KNOWN) if name)

    def reading_functions(self) -> frozenset[str]:
        """The user's functions that are declared not to write, STABLE or IMMUTABLE, whatever their
        arguments; with and without their schema."""
        return frozenset(name for (name,) in self._asking.ask(_READERS) if name)

    def _pids(self, question: str, *parameters: str) -> frozenset[int]:
        return frozenset(_number(pid) for (pid,) in self._asking.ask(question, *parameters))


def _number(text: str | None) -> int:
    assert text is not None
    return int(text)


def parked(waiting: Collection[int], blockers: Mapping[int, frozenset[int]]) -> frozenset[int]:
    """Those processes that will wait until some process of ours outside ``waiting`` moves.

    Every chain of blockers must end at a process that is not itself waiting; a cycle is a deadlock,
    which the server will resolve on its own, so nobody in or behind it is parked yet. A prepared
    transaction stands still once every process that is waiting is parked: until then, one of them
    may be about to end it. What other databases' processes do is not ours to decide, and so whoever
    waits for them is not parked, but will go on without a decision.
    """
    blocked = {pid: by for pid, by in blockers.items() if by and pid in waiting}
    found = _settled(blocked, {*waiting, ELSEWHERE})
    if found.issuperset(waiting):
        return found
    return _settled(blocked, {*waiting, ELSEWHERE, PREPARED})


def _settled(blocked: Mapping[int, frozenset[int]], moving: Collection[int]) -> frozenset[int]:
    """Those for which every chain of blockers ends at a process that is not among ``moving``."""
    settled: set[int] = set()
    undecided = dict(blocked)
    while True:
        found = {
            pid
            for pid, by in undecided.items()
            if all(blocker not in moving or blocker in settled for blocker in by)
        }
        if not found:
            return frozenset(settled)
        settled |= found
        for pid in found:
            del undecided[pid]
