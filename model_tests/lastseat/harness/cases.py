"""What a verification consists of: cases, each with an id that stays the same from run to run.

``model``, ``explore/SCENARIO``, ``faults/SCENARIO/FAULT``, ``pairs/SCENARIO``, ``input/SCENARIO``,
``hypothesis``, ``outages/NAME``, ``soak``, ``canary/NAME``. They do not build on each other: any of
them can be run alone, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from attrs import field, frozen

from lastseat.harness import failing, machine
from lastseat.harness.exploration import Own, explore
from lastseat.harness.faults import FAULTS, Fault
from lastseat.harness.modelled import check_model
from lastseat.harness.mutants.catalogue import CANARIES, Mutant
from lastseat.harness.outages import OUTAGES, Outage
from lastseat.harness.scenario import SCENARIOS, WRONG_IN_THEMSELVES, Scenario
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.venue import Found, Venue


@frozen
class Profile:
    """How far a verification goes."""

    name: str
    twice: bool
    """Is every schedule run again, to see that it decides what happens?"""
    examples: int
    """Of the Hypothesis machine."""
    input: bool
    """Is it looked at what becomes of requests that are wrong in themselves?"""
    pairs: int
    """Runs of each scenario with two faults, drawn at random."""
    outages: bool
    """Does the server itself fail, too?"""

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Those whose interleavings are all run."""
        return tuple(s for s in SCENARIOS if s.small and (s.quick or self.name != "quick"))


PROFILES = {
    "quick": Profile("quick", twice=False, examples=80, input=False, pairs=0, outages=False),
    "full": Profile("full", twice=True, examples=800, input=True, pairs=400, outages=True),
}


@frozen
class Case:
    """``group`` is what it is reported under; ``run`` puts what it finds where it is told to."""

    id: str
    why: str
    run: Callable[[Venue, Found], None]
    ours: bool = field(default=False, kw_only=True)
    """Is it lastseat itself that is looked at, and not the implementation?"""
    random: bool = field(default=False, kw_only=True)
    """May it find nothing where there is something?"""

    @property
    def group(self) -> str:
        """The id without its last part, where there are many of a kind."""
        return self.id.rpartition("/")[0] if self.id.count("/") > 1 else self.id


def cases(profile: Profile) -> tuple[Case, ...]:
    """All cases of a profile, in the order in which they are run."""
    return (MODEL, *of_implementation(profile), *(_canary(mutant) for mutant in CANARIES))


def of_implementation(profile: Profile) -> tuple[Case, ...]:
    """Those that run the implementation itself."""
    return (
        *(_explore(scenario, twice=profile.twice) for scenario in profile.scenarios),
        *(
            _fault(s, fault, everywhere=profile.pairs > 0)
            for s in SCENARIOS
            if s.faults
            for fault in FAULTS.values()
        ),
        *(_pairs(s, profile.pairs) for s in SCENARIOS if s.faults and profile.pairs),
        *(_explore(s, twice=False, group="input") for s in WRONG_IN_THEMSELVES if profile.input),
        _hypothesis(profile.examples),
        *(_outage(each) for each in OUTAGES.values() if profile.outages),
        *((_SOAK,) if profile.outages else ()),
    )


def briefly() -> Iterator[Case]:
    """The shortest way to convict what is wrong: each scenario, and at once the faults in it."""
    for scenario in PROFILES["quick"].scenarios:
        yield _explore(scenario, twice=False)
        if scenario.faults:
            yield from (_fault(scenario, fault) for fault in FAULTS.values())


def until_convicted(venue: Venue, chosen: Iterable[Case]) -> Found:
    """Run cases one after the other until one convicts the implementation; what was found."""
    found = Found()
    for case in chosen:
        case.run(venue, found)
        if found.convicted:
            break
    return found


def _check_model(_: Venue, found: Found) -> None:
    checked = check_model()
    found.did = checked.words
    found.reasons.extend(checked.failures)


MODEL = Case(
    "model", "the model that judges is itself searched and proved", _check_model, ours=True
)


_SOAK = Case("soak", "free-running clients while the server fails again and again", failing.soaked)


def _explore(scenario: Scenario, *, twice: bool, group: str = "explore") -> Case:
    def run(venue: Venue, found: Found) -> None:
        coverage = Coverage()
        explore(scenario, Own(venue), found, coverage, case=case, twice=twice)
        ending = (
            f"stopped at a violation, {coverage.remaining} remaining" if found.convicted else "all"
        )
        found.did = f"{coverage.classes} classes of schedules: {ending}"

    case = f"{group}/{scenario.name}"
    return Case(case, scenario.why, run)


def _fault(scenario: Scenario, fault: Fault, *, everywhere: bool = False) -> Case:
    def run(venue: Venue, found: Found) -> None:
        with venue.campaign(case, found) as campaign:
            campaign.fault_sweep(scenario, fault.name, everywhere=everywhere)
        met = found.witness.met
        found.applies = met > 0
        found.did = f"it met {met} turns, one a run" if met else "there is no turn that it can meet"

    case = f"faults/{scenario.name}/{fault.name}"
    return Case(case, fault.words, run)


def _pairs(scenario: Scenario, most: int) -> Case:
    def run(venue: Venue, found: Found) -> None:
        with venue.campaign(case, found) as campaign:
            runs, lost = campaign.fault_pairs(scenario, most)
        found.did = f"{runs} runs, most with two faults, drawn by seed {venue.seed}"
        if lost:
            found.did += f"; {lost} went another way"

    case = f"pairs/{scenario.name}"
    return Case(case, "a second fault behind a first, also in the repetitions", run, random=True)


def _outage(outage: Outage) -> Case:
    """The server itself fails, for real."""
    return Case(f"outages/{outage.name}", outage.words, partial(failing.outage, outage.name))


def _hypothesis(examples: int) -> Case:
    def run(venue: Venue, found: Found) -> None:
        with venue.campaign("hypothesis", found) as drawn:
            illegal = machine.drive(
                drawn.stage, drawn.machine_judge, examples=examples, seed=venue.seed
            )
            if illegal is not None:
                drawn.make_small(illegal.run, illegal.steps)
        found.did = f"{found.witness.runs} examples, seed {venue.seed}"

    why = "scenarios, schedules and faults that nobody wrote down"
    return Case("hypothesis", why, run, random=True)


def _canary(mutant: Mutant) -> Case:
    """The tool itself is checked: this wrong implementation must be convicted."""

    def run(venue: Venue, found: Found) -> None:
        with venue.of(mutant.implementation, case) as other:
            rules = {r for c in until_convicted(other, briefly()).convicted for r in c.rules}
        if rules & mutant.breaks:
            found.did = f"convicted: {', '.join(sorted(rules))}"
            return
        found.did = "NOT convicted"
        found.reasons.append(
            f"the wrong implementation {mutant.name} was not convicted: lastseat is broken"
        )

    case = f"canary/{mutant.name}"
    return Case(case, "a wrong implementation that must be convicted", run, ours=True)
