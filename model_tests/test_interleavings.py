"""Every order in which the turns of two attempts can meet, against a real server.

Where the numbers are known beforehand they are asserted: a search that misses schedules, or makes
some up, proves nothing by finding nothing.
"""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from math import comb

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.interleavings import interleavings
from lastseat.harness.stage import Stage

RIGHT = ("optimistic", "locking", "guarded-update", "lock-then-sum")
CAMPAIGN = Callable[[str], Campaign]


def outcomes(coverage: Coverage) -> Counter[str]:
    """How often the two ended in these answers, whoever was first."""
    ended: Counter[str] = Counter()
    for words, count in coverage.outcomes.items():
        answers = (client.partition(" ")[2] for client in words.partition(";")[0].split(", "))
        ended[" + ".join(sorted(answers))] += count
    return ended


def explored(campaign: Campaign, scenario: str, preemptions: int | None = None) -> Coverage:
    """Every schedule, none of them illegal, and no two judges of different mind."""
    coverage = campaign.scenario(named(scenario), preemptions)
    assert campaign.convicted == []
    assert campaign.disagreements == []
    assert (coverage.remaining, coverage.diverged) == (0, 0)
    assert coverage.schedules == sum(coverage.outcomes.values()) == campaign.witness.runs
    return coverage


@pytest.mark.parametrize("name", RIGHT)
def test_of_two_callers_for_one_seat_exactly_one_is_booked(campaign: CAMPAIGN, name: str) -> None:
    ended = outcomes(explored(campaign(name), "last-seat"))
    expected = {"BOOKED + REJECTED"}
    if name == "optimistic":
        expected.add("BOOKED + FAILED(CONFLICT)")
    assert ended.keys() == expected


@pytest.mark.parametrize("name", RIGHT)
def test_of_two_callers_with_one_id_both_are_booked_by_one_row(
    campaign: CAMPAIGN, name: str
) -> None:
    ended = outcomes(explored(campaign(name), "same-id-at-once"))
    assert ended.keys() == {"BOOKED + BOOKED"}


def test_two_optimistic_attempts_on_one_row_have_92_schedules(campaign: CAMPAIGN) -> None:
    coverage = explored(campaign("optimistic"), "last-seat")
    assert coverage.schedules == feasible() == 92
    assert outcomes(coverage) == {"BOOKED + FAILED(CONFLICT)": 80, "BOOKED + REJECTED": 12}


def feasible(
    a: tuple[str, int] = ("begin", 0), b: tuple[str, int] = ("begin", 0), version: int = 0
) -> int:
    """The orders in which two attempts can book the last seat by version check, counted on paper.

    An attempt is its next turn and the version that it read. Of the 252 orders of five turns and
    five, the others send a turn of one that waits for the row, or that the check has ended early.
    """
    return (
        int(a[0] == b[0] == "done")
        + sum(feasible(mine, theirs, now) for mine, theirs, now in _moves(a, b, version))
        + sum(feasible(theirs, mine, now) for mine, theirs, now in _moves(b, a, version))
    )


def _moves(
    me: tuple[str, int], other: tuple[str, int], version: int
) -> list[tuple[tuple[str, int], tuple[str, int], int]]:
    turn, seen = me
    match turn:
        case "begin":
            return [(("observe", 0), other, version)]
        case "observe":  # once the seat is gone, all that is left is to end the transaction
            return [(("end" if version else "update", version), other, version)]
        case "update" if other[0] in {"insert", "commit"}:
            return [(("waits", seen), other, version)]
        case "update":
            return [(("insert" if seen == version else "end", seen), other, version)]
        case "insert":
            return [(("commit", seen), other, version)]
        case "commit":
            woken = ("end", other[1]) if other[0] == "waits" else other
            return [(("done", seen), woken, version + 1)]
        case "end":
            return [(("done", seen), other, version)]
    return []


@pytest.mark.parametrize("name", ["optimistic", "locking"])
def test_two_attempts_of_five_turns_that_never_meet_have_all_252_schedules(
    campaign: CAMPAIGN, name: str
) -> None:
    coverage = explored(campaign(name), "two-resources")
    assert coverage.schedules == comb(10, 5)
    assert outcomes(coverage) == {"BOOKED + BOOKED": 252}


def test_four_turns_each_have_70(campaign: CAMPAIGN) -> None:
    coverage = explored(campaign("guarded-update"), "two-resources")
    assert coverage.schedules == comb(8, 4)


def test_turns_amidst_another_attempt_are_counted_on_the_same_resource_only(
    campaign: CAMPAIGN,
) -> None:
    together, apart = campaign("optimistic"), campaign("optimistic")
    explored(together, "last-seat", preemptions=0)
    assert (together.witness.overlaps, together.witness.contention) == (0, 0)
    together.scenario(named("last-seat"), preemptions=1)
    assert together.witness.overlaps > 0
    explored(apart, "two-resources", preemptions=1)
    assert (apart.witness.overlaps, apart.witness.contention) == (0, 0)


@pytest.mark.parametrize("bound", range(4))
def test_a_bound_on_preemptions_keeps_exactly_the_schedules_within_it(
    campaign: CAMPAIGN, bound: int
) -> None:
    coverage = explored(campaign("optimistic"), "two-resources", bound)
    assert coverage.schedules == sum(changes(order) - 1 <= bound for order in orders(5, 5))


def orders(a: int, b: int) -> list[str]:
    """Every order of so many turns of ``a`` and of ``b``."""
    if not a or not b:
        return ["a" * a + "b" * b]
    return [f"a{rest}" for rest in orders(a - 1, b)] + [f"b{rest}" for rest in orders(a, b - 1)]


def changes(order: str) -> int:
    """How often the client changes. The last time is no preemption: one of them is through."""
    return sum(one != other for one, other in pairwise(order))


def test_no_schedule_is_run_twice(staged: Callable[[str], Stage]) -> None:
    seen = []
    scenario = named("last-seat")
    for run in interleavings(lambda: Run(staged("optimistic"), scenario), 3, Coverage()):
        seen.append(tuple(step.decision for step in run.steps))
        run.finish()
    assert len(set(seen)) == len(seen) > 1
