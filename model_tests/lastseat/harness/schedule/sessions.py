"""Follows the transactions of all connections, and tells what each move has touched.

A statement touches the things that it names: the identifiers that its caller knows by name, among
its parameters and literals. One that names none, or that looks at more than it names, may touch
everything; so may what calls a function of the user's, and what writes to a table on which
there is a trigger of the user's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from copy import copy

from attrs import Factory, define

from lastseat.harness.gate.events import Answered, Broken, GateEvent, Sent
from lastseat.harness.gate.isolation import Isolation, Level
from lastseat.harness.gate.sql import Kind, classify, tokens
from lastseat.harness.gate.turns import Answer, Statement, Turn
from lastseat.harness.schedule.confined import confined
from lastseat.harness.schedule.footprint import ALL, NONE, NOTHING, Footprint, Things

_LOCKING = frozenset({"FOR"})
_TABLES = frozenset({"LOCK"})
_NOT_BY_NAME = frozenset({"OR", "NOT", "<>", "!=", "LIKE", "ILIKE", "NOTNULL", "EXCEPT"})
_SEQUENCES = frozenset({"nextval", "setval", "currval", "lastval"})
_ABOVE = re.compile(
    r"ISOLATION\s+LEVEL\s+(?!READ)|DEFAULT_TRANSACTION_ISOLATION|SET_CONFIG", re.IGNORECASE
)
_ADVISORY = re.compile(r"\bpg_(try_)?advisory_", re.IGNORECASE)
ADVISORY: Things = frozenset({"an advisory lock"})


@define
class _Session:
    held: Things = NONE
    """What its open transaction has written or locked."""
    snapshot: bool = False
    """Has it ever spoken of an isolation level above READ COMMITTED?"""
    asked: Footprint = NOTHING
    """What the statements touch that it was given last."""
    isolation: Isolation = Factory(Isolation)


@define
class Sessions:
    """``above``: do sessions start above READ COMMITTED? ``triggers``: tables that have some;
    ``known``: the server's own functions and keywords; ``deferred``: are there triggers that wait
    for the commit?"""

    above: bool = False
    triggers: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    deferred: bool = False
    starts: Level = Level.READ_COMMITTED
    """At which isolation level sessions start."""
    commits_work: bool = False
    """Has a commit been seen that does more than to end what earlier turns have done?"""
    _sessions: dict[int, _Session] = Factory(dict)

    def touched(self, events: Iterable[GateEvent], named: Callable[[str], Things]) -> Footprint:
        """What these events of the gate have touched; ``named`` finds identifiers in a text."""
        touched = NOTHING
        for event in events:
            match event:
                case Sent(turn=turn):
                    touched |= self._sent(self._of(event.connection), turn, named)
                case Answered(answer=answer):
                    touched |= self._answered(self._of(event.connection), answer)
                case Broken():
                    touched |= _ended(self._of(event.connection), aborted=True)
                    touched |= Footprint(commits=ALL)  # or not: its last turn may land yet
        return touched

    def foreseen(self, connection: int, turn: Turn, named: Callable[[str], Things]) -> Footprint:
        """What a turn is going to touch on this connection, if nothing goes wrong."""
        session, touched = self._of(connection), NOTHING
        for statement in turn.statements:
            touched |= self._statement(statement, named)
            if classify(statement.sql, self.known) is Kind.COMMIT:
                touched |= Footprint(commits=session.held) | self._commit_work(session)
        return touched

    def level(self, connection: int, turn: Turn) -> Level:
        """The isolation level in which the last statement of this turn is going to be executed."""
        isolation = copy(self._of(connection).isolation)
        for statement in turn.statements:
            isolation.heard(str(statement))
        return isolation.level

    def _of(self, connection: int) -> _Session:
        fresh = _Session(snapshot=self.above, isolation=Isolation(self.starts))
        return self._sessions.setdefault(connection, fresh)

    def _sent(self, session: _Session, turn: Turn, named: Callable[[str], Things]) -> Footprint:
        """Its snapshot is taken and its locks are asked for, even if it has to wait for them."""
        session.asked = touched = NOTHING
        for statement in turn.statements:
            session.snapshot = session.snapshot or bool(_ABOVE.search(statement.sql))
            session.isolation.heard(str(statement))
            session.asked |= self._statement(statement, named)
            if classify(statement.sql, self.known) is Kind.COMMIT:
                touched |= self._commit_work(session)
        touched |= session.asked
        session.held |= touched.writes
        return touched | Footprint(snapshot=session.snapshot)

    def _answered(self, session: _Session, answer: Answer) -> Footprint:
        # Having waited, it looks again.
        touched = session.asked | Footprint(snapshot=session.snapshot)
        failed = answer.error is not None or answer.status == "E"
        if answer.status == "I":
            session.isolation.ended()
        rolled_back = "ROLLBACK" in answer.tags
        self.commits_work |= self.deferred or (answer.status == "I" and bool(touched.writes))
        if failed or rolled_back or answer.status == "I":
            touched |= _ended(session, aborted=failed or rolled_back)
        return touched

    def _commit_work(self, session: _Session) -> Footprint:
        """What a COMMIT does before anybody sees it: deferred checks, those of SERIALIZABLE."""
        if self.deferred or session.snapshot:
            return Footprint(reads=session.held, writes=session.held)
        return NOTHING

    def _statement(self, statement: Statement, named: Callable[[str], Things]) -> Footprint:
        kind = classify(statement.sql, self.known)
        if _ADVISORY.search(statement.sql):
            # Unlocked before the end of the transaction, or after it: each call may wake somebody.
            return Footprint(NONE, ADVISORY, aborts=ADVISORY)
        if kind in {Kind.BEGIN, Kind.NEUTRAL, Kind.COMMIT, Kind.ROLLBACK}:
            return NOTHING
        if kind is Kind.SAVEPOINT:
            return Footprint(aborts=ALL) if "ROLLBACK" in statement.sql.upper() else NOTHING
        things = self._things(statement, named)
        if kind is Kind.READ and _words(statement.sql)[0] & _TABLES:
            return Footprint(
                ALL, ALL, ALL
            )  # who reads has to wait, too, as if it had been committed
        if kind is Kind.READ and not _words(statement.sql)[0] & _LOCKING:
            return Footprint(reads=things)
        return Footprint(reads=things, writes=things)

    def _things(self, statement: Statement, named: Callable[[str], Things]) -> Things:
        kind = classify(statement.sql, self.known)
        upper, lower = _words(statement.sql)
        if (
            kind not in {Kind.READ, Kind.WRITE}
            or upper & _NOT_BY_NAME
            or lower & _SEQUENCES
            or (kind is Kind.WRITE and lower & self.triggers)
            or not confined(statement.sql)
        ):
            return ALL
        return named(str(statement)) or ALL


@functools.lru_cache(maxsize=4096)
def _words(sql: str) -> tuple[frozenset[str], frozenset[str]]:
    """The words of a statement in capitals; and as names, in small letters and without quotes."""
    words = [word for _, word in tokens(sql)]
    return frozenset(map(str.upper, words)), frozenset(w.strip('"').lower() for w in words)


def _ended(session: _Session, *, aborted: bool) -> Footprint:
    held, session.held = session.held, NONE
    return Footprint(aborts=held) if aborted else Footprint(commits=held)
