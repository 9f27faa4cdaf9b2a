"""Wrong implementations are convicted by what a verification runs for anybody; right ones are not.

What Hypothesis adds is left out here: the listed scenarios and faults alone must do.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.cases import PROFILES, briefly, of_implementation, until_convicted
from lastseat.harness.mutants import conforming, made, survivors
from lastseat.harness.mutants.catalogue import (
    ALL_RULES,
    CANARIES,
    CONFORMING,
    MUTANTS,
    Mutant,
    named,
)
from lastseat.harness.mutants.matrix import fate
from lastseat.harness.mutants.stress import stress
from lastseat.harness.postgres import Target
from lastseat.harness.stage import Stage
from lastseat.harness.venue import Venue


def names(mutants: tuple[Mutant, ...]) -> list[str]:
    return [mutant.name for mutant in mutants]


SOON = named(("X02", "X14", "X23", "X25", "X34", "X38", "X41", "X43", "X44", "X48"))
"""Of each kind of promise one that is convicted soon. The others are for ``lastseat mutants``."""


@pytest.mark.parametrize("mutant", SOON, ids=names(SOON))
def test_a_wrong_implementation_is_convicted_by_a_rule_that_it_breaks(
    mutant: Mutant, target: Target, tmp_path: Path
) -> None:
    with Venue(mutant.implementation, target, tmp_path) as venue:
        found = until_convicted(venue, briefly())
    assert {rule for convicted in found.convicted for rule in convicted.rules} & mutant.breaks


KINDS = named(("guarded-update", "serializable", "two-phase", "pipelined", "pooled", "procedure"))
"""Six of the right ones that have little in common. All of them are for ``make right``."""


@pytest.mark.parametrize("mutant", KINDS, ids=names(KINDS))
def test_a_right_one_on_the_same_bare_schema_is_convicted_of_nothing(
    mutant: Mutant, staged: Callable[[str], Stage], tmp_path: Path
) -> None:
    campaign = Campaign(staged(mutant.name), tmp_path)
    for scenario in PROFILES["quick"].scenarios:
        if scenario.faults:
            campaign.scenario(scenario, preemptions=1)
    assert (campaign.convicted, campaign.disagreements, campaign.diverged) == ([], [], 0)


def test_made_ones_are_many_and_none_is_stillborn() -> None:
    texts = made.everything()
    assert len(texts) >= 60
    assert len(set(texts.values())) == len(texts)
    assert not [name for name, text in texts.items() if made.stillborn(text)]


def test_a_made_one_is_changed_in_the_process_that_hosts_it() -> None:
    origin, changed = conforming.guarded_update, getattr(made, "guarded-update/drop-room-1")
    assert changed.AUDIT == origin.AUDIT
    assert changed.mechanism.__code__.co_names == origin.mechanism.__code__.co_names
    assert "booked + %s <= capacity" in conforming.IF_ROOM
    assert "booked + %s <= capacity" not in changed.mechanism.__globals__["IF_ROOM"]


def test_who_survives_is_a_made_one_and_has_a_reason() -> None:
    assert survivors.read().keys() <= made.everything().keys()
    assert all(survivors.read().values())


def test_a_fate_tells_who_convicted_it_and_what_threads_would_have_found(
    target: Target, tmp_path: Path
) -> None:
    found = fate("X25", "quick", tmp_path, "explore/", True, (target, lambda _: None))
    assert found.as_it_should
    assert (found.case, found.error) == ("explore/last-seat", "")
    assert {"capacity", "counter"} <= {*found.rules}
    assert found.stressed is not None
    assert "capacity" in found.stressed.rules


def test_threads_object_to_nothing_that_is_right(target: Target) -> None:
    factory = named(["guarded-update"])[0].implementation.factory
    assert factory is not None
    assert stress(factory, target.new_database(), 1.0).rules == ()


def test_what_a_wrong_implementation_breaks_are_rules_that_there_are() -> None:
    for mutant in MUTANTS:
        assert mutant.breaks, mutant.name
        assert mutant.breaks <= ALL_RULES, mutant.name
    assert not any(mutant.breaks for mutant in CONFORMING)


def test_the_canaries_are_told_in_three_different_ways() -> None:
    """By the order of turns, by a fault, and by a look at the wire alone."""
    broken = [canary.breaks for canary in CANARIES]
    assert len({min(rules) for rules in broken}) == len(broken) == 3


def test_requests_that_are_wrong_in_themselves_are_a_group_of_its_own(
    target: Target, tmp_path: Path
) -> None:
    assert not [case.id for case in of_implementation(PROFILES["quick"]) if "input" in case.id]
    found = fate("X61", "full", tmp_path, "input/", False, (target, lambda _: None))
    assert found.as_it_should
    assert found.case == "input/no-units"
    right = fate("lock-then-sum", "full", tmp_path, "input/", False, (target, lambda _: None))
    assert right.as_it_should
