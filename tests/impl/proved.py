"""What CrossHair proves of the pure parts of the implementation, beside the model's.

As in ``tests/spec/proved.py``: given, in the first assertions; what follows, in the last one.
"""

from __future__ import annotations

from lastseat.impl.attempt import Observation, propose
from lastseat.impl.classify import CAPACITY_CONSTRAINT, Evidence, Meaning, Phase, classify
from lastseat.impl.result import InconsistentRequest, Outcome, Request
from lastseat.spec import resource

CODES = (
    None,
    *("08006", "0A000", "22003", "23502", "23505", "23514", "23P01", "25006", "25P02", "26000"),
    *("28P01", "3D000", "40001", "40P01", "42601", "42P01", "42P05", "42501", "53300", "54000"),
    *("55P03", "57014", "57P01", "58030", "XX000", "XX001", "P0001"),
)
PHASES = (Phase.CONNECT, Phase.BEFORE_COMMIT, Phase.COMMIT)
SEVERITIES = (None, "ERROR", "FATAL", "PANIC")


def proposed(seen: Observation, n: int) -> resource.Verdict:
    """The implementation's proposal, in the words of the model."""
    try:
        result = propose(seen, Request("b", "r", n))
    except InconsistentRequest:
        return resource.Verdict.INCONSISTENT
    if result is None:
        return resource.Verdict.FITS
    return (
        resource.Verdict.FULL if result.outcome is Outcome.REJECTED else resource.Verdict.REPEATED
    )


def it_proposes_what_the_sequential_step_decides(
    capacity: int, booked: int, held: int | None, elsewhere: bool, n: int
) -> None:
    assert 0 <= booked <= capacity
    assert n >= 1
    assert held is None or held >= 1
    own = None if held is None else ("s" if elsewhere else "r", held)
    other = own is not None and elsewhere
    decided = resource.decide(capacity, booked, None if other else held, other, n)
    assert proposed(Observation(capacity, booked, own), n) is decided


def it_is_in_doubt_exactly_while_the_commit_has_no_definite_answer(
    phase: int, severity: int, survived: bool
) -> None:
    assert 0 <= phase < 3
    assert 0 <= severity < 4
    evidence = Evidence(PHASES[phase], "40001", SEVERITIES[severity], None, survived)
    definite = survived and SEVERITIES[severity] == "ERROR"
    assert classify(evidence).in_doubt == (PHASES[phase] is Phase.COMMIT and not definite)


def whatever_is_in_doubt_is_infrastructure(code: int, survived: bool) -> None:
    assert 0 <= code < 28
    verdict = classify(Evidence(Phase.COMMIT, CODES[code], "ERROR", None, survived))
    assert not verdict.in_doubt or verdict.meaning is Meaning.INFRASTRUCTURE


def only_the_capacity_constraint_rejects(code: int, own: bool) -> None:
    assert 0 <= code < 28
    constraint = CAPACITY_CONSTRAINT if own else "another"
    evidence = Evidence(Phase.COMMIT, CODES[code], "ERROR", constraint, survived=True)
    full = own and CODES[code] == "23514"
    assert (classify(evidence).meaning is Meaning.NO_ROOM) == full
