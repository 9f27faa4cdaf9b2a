"""Which error PostgreSQL can answer to which statement; what it cannot is not injected.

What is not excluded is possible. Each exclusion has its source: a page of PostgreSQL's
documentation, a source file, or an experiment that tests/harness/faults/test_possible.py repeats.
"""

from __future__ import annotations

import enum
import functools
import itertools
from collections.abc import Callable, Iterable

from attrs import frozen

from lastseat.harness.gate.isolation import Level
from lastseat.harness.gate.sql import Kind, classify, prepared_transaction, tokens


class Stmt(enum.Enum):
    """Kinds of statements, as far as their errors differ; the values are for people."""

    BEGIN = "`BEGIN`"
    SET = "`SET`, a ping"
    READ = "read"
    LOCK = "locking read, `LOCK`"
    ADVISORY = "advisory lock"
    WRITE = "write"
    CALL = "call of a function"
    SAVEPOINT = "`SAVEPOINT`"
    RELEASE = "`RELEASE`"
    ROLLBACK_TO = "`ROLLBACK TO`"
    COMMIT = "`COMMIT` of writes"
    EMPTY_COMMIT = "`COMMIT` of nothing"
    ROLLBACK = "`ROLLBACK`"
    PREPARE = "`PREPARE TRANSACTION`"
    FINISH = "`COMMIT PREPARED`, `ROLLBACK PREPARED`"


ENDS = frozenset({Stmt.COMMIT, Stmt.EMPTY_COMMIT, Stmt.PREPARE})
"""When one of these fails in its own work, no transaction is left."""

_COMMITS = frozenset({Stmt.COMMIT, Stmt.PREPARE})
_CONTROL = frozenset(
    {
        *(Stmt.BEGIN, Stmt.SET, Stmt.SAVEPOINT, Stmt.RELEASE),
        *(Stmt.ROLLBACK_TO, Stmt.ROLLBACK, Stmt.EMPTY_COMMIT),
    }
)
"""They touch no table, and confirm nothing."""


@frozen
class Database:
    """What a schema allows to happen.

    ``deferred``: whether constraints or triggers can wait for the commit; ``partitioned``: whether
    rows can move between partitions; ``triggered``: the tables with triggers of the user's;
    ``known``: the server's own functions and keywords.
    """

    deferred: bool = False
    partitioned: bool = False
    triggered: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()


@frozen
class Circumstances:
    """Where a statement stands.

    ``wrote`` asks the server whether the open transaction may have written, ``has_id`` whether it
    has written or locked rows.
    """

    database: Database = Database()
    level: Level = Level.READ_COMMITTED
    wrote: Callable[[], bool] = lambda: False
    has_id: Callable[[], bool] = lambda: False


@frozen
class Unless:
    """When something that is excluded is possible all the same."""

    words: str
    holds: Callable[[Circumstances], bool]


@frozen
class Exclusion:
    """What cannot be answered to which statements, and how that is known."""

    sqlstates: frozenset[str]
    statements: frozenset[Stmt]
    why: str
    source: str
    unless: Unless | None = None

    def excludes(self, sqlstate: str, statement: Stmt) -> bool:
        """Whether it speaks of this answer to this statement."""
        return sqlstate in self.sqlstates and statement in self.statements

    def stands(self, where: Circumstances) -> bool:
        """Whether nothing makes it possible here."""
        return self.unless is None or not self.unless.holds(where)


def _moves(where: Circumstances) -> bool:
    return where.level > Level.READ_COMMITTED or where.database.partitioned


_SERIALIZABLE = Unless(
    "the transaction is SERIALIZABLE", lambda where: where.level is Level.SERIALIZABLE
)
_ABOVE = Unless("the transaction is above READ COMMITTED, or a table is partitioned", _moves)
_DEFERRED = Unless("a constraint or a trigger is deferrable", lambda where: where.database.deferred)
_CHECKED_AT_COMMIT = Unless(
    "the transaction is SERIALIZABLE; or a constraint or a trigger is deferrable, and what it does"
    " can be answered so",
    lambda where: where.level is Level.SERIALIZABLE or (where.database.deferred and _moves(where)),
)
_FIRST = Unless("nothing was written or locked before", lambda where: not where.has_id())


def _never(
    sqlstates: str,
    statements: Iterable[Stmt],
    why: str,
    source: str,
    unless: Unless | None = None,
) -> Exclusion:
    return Exclusion(frozenset(sqlstates.split()), frozenset(statements), why, source, unless)


EXCLUSIONS: tuple[Exclusion, ...] = (
    _never(
        "40001",
        {*_CONTROL, Stmt.ADVISORY},
        "it reads and writes no row, and confirms none; so does a doomed transaction's",
        "predicate.c: conflicts are checked where rows are read or written, and before a commit;"
        " experiment",
    ),
    _never(
        "40001",
        {Stmt.FINISH},
        "what is prepared can no longer be the victim",
        "predicate.c, SxactIsPrepared: another transaction is cancelled instead",
    ),
    _never(
        "40001",
        {Stmt.READ},
        "a plain read has no serialization conflict",
        "documentation, Repeatable Read Isolation Level; experiment",
        _SERIALIZABLE,
    ),
    _never(
        "40001",
        {Stmt.LOCK, Stmt.WRITE, Stmt.CALL},
        "a row that was changed meanwhile is read again",
        "documentation, Read Committed Isolation Level; nodeModifyTable.c and nodeLockRows.c: but"
        " not where it has moved to another partition; experiment",
        _ABOVE,
    ),
    _never(
        "40001",
        _COMMITS,
        "there is nothing that it could find",
        "xact.c: a commit fires deferred triggers, then asks predicate.c; experiment",
        _CHECKED_AT_COMMIT,
    ),
    _never(
        "40P01 55P03",
        {*_CONTROL, Stmt.FINISH},
        "it waits for no lock",
        "lock.c: both come from a wait for a heavyweight lock, and these take none",
    ),
    _never(
        "40P01 55P03",
        _COMMITS,
        "it waits for no lock",
        "xact.c: only deferred constraints and triggers take locks in a commit; experiment",
        _DEFERRED,
    ),
    _never(
        "53100",
        {*_CONTROL, Stmt.ADVISORY, Stmt.FINISH},
        "it writes no data and no temporary file",
        "xact.c, twophase.c: they write to the log, and a full log is a PANIC",
    ),
    _never(
        "53100",
        _COMMITS,
        "it writes to the log only, and a full log is a PANIC",
        "xlog.c; deferred constraints and triggers may write more",
        _DEFERRED,
    ),
    _never(
        "25006",
        {*_CONTROL, Stmt.READ, Stmt.ADVISORY},
        "a read-only session may do it",
        "documentation, Hot Standby, User's Overview; experiment",
    ),
    _never(
        "25006",
        _COMMITS,
        "what has written is not read-only",
        "documentation, Hot Standby, User's Overview: a standby gives no transaction id",
    ),
    _never(
        "25006",
        {Stmt.LOCK, Stmt.WRITE, Stmt.CALL},
        "a transaction that may write once may write again",
        "variable.c, check_transaction_read_only: it is decided when a transaction begins",
        _FIRST,
    ),
    _never(
        "P0001",
        {*_CONTROL, Stmt.READ, Stmt.LOCK, Stmt.ADVISORY, Stmt.FINISH},
        "it fires no trigger",
        "documentation, CREATE TRIGGER: INSERT, UPDATE, DELETE and TRUNCATE do, at once or, where"
        " the trigger is deferred, at the commit",
    ),
    _never(
        "23505 23514",
        {*Stmt} - {Stmt.WRITE, Stmt.CALL},
        "it writes no row; constraints that are deferred to the commit are not looked for",
        "documentation, Constraints",
    ),
    _never(
        "58030",
        {*_CONTROL, Stmt.ADVISORY},
        "it writes no log that must be on disk",
        "xact.c: no flush without a transaction id; bufmgr.c: reads and writes may have to flush",
    ),
)


ANSWERS = (
    *("40001", "40P01", "55P03", "57014", "53200", "53100", "25006", "P0001"),
    *("23505", "23514", "58030"),
)
"""The SQLSTATEs of errors that are injected in a statement's place; 58030 is a PANIC."""


def possible(sqlstate: str, statement: Stmt, where: Circumstances) -> bool:
    """Whether PostgreSQL can answer this statement so."""
    return not any(
        exclusion.excludes(sqlstate, statement) and exclusion.stands(where)
        for exclusion in EXCLUSIONS
    )


_ADVISORY = ("pg_advisory_", "pg_try_advisory_")
_BY_KIND = {
    Kind.BEGIN: Stmt.BEGIN,
    Kind.COMMIT: Stmt.COMMIT,
    Kind.ROLLBACK: Stmt.ROLLBACK,
    Kind.PREPARE_TRANSACTION: Stmt.PREPARE,
    Kind.WRITE: Stmt.WRITE,
    Kind.UNSURE: Stmt.CALL,
}
_SAVEPOINTS = {"SAVEPOINT": Stmt.SAVEPOINT, "RELEASE": Stmt.RELEASE}


def statement_of(sql: str, where: Circumstances) -> Stmt:
    """What kind of statement this is, and for a COMMIT, of what."""
    statement = _statement_of(sql, where.database.known)
    return Stmt.EMPTY_COMMIT if statement is Stmt.COMMIT and not where.wrote() else statement


@functools.lru_cache(maxsize=4096)
def _statement_of(sql: str, known: frozenset[str]) -> Stmt:
    kind = classify(sql, known)
    words = [text.upper() for name, text in tokens(sql) if name == "word"]
    if kind in {Kind.COMMIT, Kind.ROLLBACK} and prepared_transaction(sql) is not None:
        return Stmt.FINISH
    if kind is Kind.SAVEPOINT:
        return _SAVEPOINTS.get(words[0], Stmt.ROLLBACK_TO)
    if any(word.lower().startswith(_ADVISORY) for word in words):
        return Stmt.ADVISORY
    if kind is Kind.READ:
        return Stmt.LOCK if words[0] == "LOCK" or _locks_rows(words) else Stmt.READ
    if kind is Kind.NEUTRAL:  # also a look into the system catalog
        return Stmt.READ if "FROM" in words else Stmt.SET
    return _BY_KIND[kind]


def _locks_rows(words: list[str]) -> bool:
    pairs = set(itertools.pairwise(words))
    return bool(pairs & {("FOR", "UPDATE"), ("FOR", "NO"), ("FOR", "SHARE"), ("FOR", "KEY")})
