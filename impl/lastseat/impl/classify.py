"""What a failure means, read off the evidence: a pure function and the tables it looks up.

The exceptions' classes are not used. PostgreSQL's infrastructure errors are spread over most of
the driver's classes, and the same class covers opposite facts: an error answered to COMMIT proves
that nothing was committed when it is an ERROR and the session goes on, and proves nothing when it
is a FATAL or a PANIC, whatever its SQLSTATE.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

CAPACITY_CONSTRAINT = "resource_capacity"
"""The CHECK that decides whether a booking fits."""


class Phase(Enum):
    """How far the attempt had come."""

    CONNECT = "connect"
    BEFORE_COMMIT = "before commit"
    COMMIT = "commit in flight"


class Meaning(Enum):
    """What happened to the attempt."""

    NO_ROOM = "the capacity constraint refused the booking"
    TAKEN = "a unique key is taken: see whose booking it is"
    CONFLICT = "somebody else was writing the same thing"
    INFRASTRUCTURE = "the environment failed"
    MISTAKE = "a programming error"


@frozen
class Evidence:
    """What reached the attempt.

    ``sqlstate``, ``severity`` (untranslated) and ``constraint`` are the server's, None where it
    said nothing. ``survived`` says that the connection is usable and, with the commit in flight,
    that the server reported itself idle outside a transaction afterwards.
    """

    phase: Phase
    sqlstate: str | None = None
    severity: str | None = None
    constraint: str | None = None
    survived: bool = False


@frozen
class Verdict:
    """``in_doubt`` can be true for INFRASTRUCTURE only."""

    meaning: Meaning
    in_doubt: bool = False


_BY_CODE = {
    "23505": Meaning.TAKEN,  # unique_violation
    "23P01": Meaning.CONFLICT,  # exclusion_violation
    "40001": Meaning.CONFLICT,  # serialization_failure
    "40P01": Meaning.CONFLICT,  # deadlock_detected
    "55P03": Meaning.CONFLICT,  # lock_not_available: somebody else holds the row
    # Names that are missing or forbidden: a migration or a fail-over is under way more often
    # than the program is wrong, and the same program worked a moment ago.
    "42P01": Meaning.INFRASTRUCTURE,  # undefined_table
    "42P05": Meaning.INFRASTRUCTURE,  # duplicate_prepared_statement: a pooler
    "42501": Meaning.INFRASTRUCTURE,  # insufficient_privilege
}

_BY_CLASS = {
    "22": Meaning.MISTAKE,  # data exception
    "23": Meaning.MISTAKE,  # integrity constraint violation
    "42": Meaning.MISTAKE,  # syntax error or access rule violation
}
"""Every other class is the environment's: 08, 0A, 25, 26, 28, 3D, 53, 54, 57, 58, XX, unknown."""


def classify(evidence: Evidence) -> Verdict:
    """Say what the evidence means, and whether it leaves the booking's existence open."""
    if evidence.phase is Phase.CONNECT:
        return Verdict(Meaning.INFRASTRUCTURE)
    if not evidence.survived or evidence.severity != "ERROR":
        return Verdict(Meaning.INFRASTRUCTURE, in_doubt=evidence.phase is Phase.COMMIT)
    return Verdict(_meaning(evidence.sqlstate or "", evidence.constraint))


def _meaning(sqlstate: str, constraint: str | None) -> Meaning:
    if sqlstate == "23514" and constraint == CAPACITY_CONSTRAINT:
        return Meaning.NO_ROOM
    by_class = _BY_CLASS.get(sqlstate[:2], Meaning.INFRASTRUCTURE)
    return _BY_CODE.get(sqlstate, by_class)
