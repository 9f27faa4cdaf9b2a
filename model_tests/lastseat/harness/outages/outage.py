"""What an outage is: what it needs, what it does to a server, and the proof that it happened.

Outages strike a running server while clients that know nothing of it go on. They know nothing of
what the clients do there. An outage that was not seen to happen did not happen.
"""

from __future__ import annotations

import enum
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from attrs import Factory, define, field, frozen
from psycopg import sql

from lastseat.harness.postgres.server import Server

OURS = "lastseat outages"
"""The application name of our own sessions, which are spared."""

_CONNECT_SECONDS = 10
_PACE = 0.01
_LINE = re.compile(r"\[(\d+)\] ([0-9A-Z]{5}) .*?(?:ERROR|FATAL|PANIC):")

Session = psycopg.Connection[tuple[object, ...]]


class Need(enum.Enum):
    """What a machine, or the user, must grant; the value says it in words."""

    SERVER = "a server of our own: it is stopped, frozen, or its log is read"
    SMALL_DISK = "a mount namespace, in which the server has a small disk"
    NETWORK = "root, network namespaces, and the programs nsenter and ip"
    STANDBY = "a standby: the program pg_basebackup"


class Way(enum.Enum):
    """How the clients reach the server."""

    TCP = "127.0.0.1"
    SOCKET = "the Unix socket"
    NETWORK = "127.0.0.1 in the server's own network"


@define(eq=False)
class Site:
    """Where an outage strikes: a server, one database on it, and the clients' processes."""

    server: Server | None
    """None: the user's own, of which only our database is ours."""
    dbname: str
    admin_dsn: str
    clients: Callable[[], Sequence[int]]
    """The process ids of the clients, as far as they have any."""
    rng: random.Random
    standby: Server | None = None
    evidence: list[str] = Factory(list)
    """What was seen to happen, in words."""
    log_from: int = 0
    _ours: set[int] = field(factory=set)

    @property
    def own(self) -> Server:
        """The server, where it is our own."""
        assert self.server is not None
        return self.server

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session of ours in the database, spared by what ends the others."""
        dsn = self.admin_dsn if self.server is None else self.server.dsn(self.dbname)
        with psycopg.connect(
            dsn, autocommit=True, application_name=OURS, connect_timeout=_CONNECT_SECONDS
        ) as opened:
            opened.execute("SET search_path = pg_catalog")  # a superuser's: nothing of theirs
            self._ours.add(opened.info.backend_pid)
            yield opened

    def others(self, session: Session, *, active: bool = False) -> list[int]:
        """The server processes that serve others in the database."""
        rows = session.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND application_name <> %s"
            " AND (NOT %s OR state = 'active')",
            (OURS, active),
        ).fetchall()
        return [int(str(pid)) for (pid,) in rows]

    def end_others(self, session: Session) -> int:
        """Terminate the server processes of all others; how many there were."""
        others = self.others(session)
        return sum(self.signal(session, "pg_terminate_backend", pid) for pid in others)

    def signal(self, session: Session, function: str, pid: int) -> bool:
        """Call this function of the server on a process of the database; had it an effect?"""
        call = sql.SQL("SELECT {}(%s)").format(sql.Identifier(function))
        return session.execute(call, (pid,)).fetchone() == (True,)

    def tables(self, session: Session) -> list[sql.Identifier]:
        """The tables in the database, which are all somebody else's."""
        rows = session.execute(
            "SELECT schemaname::text, tablename::text FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
        ).fetchall()
        return [sql.Identifier(str(schema), str(table)) for schema, table in rows]

    def mark(self) -> None:
        """From here on the log is read for evidence."""
        self.evidence.clear()
        self._ours.clear()
        self.log_from = 0 if self.server is None else self.server.log.stat().st_size

    def logged(self, *sqlstates: str) -> int:
        """How often the server has told others an error of these SQLSTATEs since ``mark``."""
        with self.own.log.open("rb") as log:
            log.seek(self.log_from)
            text = log.read().decode(errors="replace")
        found = (match.groups() for match in map(_LINE.search, text.splitlines()) if match)
        return sum(code in sqlstates and int(pid) not in self._ours for pid, code in found)

    def set_default(self, session: Session, name: str, value: str | None) -> None:
        """What this setting is in sessions that begin from now on; None: as before."""
        database, setting = sql.Identifier(self.dbname), sql.Identifier(name)
        if value is None:
            command = sql.SQL("ALTER DATABASE {} RESET {}").format(database, setting)
        else:
            command = sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, setting, value)
        session.execute(command)


@frozen
class Outage:
    """``strike`` returns when all is whole again; ``proof`` says what was seen of it, if it was."""

    name: str
    words: str
    stands_for: str
    """What happens like this in real life."""
    strike: Callable[[Site], None]
    proof: Callable[[Site], str | None]
    needs: frozenset[Need] = frozenset({Need.SERVER})
    way: Way = field(default=Way.TCP, kw_only=True)
    fences: bool = field(default=False, kw_only=True)
    """Do all of the server's processes end by it?"""
    synchronous: bool | None = field(default=None, kw_only=True)
    """Of those that need a standby: does every commit wait for it?"""
    oldest: int = field(default=0, kw_only=True)
    """The major version of PostgreSQL from which on it can happen."""
    reaches_all: bool = field(default=True, kw_only=True)
    """Whether it can happen to every implementation. What only changes a default does not happen
    to one that sets this itself."""


def seen(site: Site) -> str | None:
    """Proof by what the outage itself has seen."""
    return "; ".join(site.evidence) or None


def told(*sqlstates: str) -> Callable[[Site], str | None]:
    """Proof by the server's log: it has told clients an error of one of these SQLSTATEs."""

    def proof(site: Site) -> str | None:
        count = site.logged(*sqlstates)
        return f"the server's log has {' or '.join(sqlstates)} {count} times" if count else None

    return proof


def until(condition: Callable[[], object], seconds: float) -> bool:
    """Wait until it is so, for so long at most; is it?"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(_PACE)
    return True


def stopped(pid: int) -> bool:
    """Does the kernel say that this process is stopped?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False
