"""Two commits that overlap inside the server: done, not seen by each other, and then both seen.

Who checks at its commit, or commits with the statement that checks, is right in every order of
turns, and wrong here.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lastseat.harness.exploration import Own, explore
from lastseat.harness.postgres import COMMITS_WAIT, Target, open_target
from lastseat.harness.registry import resolve
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.venue import HELD, INDIFFERENT, UNAVAILABLE, Found, Venue


@pytest.fixture(scope="module")
def patient() -> Iterator[Target]:
    """On a server where commits can be held."""
    with open_target(settings=COMMITS_WAIT) as opened:
        yield opened


def explored(name: str, target: Target, out: Path) -> tuple[Coverage, Found]:
    found, coverage = Found(), Coverage()
    with Venue(resolve(name), target, out) as venue:
        explore(named("last-seat"), Own(venue), found, coverage, case="")
    assert (found.reasons, coverage.diverged) == ([], 0)
    return coverage, found


@pytest.mark.parametrize("name", ["X21", "racy-function"])
def test_checks_that_do_not_see_each_other_are_convicted(
    name: str, patient: Target, tmp_path: Path
) -> None:
    coverage, found = explored(name, patient, tmp_path)
    assert coverage.commits == HELD
    assert {rule for convicted in found.convicted for rule in convicted.rules} == {"capacity"}


def test_where_commits_cannot_be_held_it_is_said_and_nothing_is_found(
    target: Target, tmp_path: Path
) -> None:
    coverage, found = explored("X21", target, tmp_path)
    assert (coverage.commits, found.convicted) == (UNAVAILABLE, [])


@pytest.mark.parametrize("name", ["server-function"])
def test_right_ones_that_commit_with_their_statement_are_not_convicted(
    name: str, patient: Target, tmp_path: Path
) -> None:
    coverage, found = explored(name, patient, tmp_path)
    assert (coverage.commits, found.convicted, coverage.remaining) == (HELD, [], 0)


def test_a_commit_that_only_ends_a_transaction_is_not_held(patient: Target, tmp_path: Path) -> None:
    with Venue(resolve("optimistic"), patient, tmp_path) as venue, venue.campaign("", Found()):
        assert venue.commits == INDIFFERENT
