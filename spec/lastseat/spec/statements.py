"""What the failure-modes text says, word for word, and which rules make it precise.

That text is where this model comes from. It stands in sections; a statement is one sentence or one
point of a list.
"""

from __future__ import annotations

from attrs import frozen

from lastseat.spec.rules import Rule


@frozen
class Statement:
    """Words of that text, the section that they stand in, and the rules that they led to."""

    section: str
    words: str
    rules: tuple[Rule, ...]


_REJECTION = "Rejection Due to Invariant Violation"
_CONFLICT = "Persistence Conflict"
_INFRASTRUCTURE = "Infrastructure Failure"
_INPUT = "Invalid Input"
_VISIBILITY = "Failure Visibility"

STATEMENTS = (
    Statement(
        "Purpose",
        "They are first-class outcomes of a contested system.",
        (Rule.ONE_OUTCOME, Rule.BOOKED),
    ),
    Statement(
        _REJECTION,
        "A booking attempt is rejected because accepting it would violate the capacity invariant.",
        (Rule.REJECTED, Rule.CAPACITY),
    ),
    Statement(_REJECTION, "concurrent bookings exhaust remaining capacity", (Rule.REJECTED,)),
    Statement(_REJECTION, "stale reads propose an invalid transition", (Rule.REJECTED,)),
    Statement(_REJECTION, "deterministic", (Rule.DETERMINISM,)),
    Statement(_REJECTION, "correctness-preserving", (Rule.CAPACITY, Rule.BOOKED)),
    Statement(
        _REJECTION,
        "This is a successful execution from a correctness perspective.",
        (Rule.REJECTED, Rule.ONE_ID),
    ),
    Statement(
        _CONFLICT,
        "The booking attempt fails due to a write-write conflict detected by the persistence "
        "layer.",
        (Rule.CONFLICT,),
    ),
    Statement(_CONFLICT, "concurrent updates to the same resource", (Rule.CONFLICT,)),
    Statement(_CONFLICT, "version mismatch during optimistic locking", (Rule.CONFLICT,)),
    Statement(_CONFLICT, "transient", (Rule.TRANSIENCE,)),
    Statement(_CONFLICT, "The invariant remains intact.", (Rule.CAPACITY, Rule.COUNTER)),
    Statement(
        _INFRASTRUCTURE,
        "The booking attempt cannot complete due to temporary infrastructure unavailability.",
        (Rule.INFRASTRUCTURE, Rule.TRANSIENCE),
    ),
    Statement(_INFRASTRUCTURE, "database connectivity loss", (Rule.INFRASTRUCTURE,)),
    Statement(
        _INFRASTRUCTURE,
        "timeout during persistence",
        (Rule.INFRASTRUCTURE, Rule.IN_DOUBT, Rule.REVELATION),
    ),
    Statement(_INFRASTRUCTURE, "resource exhaustion", (Rule.INFRASTRUCTURE,)),
    Statement(_INFRASTRUCTURE, "transient", (Rule.TRANSIENCE,)),
    Statement(_INFRASTRUCTURE, "external to domain logic", (Rule.INFRASTRUCTURE,)),
    Statement(_INFRASTRUCTURE, "invariant-preserving", (Rule.CAPACITY, Rule.IN_DOUBT)),
    Statement(_INPUT, "malformed request", (Rule.PROGRAMMING_ERROR,)),
    Statement(_INPUT, "inconsistent identifiers", (Rule.PROGRAMMING_ERROR, Rule.ONE_ID)),
    Statement(
        _VISIBILITY,
        "All failures are surfaced explicitly as use case outcomes.",
        (Rule.ONE_OUTCOME, Rule.IN_DOUBT),
    ),
    Statement(_VISIBILITY, "no hidden retries", (Rule.ONE_ID,)),
    Statement(_VISIBILITY, "no swallowed errors", (Rule.DETERMINISM,)),
    Statement(_VISIBILITY, "no implicit compensations", (Rule.BOOKED, Rule.COUNTER)),
    Statement(
        "Non-Goals",
        "These concerns are intentionally delegated elsewhere.",
        (Rule.REVELATION,),
    ),
)


def statements_of(rule: Rule) -> tuple[Statement, ...]:
    """The words that a rule makes precise."""
    return tuple(statement for statement in STATEMENTS if rule in statement.rules)
