"""What may follow from what reached an attempt: the table, and its reading.

Constraint violations are recognised from what may be booked, not from names: a constraint's name is
the implementation's own.
"""

from __future__ import annotations

import enum

from attrs import frozen

from lastseat.spec.events import Phase, Seen, What
from lastseat.spec.record import Attempt, Record
from lastseat.spec.vocabulary import Cause, Outcome


class Kind(enum.Enum):
    """The ways in which an attempt can end."""

    BOOKED = "BOOKED"
    REJECTED = "REJECTED"
    CONFLICT = "FAILED(CONFLICT)"
    INFRASTRUCTURE = "FAILED(INFRASTRUCTURE)"
    EXCEPTION = "an exception"


Kinds = frozenset[Kind]

ANY: Kinds = frozenset(Kind)
NOT_BOOKED: Kinds = ANY - {Kind.BOOKED}
_CONFLICT: Kinds = frozenset({Kind.CONFLICT})
_INFRASTRUCTURE: Kinds = frozenset({Kind.INFRASTRUCTURE})
_EXCEPTION: Kinds = frozenset({Kind.EXCEPTION})
_EITHER_FAILURE = _CONFLICT | _INFRASTRUCTURE
_ENVIRONMENT_OR_MISUSE = _INFRASTRUCTURE | _EXCEPTION

CAPACITY_VIOLATED = "23514"
KEY_VIOLATED = "23505"
CONFLICTS = frozenset({"40001", "40P01", "55P03", "23505", "23P01"})
"""With these the server itself reports a conflict."""

HEALED = frozenset({"0A000", "26000"})
"""Drivers heal these before the first write by preparing anew, so they bind nobody to failing."""

_TABLE: dict[str, Kinds] = {
    # Conflicts, as the server detects them.
    "40001": _CONFLICT,
    "40P01": _CONFLICT,
    "23P01": _CONFLICT,
    "55P03": _EITHER_FAILURE,
    # The environment. By code where the rest of the class is something else.
    "08": _INFRASTRUCTURE,
    "53": _INFRASTRUCTURE,
    "57": _INFRASTRUCTURE,
    "58": _INFRASTRUCTURE,
    "25006": _INFRASTRUCTURE,
    "25P03": _INFRASTRUCTURE,
    "25P04": _INFRASTRUCTURE,
    "XX001": _INFRASTRUCTURE,
    "XX002": _INFRASTRUCTURE,
    # The environment, or a program that does not fit it.
    "0A000": _ENVIRONMENT_OR_MISUSE,
    "26000": _ENVIRONMENT_OR_MISUSE,
    "42P05": _ENVIRONMENT_OR_MISUSE,
    "42P01": _ENVIRONMENT_OR_MISUSE,
    "42501": _ENVIRONMENT_OR_MISUSE,
    "3D000": _ENVIRONMENT_OR_MISUSE,
    "28": _ENVIRONMENT_OR_MISUSE,
    "XX000": _ENVIRONMENT_OR_MISUSE,
    "54": _ENVIRONMENT_OR_MISUSE,
    # The program.
    "22": _EXCEPTION,
    "23": _EXCEPTION,
    "42": _EXCEPTION,
}


@frozen
class Legal:
    """How an attempt may end, after what reached it.

    ``kinds`` are the legal ends; ``permitted`` those for which this evidence is a reason;
    ``binding`` is the evidence from which the ends follow.
    """

    kinds: Kinds
    permitted: Kinds
    binding: tuple[Seen, ...]

    @property
    def because(self) -> str:
        """The evidence that binds, in words, or empty where none does."""
        return ", then ".join(map(describe, self.binding))


def kind_of(attempt: Attempt) -> Kind | None:
    """How it ended; None while it is pending."""
    if attempt.raised is not None:
        return Kind.EXCEPTION
    if attempt.answer is None:
        return None
    match attempt.answer.outcome, attempt.answer.cause:
        case Outcome.BOOKED, _:
            return Kind.BOOKED
        case Outcome.REJECTED, _:
            return Kind.REJECTED
        case _, Cause.CONFLICT:
            return Kind.CONFLICT
    return Kind.INFRASTRUCTURE


def legal(record: Record, attempt: Attempt) -> Legal:
    """What the recorded evidence demands of ``attempt`` and what it permits.

    Any of several pieces may have decided, so their rows are united: what was decided before the
    environment failed stays legal, and a failed environment always permits INFRASTRUCTURE. So does
    a deadline that expired by the recorded clock, whether or not that was recorded as seen.
    """
    demanded: Kinds = frozenset()
    permitted: Kinds = frozenset()
    environment: Kinds = frozenset()
    excluded: Kinds = frozenset()
    binding = []
    for seen in attempt.seen:
        row = _row(record, attempt, seen)
        permitted |= row
        if row == NOT_BOOKED:
            excluded = ANY - NOT_BOOKED
            binding.append(seen)
        elif row != ANY:
            environment |= row & _INFRASTRUCTURE
            if _binds(seen):
                demanded |= row
                binding.append(seen)
    if attempt.expired:
        permitted |= _INFRASTRUCTURE
        environment |= _INFRASTRUCTURE
    kinds = (demanded | environment if demanded else ANY) - excluded
    if _cancelled(attempt):
        kinds |= _EXCEPTION
        permitted |= _EXCEPTION
    return Legal(kinds, permitted, tuple(binding))


def _binds(seen: Seen) -> bool:
    """Whether the answer must follow from it: not if it came before the first statement, where a
    dead connection may be replaced, nor after what decided."""
    if seen.phase in (Phase.CONNECT, Phase.CLEANUP, Phase.CALLER):
        return False
    if seen.what is What.ERROR:
        return seen.sqlstate not in HEALED
    return seen.phase is not None


def _cancelled(attempt: Attempt) -> bool:
    return any(seen.phase is Phase.CALLER for seen in attempt.seen)


def _row(record: Record, attempt: Attempt, seen: Seen) -> Kinds:
    """The row of the table for one piece of evidence."""
    if seen.what is not What.ERROR:
        row = _TABLE.get(seen.sqlstate or "", _TABLE.get((seen.sqlstate or "08")[:2], ANY))
        return _INFRASTRUCTURE | (row & _EXCEPTION if row != ANY else frozenset())
    if seen.sqlstate is None:
        return NOT_BOOKED if seen.phase is Phase.COMMIT else ANY
    if seen.sqlstate == CAPACITY_VIOLATED:
        return _capacity_row(record, attempt)
    if seen.sqlstate == KEY_VIOLATED:
        return _CONFLICT | _when_booked(record, attempt)
    return _TABLE.get(seen.sqlstate, _TABLE.get(seen.sqlstate[:2], ANY))


def _capacity_row(record: Record, attempt: Attempt) -> Kinds:
    """If the capacity cannot have been the constraint, it was one that guards against misuse."""
    row = frozenset({Kind.REJECTED}) | _when_booked(record, attempt)
    request = attempt.request
    resource = record.header.resources.get(request.resource_id)
    fits = resource is None or (
        record.ceiling[request.resource_id] + request.requested_units <= resource.capacity
    )
    return row | _EXCEPTION if fits or request.requested_units < 1 else row


def _when_booked(record: Record, attempt: Attempt) -> Kinds:
    """What the sequential step says of an id that is booked, if it may be booked by now."""
    kinds: Kinds = frozenset()
    if repeated(record, attempt):
        kinds |= {Kind.BOOKED}
    if bound_otherwise(record, attempt):
        kinds |= {Kind.EXCEPTION}
    return kinds


def repeated(record: Record, attempt: Attempt) -> bool:
    """Whether another attempt, or the header, may have booked the same request before it ends."""
    claim = record.claims[attempt.request]
    return claim.prior or any(
        other is not attempt and other.invoked <= attempt.ended for other in claim.appliers[:2]
    )


def bound_otherwise(record: Record, attempt: Attempt) -> bool:
    """Whether its id may be booked with another resource or other units before it ends."""
    return any(
        (rival.exists or rival.possible) and rival.counted_from <= attempt.ended
        for rival in record.rivals(record.claims[attempt.request])
    )


def describe(seen: Seen) -> str:
    """The evidence in words, for explanations."""
    if seen.what is What.ERROR and seen.sqlstate is None and seen.phase is Phase.COMMIT:
        return "its COMMIT was answered ROLLBACK"
    words = {
        What.ERROR: "the server answered an error",
        What.LOST: "the connection was lost",
        What.REFUSED: "a connection was refused",
        What.DEADLINE: "a deadline expired",
        What.EXHAUSTED: "there was no connection to be had",
    }[seen.what]
    state = f" {seen.sqlstate}" if seen.sqlstate else ""
    phase = f" (phase {seen.phase.value})" if seen.phase else ""
    return f"{words}{state}{phase}"
