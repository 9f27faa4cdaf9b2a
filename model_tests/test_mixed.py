"""Two mechanisms at work on one resource: each may be right, and both together wrong."""

from pathlib import Path

import pytest

from lastseat.harness.exploration import Own, explore
from lastseat.harness.postgres import Target
from lastseat.harness.registry import resolve
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.stage import stage
from lastseat.harness.venue import Found, Venue


def explored(name: str, target: Target, out: Path) -> tuple[Coverage, Found]:
    found, coverage = Found(), Coverage()
    with Venue(resolve(name), target, out) as venue:
        explore(named("last-seat"), Own(venue), found, coverage, case="")
    assert (found.reasons, coverage.diverged) == ([], 0)
    return coverage, found


def test_every_second_client_runs_the_other_one(target: Target, tmp_path: Path) -> None:
    mixed = resolve("optimistic+locking")
    assert mixed.beside is not None
    with stage(mixed, target.new_database(), tmp_path, names=("alice", "bob")) as staged:
        assert staged.declared.promises == frozenset()
        assert [mixed.of(number).name for number in range(3)] == [mixed.name, "locking", mixed.name]


def test_what_heeds_the_same_rows_goes_together(target: Target, tmp_path: Path) -> None:
    coverage, found = explored("optimistic+locking", target, tmp_path)
    assert (coverage.remaining, found.convicted) == (0, [])
    assert coverage.classes > 1


@pytest.mark.parametrize("name", ["lock-then-sum+advisory-lock", "lock-then-sum+serializable"])
def test_two_right_ones_that_do_not_see_each_other_are_convicted(
    name: str, target: Target, tmp_path: Path
) -> None:
    for alone in name.split("+"):
        assert explored(alone, target, tmp_path / alone)[1].convicted == []
    found = explored(name, target, tmp_path / "both")[1]
    assert {rule for convicted in found.convicted for rule in convicted.rules} >= {"capacity"}
