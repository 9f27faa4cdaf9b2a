"""The table of failures, read aloud: every code, in every phase, whether or not it survived."""

import itertools

import psycopg.errors
import pytest

from lastseat.impl.classify import CAPACITY_CONSTRAINT, Evidence, Meaning, Phase, Verdict, classify

CONFLICT = Meaning.CONFLICT
INFRASTRUCTURE = Meaning.INFRASTRUCTURE
MISTAKE = Meaning.MISTAKE
TAKEN = Meaning.TAKEN

# What the server may report while the session goes on, and what it means. A class of two
# characters speaks for every code of it that has no line of its own.
TABLE = {
    "40001": CONFLICT,
    "40P01": CONFLICT,
    "55P03": CONFLICT,
    "23P01": CONFLICT,
    "23505": TAKEN,
    "08": INFRASTRUCTURE,
    "53": INFRASTRUCTURE,
    "54": INFRASTRUCTURE,
    "57": INFRASTRUCTURE,
    "58": INFRASTRUCTURE,
    "28": INFRASTRUCTURE,
    "XX": INFRASTRUCTURE,
    "25": INFRASTRUCTURE,
    "0A": INFRASTRUCTURE,
    "26": INFRASTRUCTURE,
    "3D": INFRASTRUCTURE,
    "42P05": INFRASTRUCTURE,
    "42P01": INFRASTRUCTURE,
    "42501": INFRASTRUCTURE,
    "22": MISTAKE,
    "23": MISTAKE,
    "42": MISTAKE,
}

CODES = sorted(
    {code for code in psycopg.errors._sqlcodes if len(code) == 5}
    | {"25P04", "99999", "P0001", "ZZZZZ"}
)
PHASES_OF_WORK = [Phase.BEFORE_COMMIT, Phase.COMMIT]


def expected(code: str) -> Meaning:
    return TABLE.get(code, TABLE.get(code[:2], INFRASTRUCTURE))


def test_the_codes_are_those_of_postgresql():
    assert len(CODES) > 250
    assert {"40001", "25P03", "57P01", "XX001"} <= set(CODES)


@pytest.mark.parametrize("phase", PHASES_OF_WORK)
def test_an_error_that_the_session_survives_means_what_its_code_says(phase):
    for code in CODES:
        evidence = Evidence(phase, code, "ERROR", "some_constraint", survived=True)
        assert classify(evidence) == Verdict(expected(code), in_doubt=False), evidence


@pytest.mark.parametrize("phase", Phase)
def test_what_ends_the_connection_is_infrastructure_and_in_doubt_at_commit_only(phase):
    endings = set(itertools.product(["ERROR", "FATAL", "PANIC", None], [True, False]))
    for severity, survived in endings - {("ERROR", True)}:
        for code in [*CODES, None]:
            evidence = Evidence(phase, code, severity, survived=survived)
            verdict = Verdict(INFRASTRUCTURE, in_doubt=phase is Phase.COMMIT)
            assert classify(evidence) == verdict, evidence


def test_who_never_got_a_connection_is_not_in_doubt():
    for code, survived in itertools.product([*CODES, None], [True, False]):
        evidence = Evidence(Phase.CONNECT, code, "ERROR", survived=survived)
        assert classify(evidence) == Verdict(INFRASTRUCTURE), evidence


@pytest.mark.parametrize("phase", PHASES_OF_WORK)
def test_the_capacity_constraint_rejects_and_no_other_does(phase):
    refused = Evidence(phase, "23514", "ERROR", CAPACITY_CONSTRAINT, survived=True)
    assert classify(refused) == Verdict(Meaning.NO_ROOM)
    other = Evidence(phase, "23514", "ERROR", "booking_units", survived=True)
    assert classify(other) == Verdict(MISTAKE)
    elsewhere = Evidence(phase, "23503", "ERROR", CAPACITY_CONSTRAINT, survived=True)
    assert classify(elsewhere) == Verdict(MISTAKE)


def test_a_refusal_whose_end_was_lost_is_not_a_rejection():
    lost = Evidence(Phase.COMMIT, "23514", "ERROR", CAPACITY_CONSTRAINT, survived=False)
    assert classify(lost) == Verdict(INFRASTRUCTURE, in_doubt=True)
