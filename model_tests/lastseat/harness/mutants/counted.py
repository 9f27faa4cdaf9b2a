"""Mechanisms that move a counter beside the rows themselves."""

from __future__ import annotations

from lastseat.harness.mutants.bare import AUDIT, IDS, declare, prepare
from lastseat.harness.mutants.mechanism import factory
from lastseat.impl.attempt import (
    BOOKED,
    Observation,
    insert_and_commit,
    look_for_own,
    propose,
    rejected,
    repetition,
)
from lastseat.impl.result import Request, Result, UnknownResource
from lastseat.impl.session import Session

__all__ = ["AUDIT", "IDS", "declare", "guarded_update", "prepare", "unchecked_version"]

_OBSERVE = "SELECT capacity, booked, version FROM lastseat.resource WHERE id = %s"
_BY_VERSION = """UPDATE lastseat.resource SET booked = booked + %s, version = version + 1
 WHERE id = %s AND version = %s"""
_IF_ABSENT = """INSERT INTO lastseat.booking (booking_id, resource_id, units) VALUES (%s, %s, %s)
    ON CONFLICT DO NOTHING"""
_IF_ROOM = """UPDATE lastseat.resource SET booked = booked + %s
 WHERE id = %s AND booked + %s <= capacity"""


@factory
def unchecked_version(session: Session, request: Request) -> Result:
    """Wrong: the version is compared, and nobody looks whether the comparison held."""
    session.begin()
    row = session.row(_OBSERVE, (request.resource_id,))
    if row is None:
        raise UnknownResource(f"there is no resource {request.resource_id!r}")
    capacity, booked, version = row
    own = look_for_own(session, request)
    proposed = propose(Observation(capacity, booked, own), request)
    if proposed is not None:
        return proposed
    session.change(_BY_VERSION, (request.units, request.resource_id, version))
    return insert_and_commit(session, request)


@factory
def guarded_update(session: Session, request: Request) -> Result:
    """Right: the row first, unless it is there, then the counter, if there is room; or neither."""
    session.begin()
    parameters = (request.booking_id, request.resource_id, request.units)
    if session.change(_IF_ABSENT, parameters) == 0:
        own = look_for_own(session, request)
        assert own is not None, "a conflict with a row that nobody can see"
        return repetition(own, request)
    wanted = (request.units, request.resource_id, request.units)
    if session.change(_IF_ROOM, wanted) == 0:
        return rejected("no room")
    session.commit()
    return BOOKED
