"""One schedule of each class, held against all schedules there are.

The search without reduction is the oracle: it ends in the same answers and bookings, no more and
no fewer, and its schedules fall into exactly as many classes as the reduced search has run.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lastseat.harness.ending import ending
from lastseat.harness.exploration import Own, explore
from lastseat.harness.postgres import Target
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario, named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.decision import START, Step
from lastseat.harness.schedule.footprint import Footprint
from lastseat.harness.schedule.interleavings import interleavings
from lastseat.harness.schedule.reduction import Event, happens_before
from lastseat.harness.stage import Stage
from lastseat.harness.venue import Found, Venue

Class = frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def venues(
    target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Venue]]:
    made: dict[str, Venue] = {}

    def of(name: str) -> Venue:
        if name not in made:
            made[name] = Venue(resolve(name), target, tmp_path_factory.mktemp(name))
        return made[name]

    yield of
    for venue in made.values():
        venue.__exit__(None, None, None)


def reduced(venue: Venue, scenario: Scenario, **how: bool) -> tuple[Coverage, Found]:
    found, coverage = Found(), Coverage()
    explore(scenario, Own(venue), found, coverage, case=scenario.name, on=True, **how)
    assert (coverage.remaining, coverage.diverged, coverage.not_repeated) == (0, 0, 0)
    return coverage, found


def all_schedules(stage: Stage, scenario: Scenario) -> tuple[set[str], set[Class], int]:
    """How they end, which classes they fall into, and how many they are."""
    endings, classes, count = set(), set(), 0
    for run in interleavings(lambda: Run(stage, scenario), None, Coverage()):
        run.finish()
        endings.add(ending(run))
        classes.add(class_of(list(events(run.steps))))
        count += 1
    return endings, classes, count


def events(steps: Sequence[Step]) -> Iterator[Event]:
    """An attempt's start goes with its first turn."""
    begun = None
    for step in steps:
        touched = step.touched
        if step.decision.move == START:
            if not step.touched.ends:
                begun = step
                continue
            touched |= Footprint(begins=True)
        elif begun is not None:
            assert begun.decision.client == step.decision.client
            touched |= begun.touched | Footprint(begins=True)
            begun = None
        yield Event(step.decision.client, touched, step.fingerprint, step.woke)


def class_of(trace: Sequence[Event]) -> Class:
    """Schedules are of one class if the same moves are ordered in the same way: by their clients,
    and by what they touch."""
    names = []
    for at, event in enumerate(trace):
        turn = sum(earlier.client == event.client for earlier in trace[:at])
        names.append(f"{event.client} {turn} {event.words}")
    before = happens_before(trace)
    pairs = {(names[first], names[at]) for at, firsts in enumerate(before) for first in firsts}
    return frozenset(pairs | {(name, "") for name in names})


@pytest.mark.parametrize(
    ("name", "scenario"),
    [
        ("optimistic", "last-seat"),
        ("optimistic", "same-id-at-once"),
        ("optimistic", "asked-again-when-full"),
        ("guarded-update", "last-seat"),
        ("guarded-update", "two-resources"),
        ("lock-then-sum", "same-id-last-seat"),
        ("X01", "last-seat"),
        ("X03", "last-seat"),
        ("X25", "room-for-both"),
    ],
)
def test_reduced_and_unreduced_search_end_alike_and_no_class_is_run_twice(
    venues: Callable[[str], Venue], staged: Callable[[str], Stage], name: str, scenario: str
) -> None:
    coverage, _ = reduced(venues(name), named(scenario))
    endings, classes, count = all_schedules(staged(name), named(scenario))
    assert coverage.outcomes.keys() == endings
    assert coverage.classes == len(classes)
    assert coverage.blocked == 0
    assert coverage.classes < count


def test_two_optimistic_attempts_on_one_row_have_ten_classes(
    venues: Callable[[str], Venue],
) -> None:
    """Six by what the database sees. In four of them, one attempt is over before the other takes
    its first look, and there may or may not be a moment at which both are under way."""
    coverage, found = reduced(venues("optimistic"), named("last-seat"))
    assert coverage.classes == 10
    assert coverage.schedules == 10
    assert found.convicted == []


def test_every_schedule_repeats_itself(venues: Callable[[str], Venue]) -> None:
    coverage, _ = reduced(venues("optimistic"), named("same-id-last-seat"), twice=True)
    assert coverage.not_repeated == 0


def test_who_is_wrong_is_convicted_and_the_search_ends(venues: Callable[[str], Venue]) -> None:
    found, coverage = Found(), Coverage()
    explore(named("last-seat"), Own(venues("X03")), found, coverage, case="x")
    assert {rule for convicted in found.convicted for rule in convicted.rules} == {"capacity"}
    assert coverage.remaining > 0
    assert Path(found.convicted[0].schedule).exists()
