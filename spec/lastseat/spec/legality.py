"""Is a recorded history legal? Every rule is one function; judging takes one pass and some sorting.

The rules about bookings are in ``effects``, those about failures in ``failures``, and what each
rule promises is the sentence of its ``Rule``. Only what the recorded evidence proves is a
violation: where it leaves two readings, the attempt gets the better one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lastseat.spec import effects, failures
from lastseat.spec.events import Evidence, History
from lastseat.spec.evidence import Kind, kind_of
from lastseat.spec.record import NEVER, Record, fold
from lastseat.spec.rules import Judgement, Rule, Violation
from lastseat.spec.sweep import Failing, Open, shortfalls

__all__ = ["UNKNOWN_BINDING", "Judgement", "Rule", "Violation", "judge"]

UNKNOWN_BINDING = "REJECTED: of ids asked for in different ways it is not known what was booked"
"""The one gap that is the judge's and not the recorder's: there it may be too kind."""


def judge(history: History) -> Judgement:
    """Every violation that ``history`` proves, and what it lacks the evidence to judge."""
    record = fold(history)
    around = failures.Surroundings(record)
    failing = tuple(shortfalls(record))
    violations = (
        *effects.capacity(record, effects.Holdings(record)),
        *effects.counter(record),
        *effects.booked(record),
        *effects.unwarranted(record),
        *effects.one_id(record),
        *effects.rejected(record, failing),
        *failures.one_outcome(record),
        *failures.conflict(record, around),
        *failures.infrastructure(record, around),
        *failures.in_doubt(record),
        *failures.transience(record, around),
        *failures.determinism(record, around),
        *failures.programming_error(record),
    )
    gaps = (*gaps_in_time(record), *gaps_in_evidence(record))
    return Judgement(violations, gaps, open_questions(failing))


def open_questions(failing: Iterable[Failing]) -> tuple[str, ...]:
    """Names the resources where not everything could be found out."""
    return tuple(str(found) for found in failing if isinstance(found, Open))


def gaps_in_time(record: Record) -> Iterator[str]:
    """Names what was not seen of this history to its end."""
    if record.end is None and any(attempt.ended == NEVER for attempt in record.attempts):
        yield "one outcome: the recording has no end, so what is missing may have been cut off"
    if record.header.deadline_ms is None or record.header.grace_ms is None:
        yield "one outcome: no deadline and grace were declared, so no time was judged"
    unread = sorted(record.header.resources.keys() - record.finals.keys())
    if unread:
        yield f"BOOKED: the final bookings of {', '.join(unread)} were not read"
        if any(len(claims) > 1 for claims in record.of_id.values()):
            yield UNKNOWN_BINDING


def gaps_in_evidence(record: Record, others: frozenset[Kind] = frozenset()) -> Iterator[str]:
    """Names what the attempts of this history, and ``others``, would have been judged by."""
    kinds = {kind_of(attempt) for attempt in record.attempts} | others
    faults = record.observed(Evidence.FAULTS)
    if not record.observed(Evidence.SERVER):
        yield "determinism: what reached the attempts was not recorded"
        if Kind.CONFLICT in kinds:
            yield "CONFLICT: what the server reported was not recorded; judged by overlap alone"
        if Kind.EXCEPTION in kinds:
            yield "programming error: what reached the attempts that raised was not recorded"
        if Kind.INFRASTRUCTURE in kinds and not faults:
            yield "INFRASTRUCTURE: neither faults nor what reached the attempts was recorded"
    if Kind.INFRASTRUCTURE in kinds and not faults:
        yield "transience: faults were not recorded"
    doubt = any(attempt.in_doubt for attempt in record.attempts)
    if doubt and not record.observed(Evidence.COMMITS):
        yield "in doubt: the commits that were sent were not recorded"
