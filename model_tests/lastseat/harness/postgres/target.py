"""A database that lastseat created itself: on an embedded server, or on a server of the user's.

On the user's server nothing is read or changed but databases and roles made here, and no process is
signalled but backends connected to them.

Each database has an owner of its own: a role of the same name that is no superuser, may create
neither databases nor roles, and goes with the database. Implementations enter as this role, with a
password that is made up here. What needs more is done on our own side, as the dsn's user.
"""

import contextlib
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
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
_PREFIX_IN = "fallback_application_name"
"""The parameter of a dsn in which one process of ours tells another how to name its databases."""
CONNECT_SECONDS = 10
_STOPPED = 1  # seconds by which a time-out is late where this process was stopped
SILENCE_SECONDS = 120
"""How long a server may take for what is done on one connection: to create a database, say."""
TERMINATE_MS = 5000
_GRANTS_INHERIT = 16
"""The major version from which on a grant says what comes with it."""
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
    dsn: str
    """With all that was found elsewhere: in the environment, a service file, a password file."""
    place: str
    user: str
    superuser: bool
    makes_roles: bool


@define(eq=False)
class Target:
    """Databases of our own, dropped in the end. Use it as a context manager, or close it."""

    server: Server | None
    """The embedded server, None if the user named one."""
    _admin: str
    _facts: _Facts
    _owns_server: bool
    _prefix: str = NAME_PREFIX
    """Of the names of its databases."""
    _others: str = field(default="", init=False)
    """The same in other processes that work on the same server for it, if there are any."""
    _names: list[str] = field(factory=list, init=False)
    _passwords: dict[str, str] = field(factory=dict, init=False, repr=False)
    """Of the owners, by the database."""
    _without_owners: str = field(default="", init=False)
    """Why clients enter as the dsn's own user, if they do."""
    dsn: str = field(default="", init=False)
    """Connection string of the database for our own side; on an embedded server the superuser's."""
    commits_wait: bool = field(default=False, init=False)
    """Was the server started with ``COMMITS_WAIT``?"""
    deadlock_timeout: str = field(default="", init=False)
    """As sessions in the database have it, with its unit."""

    @property
    def version(self) -> tuple[int, int]:
        """The server's major and minor version."""
        return self._facts.version

    @property
    def makes_roles(self) -> bool:
        """Whether databases can have owners of their own."""
        return self._facts.makes_roles

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
        if self._without_owners:
            note += f", clients enter as {self._facts.user} ({self._without_owners})"
        major, minor = self.version
        return (
            f"PostgreSQL {major}.{minor} ({origin}) at {self.place}, "
            f"database {self._names[0] if self._names else '-'}{note}"
        )

    def new_database(self) -> str:
        """Create one more empty database; its connection string. Raises TargetError.

        It is dropped with the others when the target is closed.
        """
        name = self._prefix + secrets.token_hex(6)
        self._names.append(name)
        try:
            with _connect(self._admin) as connection:
                if not self._without_owners:
                    self._passwords[name] = _create_owner(connection, name)
                _create(connection, name, owned=name in self._passwords)
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
        if self._facts.superuser or name not in self._passwords:
            return make_conninfo(self._admin, dbname=name)
        # Else we could not look at what is the owner's, nor end its sessions.
        options = conninfo_to_dict(self._admin).get("options") or ""
        return make_conninfo(self._admin, dbname=name, options=f"{options} -c role={name}".strip())

    def for_clients(self, dsn: str, *, tcp: bool = True) -> str:
        """One of the databases as an implementation enters it: as its owner.

        With ``tcp`` it is reached as every driver can, not over a socket in a folder; on the user's
        server as the user said.
        """
        dbname = str(conninfo_to_dict(dsn)["dbname"])
        if self.server is None:
            given = make_conninfo(self._admin, dbname=dbname)
        else:
            given = self.server.dsn(dbname, tcp=tcp)
        if dbname not in self._passwords:
            return given
        return make_conninfo(given, user=dbname, password=self._passwords[dbname])

    def enter_as_ourselves(self, why: str) -> None:
        """From now on databases have no owner of their own; what was made until now is dropped."""
        names, self._names = self._names, []
        self._drop(names)
        self._passwords.clear()
        self._without_owners = why

    def for_others(self) -> str:
        """A dsn by which another process of ours can open a target on the same server.

        However that process ends, its databases on the user's server end with this target.
        """
        if self.server is not None:
            return self.server.dsn(tcp=True)
        self._others = self._others or f"{NAME_PREFIX}{secrets.token_hex(6)}_"
        return make_conninfo(self._admin, **{_PREFIX_IN: self._others})

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
                self._drop([*names, *self._left_by_others()])

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

    def _left_by_others(self) -> list[str]:
        """Databases of processes that were killed in the middle of their work."""
        if not self._others:
            return []
        found = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) UNION"
        found += " SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)"
        try:
            with _connect(self._admin) as connection:
                rows = connection.execute(found.encode(), (self._others, self._others)).fetchall()
        except psycopg.Error as error:
            raise TargetError(
                f"cannot look at {self.place} for what workers have left: {error}\n"
                f"Drop by hand databases and roles whose names begin with {self._others}."
            ) from error
        return [str(name) for (name,) in rows]

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
                    theirs = bool(self._others) and name.startswith(self._others)
                    if self._passwords.pop(name, None) is not None or theirs:
                        connection.execute(
                            sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))
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
        given = dsn if server is None else server.dsn()
        assert given is not None
        admin, prefix = _prefix_in(given)
        facts = _look(admin)
        target = Target(server, facts.dsn if server is None else admin, facts, owns_server, prefix)
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


def _prefix_in(dsn: str) -> tuple[str, str]:
    """A dsn without the prefix for names that ``for_others`` may have put into it, and the prefix
    that is to be used."""
    try:
        given = conninfo_to_dict(dsn)
        told = str(given.pop(_PREFIX_IN, ""))
        if not re.fullmatch(f"{NAME_PREFIX}[0-9a-f]{{12}}_", told):
            return dsn, NAME_PREFIX
        return make_conninfo("", **given), told
    except (psycopg.ProgrammingError, UnicodeEncodeError):  # which is told when it is connected to
        return dsn, NAME_PREFIX


def open_where_commits_meet(dsn: str | None) -> Target:
    """Like ``open_target``; a server of our own is one on which commits can be held, so that two of
    them overlap. On the user's that is not ours to set."""
    return open_target(dsn, settings=None if dsn else COMMITS_WAIT)


@contextlib.contextmanager
def _connect(dsn: str) -> Iterator[Connection]:
    """A connection for a few statements; raises psycopg.OperationalError if they are not answered
    within SILENCE_SECONDS."""
    with _connection(dsn) as connection:
        over, silent = threading.Event(), threading.Event()
        arguments = connection, over, silent
        watch = threading.Thread(target=_end_silence, args=arguments, daemon=True)
        watch.start()
        try:
            yield connection
        except psycopg.OperationalError as error:
            if not silent.is_set():
                raise
            words = f"it let us in, and has not answered for {SILENCE_SECONDS} s"
            raise psycopg.OperationalError(words) from error
        finally:
            over.set()
            watch.join()


def _connection(dsn: str) -> Connection:
    """A connection in time; it is asked for once more where it came too late because this process
    was stopped meanwhile, or the machine stood still: that is not the server's doing."""
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        return psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS)
    except psycopg.errors.ConnectionTimeout:
        if time.clock_gettime(time.CLOCK_BOOTTIME) - began < CONNECT_SECONDS + _STOPPED:
            raise
        return psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS)


def _end_silence(connection: Connection, over: threading.Event, silent: threading.Event) -> None:
    """Cut the connection when it has been used for too long: who waits on it sees its end.

    Seconds are counted one by one, so that the time in which this process was stopped is not the
    server's.
    """
    for _ in range(SILENCE_SECONDS):
        if over.wait(1):
            return
    silent.set()
    with socket.socket(fileno=os.dup(connection.fileno())) as ours:
        ours.shutdown(socket.SHUT_RDWR)


def _look(dsn: str) -> _Facts:
    """Whether a server can serve at all; raises TargetError."""
    try:
        with _connect(dsn) as connection:
            info = connection.info
            number = info.server_version
            version = (number // 10000, number % 10000)
            place, user = f"{info.host}:{info.port}", info.user
            resolved = _resolved(connection)
            row = connection.execute(
                "SELECT pg_backend_pid(), pg_is_in_recovery(), rolcreatedb OR rolsuper,"
                # Before 16, a role that inherits nothing could not drop what another role owns.
                " rolsuper, rolsuper OR rolcreaterole AND (rolinherit OR %s)"
                " FROM pg_roles WHERE rolname = current_user",
                (version[0] >= _GRANTS_INHERIT,),
            ).fetchone()
            announced_pid = info.backend_pid
    except psycopg.Error as error:
        raise TargetError(f"cannot connect with the given dsn: {error}") from error
    except UnicodeEncodeError as error:
        raise TargetError("the given dsn is not UTF-8") from error
    if not OLDEST <= version[0] <= NEWEST:
        raise TargetError(
            f"{place} is PostgreSQL {version[0]}; lastseat needs {OLDEST} to {NEWEST}."
        )
    if row is None or row[0] != announced_pid:
        raise TargetError(
            f"{place} is not PostgreSQL itself: the process that answers is not the one "
            "that was announced. Name the server, not a connection pooler before it."
        )
    if row[1]:
        raise TargetError(f"{place} is a standby; name the primary.")
    if not row[2]:
        raise TargetError(
            f"{user} may not create databases at {place}. lastseat works only in a "
            f'database that it created itself: ALTER ROLE "{user}" CREATEDB, or name '
            "another user."
        )
    return _Facts(version, resolved, place, user, bool(row[3]), bool(row[4]))


_FILES = frozenset({"service", "servicefile", "passfile"})


def _resolved(connection: Connection) -> str:
    """How this connection was made, in full: others are to need none of our files and variables,
    and to come to the same server where the dsn names several."""
    info = connection.info
    said = {
        option.keyword.decode(): option.val.decode()
        for option in connection.pgconn.info
        if option.val and option.keyword.decode() not in _FILES
    }
    said |= {"host": info.host, "port": str(info.port)}
    if "hostaddr" in said:
        said["hostaddr"] = info.hostaddr
    if info.password:
        said["password"] = info.password
    return make_conninfo("", **said)


def _equip(target: Target) -> None:
    """Give a target its first database, and find out what can be done in it."""
    if not target.makes_roles:
        target.enter_as_ourselves("it may not create roles")
    target.dsn = target.new_database()
    if target.server is None:
        _try_owner(target)
    try:
        with _connect(target.dsn) as connection:
            standbys = connection.execute("SHOW synchronous_standby_names").fetchone()
            target.commits_wait = standbys == (NOBODY,)
            row = connection.execute("SHOW deadlock_timeout").fetchone()
            assert row is not None
            target.deadlock_timeout = str(row[0])
            if target.server is None:
                _check_backends(connection, target.for_clients(target.dsn))
    except psycopg.Error as error:
        raise TargetError(f"cannot use a new database at {target.place}: {error}") from error


def _try_owner(target: Target) -> None:
    """On the user's server a new role may not get in, or we not act as it: then do without."""
    try:
        for dsn in (target.for_clients(target.dsn), target.dsn):
            with _connect(dsn):
                pass
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        target.enter_as_ourselves(f"a role made for them may not: {reason}")
        target.dsn = target.new_database()


def _create_owner(connection: Connection, name: str) -> str:
    """Create the role that is to own the database of this name; its password.

    The server gets a verifier, so that no log of it can hold the password.
    """
    password = secrets.token_hex(16)
    verifier = connection.pgconn.encrypt_password(
        password.encode(), name.encode(), b"scram-sha-256"
    )
    connection.execute(
        sql.SQL(
            "CREATE ROLE {} LOGIN PASSWORD {}"
            " NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        ).format(sql.Identifier(name), sql.Literal(verifier.decode()))
    )
    grant = sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(name))
    if connection.info.server_version // 10000 >= _GRANTS_INHERIT:
        grant += sql.SQL(" WITH INHERIT TRUE, SET TRUE")
    connection.execute(grant)
    return password


def _create(connection: Connection, name: str, *, owned: bool) -> None:
    """Create an empty database; where it is ``owned`` by a role of its name, closed to others."""
    # Not template1: on the user's server it may hold anything, or be in use.
    create = sql.SQL(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    if not owned:
        connection.execute(create.format(sql.Identifier(name)))
        return
    owner = sql.SQL(" OWNER {}").format(sql.Identifier(name))
    connection.execute(create.format(sql.Identifier(name)) + owner)
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def _check_backends(connection: Connection, dsn: str) -> None:
    """Prove that the clients' backends can be seen and ended; raises TargetError if not."""
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
