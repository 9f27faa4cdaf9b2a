"""A database that lastseat created itself: on an embedded server, or on a server of the user's.

On the user's server nothing is read or changed but databases made here, and no process is
signalled but backends connected to them.
"""

import contextlib
import secrets
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import psycopg
from attrs import define, field, frozen
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lastseat.harness import interrupts
from lastseat.harness.mistakes import Mistake
from lastseat.harness.postgres import cluster
from lastseat.harness.postgres import server as servers
from lastseat.harness.postgres.binaries import NEWEST, OLDEST
from lastseat.harness.postgres.server import Server

NAME_PREFIX = "lastseat_"
CONNECT_SECONDS = 10
TERMINATE_MS = 5000
DEADLOCK_TIMEOUT = cluster.SETTINGS["deadlock_timeout"]


NOBODY = "lastseat_nobody"
COMMITS_WAIT: Mapping[str, str] = {
    "synchronous_standby_names": NOBODY,
    "synchronous_commit": "local",
}
"""Settings of an embedded server on which a commit can be held between being done and being seen:
it waits for a standby that never comes, in sessions that ask for that (synchronous_commit=on)."""

Connection = psycopg.Connection[tuple[object, ...]]


class TargetError(Mistake):
    """A server does not serve, or a database of ours could not be removed; says what to do."""


@frozen
class _Facts:
    """What a server says about itself and about us."""

    version: tuple[int, int]
    place: str
    user: str


@define(eq=False)
class Target:
    """Databases of our own, dropped in the end. Use it as a context manager, or close it."""

    server: Server | None
    """The embedded server, None if the user named one."""
    _admin: str
    _facts: _Facts
    _owns_server: bool
    _names: list[str] = field(factory=list, init=False)
    dsn: str = field(default="", init=False)
    """Connection string of the database, for its owner; on an embedded server the superuser."""
    commits_wait: bool = field(default=False, init=False)
    """Was the server started with ``COMMITS_WAIT``?"""
    deadlock_timeout: str = field(default="", init=False)
    """As sessions in the database have it, with its unit."""

    @property
    def version(self) -> tuple[int, int]:
        """The server's major and minor version."""
        return self._facts.version

    @property
    def place(self) -> str:
        """Where the server is: host or socket directory, and port."""
        return self._facts.place

    def describe(self) -> str:
        """One line for reports, without secrets."""
        origin = self.server.binaries.source if self.server else "--dsn"
        note = ""
        if self.deadlock_timeout != DEADLOCK_TIMEOUT:
            note = f", deadlock_timeout {self.deadlock_timeout} (not ours to set)"
        major, minor = self.version
        return (
            f"PostgreSQL {major}.{minor} ({origin}) at {self.place}, "
            f"database {self._names[0] if self._names else '-'}{note}"
        )

    def new_database(self) -> str:
        """Create one more empty database; its connection string. Raises TargetError.

        It is dropped with the others when the target is closed.
        """
        name = NAME_PREFIX + secrets.token_hex(6)
        dsn = make_conninfo(self._admin, dbname=name)
        # Not template1: on the user's server it may hold anything, or be in use.
        create = sql.SQL(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        ).format(sql.Identifier(name))
        self._names.append(name)
        try:
            with _connect(self._admin) as connection:
                connection.execute(create)
                # Needs a right that only superusers have by default; where it is missing, the
                # server's own value holds, and `describe` tells.
                with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                    connection.execute(
                        sql.SQL("ALTER DATABASE {} SET deadlock_timeout = {}").format(
                            sql.Identifier(name), sql.Literal(DEADLOCK_TIMEOUT)
                        )
                    )
        except psycopg.Error as error:
            raise TargetError(f"cannot create a database at {self.place}: {error}") from error
        return dsn

    def over_tcp(self, dsn: str) -> str:
        """One of the databases, reached as every driver can: not over a socket in a folder.

        On the user's server it is reached as the user said.
        """
        if self.server is None:
            return dsn
        return self.server.dsn(str(conninfo_to_dict(dsn)["dbname"]), tcp=True)

    def for_others(self) -> str:
        """A dsn by which another process of ours can open a target on the same server."""
        return self._admin if self.server is None else self.server.dsn(tcp=True)

    def close(self) -> None:
        """Drop the databases, with whoever is connected to them. May be called again.

        Raises TargetError if one could not be dropped, which cannot happen to an embedded
        server of the target's own: all its data goes.
        """
        names, self._names = self._names, []
        with interrupts.later():
            if self.server is not None and self._owns_server:
                self.server.close()
            elif self.server is None or self.server.running():
                self._drop(names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except TargetError as failed:
            if error is None:
                raise
            error.add_note(str(failed))  # what went wrong first is what matters

    def _drop(self, names: list[str]) -> None:
        if not names:
            return
        left = list(names)
        try:
            with _connect(self._admin) as connection:
                for name in names:
                    connection.execute(
                        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                            sql.Identifier(name)
                        )
                    )
                    left.remove(name)
        except psycopg.Error as error:
            raise TargetError(
                f"cannot drop {', '.join(left)} at {self.place}: {error}\n"
                "Drop by hand what is still there."
            ) from error


def open_target(
    dsn: str | None = None,
    *,
    server: Server | None = None,
    settings: Mapping[str, str] | None = None,
) -> Target:
    """A new database named lastseat_<random>, empty, dropped when the target is closed.

    With `dsn` on the user's server, which needs PostgreSQL 15 to 18, the right to create
    databases, and a direct connection (no pooler); all of it is checked here. With `server` on
    that embedded one, which stays. Otherwise on an embedded server of its own, started with
    `settings`. Raises TargetError, and what `server.start` raises.
    """
    if sum(given is not None for given in (dsn, server, settings)) > 1:
        raise ValueError("dsn, server and settings exclude each other")
    owns_server = dsn is None and server is None
    if owns_server:
        server = servers.start(settings=settings)
    try:
        admin = dsn if server is None else server.dsn()
        assert admin is not None
        target = Target(server, admin, _look(admin), owns_server)
        try:
            _equip(target)
        except BaseException:
            with contextlib.suppress(TargetError):
                target.close()
            raise
    except BaseException:
        if owns_server and server is not None:
            server.close()
        raise
    return target


def open_where_commits_meet(dsn: str | None) -> Target:
    """Like ``open_target``; a server of our own is one on which commits can be held, so that two of
    them overlap. On the user's that is not ours to set."""
    return open_target(dsn, settings=None if dsn else COMMITS_WAIT)


def _connect(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS)


def _look(dsn: str) -> _Facts:
    """Whether a server can serve at all; raises TargetError."""
    try:
        with _connect(dsn) as connection:
            info = connection.info
            number = info.server_version
            version = (number // 10000, number % 10000)
            facts = _Facts(version, f"{info.host}:{info.port}", info.user)
            row = connection.execute(
                "SELECT pg_backend_pid(), pg_is_in_recovery(), rolcreatedb OR rolsuper"
                " FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            announced_pid = info.backend_pid
    except psycopg.Error as error:
        raise TargetError(f"cannot connect with the given dsn: {error}") from error
    except UnicodeEncodeError as error:
        raise TargetError("the given dsn is not UTF-8") from error
    if not OLDEST <= version[0] <= NEWEST:
        raise TargetError(
            f"{facts.place} is PostgreSQL {version[0]}; lastseat needs {OLDEST} to {NEWEST}."
        )
    if row is None or row[0] != announced_pid:
        raise TargetError(
            f"{facts.place} is not PostgreSQL itself: the process that answers is not the one "
            "that was announced. Name the server, not a connection pooler before it."
        )
    if row[1]:
        raise TargetError(f"{facts.place} is a standby; name the primary.")
    if not row[2]:
        raise TargetError(
            f"{facts.user} may not create databases at {facts.place}. lastseat works only in a "
            f'database that it created itself: ALTER ROLE "{facts.user}" CREATEDB, or name '
            "another user."
        )
    return facts


def _equip(target: Target) -> None:
    """Give a target its first database, and find out what can be done in it."""
    target.dsn = target.new_database()
    try:
        with _connect(target.dsn) as connection:
            standbys = connection.execute("SHOW synchronous_standby_names").fetchone()
            target.commits_wait = standbys == (NOBODY,)
            row = connection.execute("SHOW deadlock_timeout").fetchone()
            assert row is not None
            target.deadlock_timeout = str(row[0])
            if target.server is None:
                _check_backends(connection, target.dsn)
    except psycopg.Error as error:
        raise TargetError(f"cannot use a new database at {target.place}: {error}") from error


def _check_backends(connection: Connection, dsn: str) -> None:
    """Prove that our own backends can be seen and ended; raises TargetError if not."""
    with _connect(dsn) as victim:
        pid = victim.info.backend_pid
        seen = connection.execute(
            "SELECT backend_start IS NOT NULL FROM pg_stat_activity WHERE pid = %s", (pid,)
        ).fetchone()
        ended = connection.execute(
            "SELECT pg_terminate_backend(%s, %s)", (pid, TERMINATE_MS)
        ).fetchone()
    if seen != (True,) or ended != (True,):
        raise TargetError(
            "The user of the dsn cannot see and terminate its own sessions "
            "(pg_stat_activity, pg_terminate_backend), which faults and audits need."
        )
