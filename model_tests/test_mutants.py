"""Wrong implementations are convicted by what a verification runs for anybody; right ones are not.

What Hypothesis adds is left out here: the listed scenarios and faults alone must do.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.cases import PROFILES, briefly, until_convicted
from lastseat.harness.mutants.catalogue import CANARIES, CONFORMING, MUTANTS, Mutant, named
from lastseat.harness.postgres import Target
from lastseat.harness.stage import Stage
from lastseat.harness.venue import Venue
from lastseat.spec import visibility
from lastseat.spec.rules import Rule

RULES = {rule.value for rule in Rule} | {rule.title for rule in visibility.Rule}


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


@pytest.mark.parametrize("mutant", CONFORMING, ids=names(CONFORMING))
def test_a_right_one_on_the_same_bare_schema_is_convicted_of_nothing(
    mutant: Mutant, staged: Callable[[str], Stage], tmp_path: Path
) -> None:
    campaign = Campaign(staged(mutant.name), tmp_path)
    for scenario in PROFILES["quick"].scenarios:
        if scenario.faults:
            campaign.scenario(scenario, preemptions=1)
    assert (campaign.convicted, campaign.disagreements, campaign.diverged) == ([], [], 0)


def test_what_a_wrong_implementation_breaks_are_rules_that_there_are() -> None:
    for mutant in MUTANTS:
        assert mutant.breaks, mutant.name
        assert mutant.breaks <= RULES, mutant.name
    assert not any(mutant.breaks for mutant in CONFORMING)


def test_the_canaries_are_told_in_three_different_ways() -> None:
    """By the order of turns, by a fault, and by a look at the wire alone."""
    broken = [canary.breaks for canary in CANARIES]
    assert len({min(rules) for rules in broken}) == len(broken) == 3
