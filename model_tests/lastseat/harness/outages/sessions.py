"""Outages of single sessions: cancelled, terminated, timed out, or in each other's way."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from lastseat.harness.outages.outage import Need, Outage, Session, Site, seen, told, until

_ROUNDS = 10
_PAUSE = 0.05
_PATIENCE = 5.0
_SHORT = "40ms"
_ANYWHERE: frozenset[Need] = frozenset()


def _terminate(site: Site) -> None:
    with site.session() as session:
        ended = 0
        for _ in range(_ROUNDS):
            ended += site.end_others(session)
            time.sleep(_PAUSE)
    if ended:
        site.evidence.append(f"pg_terminate_backend was true for {ended} server processes")


@contextmanager
def _holding(site: Site, limit: str | None = None) -> Iterator[None]:
    """Nobody writes meanwhile: every table is locked, as by a migration that has no ``limit``."""
    with site.session() as session:
        if limit is not None:
            session.execute(sql.SQL("SET {} = 0").format(sql.Identifier(limit)))
        # Whoever meets us in a deadlock is to lose it.
        session.execute("SET deadlock_timeout = '10s'")
        with session.transaction():
            for table in site.tables(session):
                session.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(table))
            yield


def _cancel(site: Site) -> None:
    """Statements that wait for a lock can be met for sure."""
    with site.session() as session:
        for _ in range(_ROUNDS):
            with _holding(site):
                until(lambda: site.others(session, active=True), _PAUSE)
                for pid in site.others(session, active=True):
                    site.signal(session, "pg_cancel_backend", pid)
                time.sleep(_PAUSE)
            if site.logged("57014"):
                return


@contextmanager
def _default(site: Site, session: Session, name: str, value: str) -> Iterator[None]:
    """New sessions have this setting; all others are ended, before and afterwards."""
    site.set_default(session, name, value)
    try:
        site.end_others(session)
        yield
    finally:
        site.set_default(session, name, None)
        site.end_others(session)


def _limited_while_held(name: str, sqlstate: str) -> Callable[[Site], None]:
    def strike(site: Site) -> None:
        with site.session() as session, _default(site, session, name, _SHORT):
            time.sleep(_PAUSE)  # everybody is back, and in the midst of it
            with _holding(site, name):
                until(lambda: site.logged(sqlstate), _PATIENCE)

    return strike


def _limited_while_frozen(name: str, sqlstate: str) -> Callable[[Site], None]:
    """The clients stand still, wherever they are: the server loses patience with them."""

    def strike(site: Site) -> None:
        with site.session() as session, _default(site, session, name, "20ms"):
            for _ in range(4 * _ROUNDS):
                time.sleep(site.rng.uniform(0, 0.02))
                with _frozen(site.clients()):
                    time.sleep(_PAUSE)
                if site.logged(sqlstate):
                    return

    return strike


@contextmanager
def _frozen(pids: Sequence[int]) -> Iterator[None]:
    try:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _deadlock(site: Site) -> None:
    """We take one table and then another, against whatever order the clients have.

    The server looks for deadlocks on their behalf, and does so before their time is up.
    """
    with site.session() as session, _default(site, session, "deadlock_timeout", _SHORT):
        session.execute("SET deadlock_timeout = '10s'")
        for first, second in itertools.islice(
            itertools.cycle(itertools.permutations(site.tables(session), 2)), 8 * _ROUNDS
        ):
            with suppress(psycopg.errors.DeadlockDetected), session.transaction():
                for table in (first, second):
                    lock = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table)
                    session.execute(lock)
                    time.sleep(_PAUSE / 2)
            if site.logged("40P01"):
                return


def _serializable(site: Site) -> None:
    with (
        site.session() as session,
        _default(site, session, "default_transaction_isolation", "serializable"),
    ):
        until(lambda: site.logged("40001"), 1.0)


SESSIONS = (
    Outage(
        "terminate",
        "all sessions are ended by pg_terminate_backend, again and again",
        "an administrator, a pooler's restart, a fail-over that drains",
        _terminate,
        seen,
        _ANYWHERE,
    ),
    Outage(
        "cancel",
        "statements that wait for a lock are ended by pg_cancel_backend",
        "an administrator who helps",
        _cancel,
        told("57014"),
    ),
    Outage(
        "statement-timeout",
        "statements wait for a lock until statement_timeout ends them",
        "a migration that holds the tables, and a limit that was set for everybody",
        _limited_while_held("statement_timeout", "57014"),
        told("57014"),
        reaches_all=False,
    ),
    Outage(
        "lock-timeout",
        "statements wait for a lock until lock_timeout ends them",
        "a migration that holds the tables, and a limit on waiting for locks",
        _limited_while_held("lock_timeout", "55P03"),
        told("55P03"),
        reaches_all=False,
    ),
    Outage(
        "transaction-timeout",
        "transactions wait for a lock until transaction_timeout ends their sessions",
        "a migration that holds the tables, and a limit on transactions",
        _limited_while_held("transaction_timeout", "25P04"),
        told("25P04"),
        oldest=17,
        reaches_all=False,
    ),
    Outage(
        "idle-in-transaction-timeout",
        "clients stand still in a transaction until the server ends their sessions",
        "a garbage collection, a virtual machine that is moved",
        _limited_while_frozen("idle_in_transaction_session_timeout", "25P03"),
        told("25P03"),
        reaches_all=False,
    ),
    Outage(
        "idle-timeout",
        "clients stand still outside a transaction until the server ends their sessions",
        "a quiet night",
        _limited_while_frozen("idle_session_timeout", "57P05"),
        told("57P05"),
    ),
    Outage(
        "deadlock",
        "somebody locks the tables in the other order, and the clients lose the deadlock",
        "a job that writes the same tables",
        _deadlock,
        told("40P01"),
    ),
    Outage(
        "serialization-failure",
        "transactions are SERIALIZABLE by default, and some fail for it",
        "an administrator who wants it safer",
        _serializable,
        told("40001"),
        reaches_all=False,
    ),
)
