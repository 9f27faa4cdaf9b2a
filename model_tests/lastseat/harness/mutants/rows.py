"""Mechanisms that keep no counter: what is booked is the sum of the rows."""

from __future__ import annotations

import contextlib

import psycopg

from lastseat.harness.mutants import bare
from lastseat.harness.mutants.bare import IDS, declare, prepare
from lastseat.harness.mutants.mechanism import factory
from lastseat.impl.attempt import (
    Observation,
    insert_and_commit,
    look_for_own,
    propose,
)
from lastseat.impl.result import Request, Result, UnknownResource
from lastseat.impl.session import Session

__all__ = [
    "AUDIT",
    "IDS",
    "declare",
    "lock_and_sum_at_once",
    "lock_then_sum",
    "prepare",
    "retry_inside",
    "sum_then_insert",
]

AUDIT = bare.ROWS_ONLY

_SUM = """
SELECT capacity, (SELECT coalesce(sum(units), 0)::bigint FROM lastseat.booking AS b
                   WHERE b.resource_id = r.id)
  FROM lastseat.resource AS r WHERE r.id = %s"""
_LOCK = "SELECT id FROM lastseat.resource WHERE id = %s FOR NO KEY UPDATE"


def _look(session: Session, request: Request, sql: str) -> Observation:
    row = session.row(sql, (request.resource_id,))
    if row is None:
        raise UnknownResource(f"there is no resource {request.resource_id!r}")
    return Observation(row[0], row[1], look_for_own(session, request))


def _book(session: Session, request: Request, seen: Observation) -> Result:
    return propose(seen, request) or insert_and_commit(session, request)


@factory
def sum_then_insert(session: Session, request: Request) -> Result:
    """Wrong: the sum is read without a lock, so two may read the same one."""
    session.begin()
    return _book(session, request, _look(session, request, _SUM))


@factory
def lock_and_sum_at_once(session: Session, request: Request) -> Result:
    """Wrong: who waits for the lock goes on with the sum of the snapshot from before the wait."""
    session.begin()
    return _book(session, request, _look(session, request, _SUM + " FOR NO KEY UPDATE"))


def _lock_then_sum(session: Session, request: Request) -> Result:
    """Right: the sum is read by a statement of its own, once the lock is held."""
    session.begin()
    session.row(_LOCK, (request.resource_id,))
    return _book(session, request, _look(session, request, _SUM))


lock_then_sum = factory(_lock_then_sum)


@factory
def retry_inside(session: Session, request: Request) -> Result:
    """Wrong: what the server called a conflict is tried again, and nobody is told."""
    for _ in range(2):
        with contextlib.suppress(
            psycopg.errors.SerializationFailure,
            psycopg.errors.DeadlockDetected,
            psycopg.errors.LockNotAvailable,
        ):
            return _lock_then_sum(session, request)
        session.rollback()
    return _lock_then_sum(session, request)
