"""Outages of what there is only so much of: connections, locks, room on a disk."""

from __future__ import annotations

import time
from contextlib import ExitStack

import psycopg
from psycopg import sql

from lastseat.harness.outages.outage import Need, Outage, Session, Site, told, until

_PAUSE = 0.05
_PATIENCE = 10.0
_MORE_LOCKS = 1_000_000
_SPACE = "lastseat_small"


def _connections(site: Site) -> None:
    """We take every connection there is, also those of the clients."""
    with site.session() as session, ExitStack() as stack:
        end = time.monotonic() + _PATIENCE
        while not site.logged("53300") and time.monotonic() < end:
            _fill(site, stack)
            site.end_others(session)
            time.sleep(_PAUSE)
        time.sleep(_PAUSE)


def _fill(site: Site, stack: ExitStack) -> None:
    while True:
        try:
            stack.enter_context(site.session())
        except psycopg.OperationalError:
            return


def _lock_table(site: Site) -> None:
    with site.session() as session:
        try:
            locks = "SELECT pg_advisory_lock(n) FROM generate_series(1, %s) AS n"
            session.execute(locks, (_MORE_LOCKS,))
        except psycopg.errors.OutOfMemory:  # what was taken before stays
            until(lambda: site.logged("53200"), _PATIENCE)
        finally:
            session.close()


def _disk(site: Site) -> None:
    """The tables are moved to the small disk, which is then filled with something else."""
    with site.session() as session:
        tables = site.tables(session)
        session.execute(
            sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(
                sql.Identifier(_SPACE), str(site.own.small_disk)
            )
        )
        try:
            _move(session, tables, _SPACE)
            _fill_disk(session)
            until(lambda: site.logged("53100"), _PATIENCE)
        finally:
            session.execute("DROP TABLE IF EXISTS public.lastseat_filler")
            _move(session, tables, "pg_default")
            session.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(_SPACE)))


def _move(session: Session, tables: list[sql.Identifier], where: str) -> None:
    for table in tables:
        move = sql.SQL("ALTER TABLE {} SET TABLESPACE {}").format(table, sql.Identifier(where))
        session.execute(move)


def _fill_disk(session: Session) -> None:
    session.execute(
        sql.SQL("CREATE TABLE public.lastseat_filler (n bigint) TABLESPACE {}").format(
            sql.Identifier(_SPACE)
        )
    )
    for rows in (10_000, 1_000, 100, 10, 1):
        try:
            while True:
                session.execute(
                    "INSERT INTO public.lastseat_filler SELECT generate_series(1, %s)", (rows,)
                )
        except psycopg.errors.DiskFull:
            pass


SCARCITY = (
    Outage(
        "connections-exhausted",
        "somebody else has every connection of max_connections",
        "a pool that leaks, a deployment that doubles",
        _connections,
        told("53300"),
    ),
    Outage(
        "lock-table-full",
        "somebody else has every entry of the lock table",
        "advisory locks that are never given back",
        _lock_table,
        told("53200"),
    ),
    Outage(
        "disk-full",
        "the disk with the tables is full",
        "a disk that is full",
        _disk,
        told("53100"),
        frozenset({Need.SERVER, Need.SMALL_DISK}),
    ),
)
