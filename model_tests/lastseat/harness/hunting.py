"""Search beyond what can be run to the end: scenarios, schedules and faults drawn at random.

A hunt is a sequence of numbered runs. Everything in a run is drawn from the seed and its number, so
that it does not matter which worker makes it, and any of them can be made again.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

from attrs import Factory, define, field, frozen

from lastseat.harness.aftermath import LATE, NEVER, aftermath
from lastseat.harness.campaign import Campaign
from lastseat.harness.faults import FAULTS
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import CLIENTS, SCENARIOS, Scenario
from lastseat.harness.schedule.decision import Decision, Step
from lastseat.harness.schedule.footprint import Footprint
from lastseat.harness.schedule.strategies import STRATEGIES
from lastseat.harness.venue import Found, Venue
from lastseat.spec.vocabulary import Request

LENGTH = 25
"""About as many moves as a schedule of three or four clients has."""

_MOST_FAULTS = 2
_RESOURCES = ("r1", "r2")
_IDS = tuple(f"b{number}" for number in range(1, 7))
_DECIDED_LATER = frozenset({LATE, NEVER})


@define
class Hunted:
    """What some runs of a hunt have come to."""

    runs: int = 0
    schedules: set[bytes] = Factory(set)
    """Digests of what was seen: how many different ones there were."""
    strategies: Counter[str] = Factory(Counter)
    scenarios: Counter[str] = Factory(Counter)
    clients: Counter[int] = Factory(Counter)
    faults: Counter[str] = Factory(Counter)
    shrunk_in: int = 0
    """Runs that it took to make the violation small."""
    commits: str = ""
    found: Found = Factory(Found)

    def add(self, other: Hunted) -> None:
        """Take in what others have come to."""
        self.runs += other.runs
        self.schedules |= other.schedules
        self.strategies += other.strategies
        self.scenarios += other.scenarios
        self.clients += other.clients
        self.faults += other.faults
        self.shrunk_in += other.shrunk_in
        self.commits = other.commits or self.commits
        self.found.add(other.found)


@frozen
class Quarry:
    """What is drawn for one run."""

    scenario: Scenario
    strategy: str
    faults: int

    @classmethod
    def drawn(cls, draw: Random) -> Quarry:
        """Large scenarios of the catalogue and scenarios that nobody wrote down; half of the runs
        without faults, so that what faults cover up is seen, too."""
        listed = [s for s in SCENARIOS if len(s.attempts) > 2 or not s.small]
        scenario = draw.choice(listed) if draw.random() < 0.4 else _scene(draw)
        faults = draw.choice([0, 0, 1, _MOST_FAULTS])
        return cls(scenario, draw.choice(list(STRATEGIES)), faults)


def _scene(draw: Random) -> Scenario:
    """Three or four clients, two resources, six ids, some of them asked for more than once."""
    wants = {b: Request(b, draw.choice(_RESOURCES), draw.randint(1, 3)) for b in _IDS}
    attempts = {
        client: tuple(wants[draw.choice(_IDS)] for _ in range(draw.randint(1, 3)))
        for client in CLIENTS[: draw.choice([3, 4])]
    }
    capacities = {resource: draw.randint(0, 5) for resource in _RESOURCES}
    return Scenario("drawn", "drawn at random", capacities, attempts, small=False)


@define
class Struck:
    """A run in which faults come in the way of moves, so many at most."""

    run: Run
    draw: Random
    left: int
    struck: list[str] = field(factory=list, init=False)

    def enabled(self) -> Sequence[Decision]:
        return self.run.enabled()

    def foreseen(self, decision: Decision) -> Footprint:
        return self.run.foreseen(decision)

    def perform(self, decision: Decision) -> Step:
        if self.left and self.draw.random() < _MOST_FAULTS / LENGTH:
            able = [Decision(f, decision.client) for f in self._able(decision.client)]
            if able:
                self.left -= 1
                decision = self.draw.choice(able)
                self.struck.append(decision.move)
        return self.run.perform(decision)

    def _able(self, client: str) -> Iterator[str]:
        for fault in self.run.available(client):
            if not FAULTS[fault].waits and fault not in _DECIDED_LATER:
                yield fault


def hunt(numbers: Sequence[int], seed: int, end: float, venue: Venue) -> Hunted:
    """Make these runs, until one is illegal, which is made small, or until the machine's monotonic
    clock shows ``end``."""
    hunted = Hunted()
    with venue.campaign("", hunted.found) as campaign:
        hunted.commits = venue.commits
        for number in numbers:
            run = _run(number, seed, campaign, hunted)
            if campaign.judge(run) is not None:
                hunted.shrunk_in = campaign.make_small(run)
                break
            if time.monotonic() > end:
                break
    return hunted


def _run(number: int, seed: int, campaign: Campaign, hunted: Hunted) -> Run:
    draw = Random(f"{seed}-{number}")
    quarry = Quarry.drawn(draw)
    before = draw.getstate()
    for run in undisturbed(lambda: Run(campaign.stage, quarry.scenario)):
        draw.setstate(before)
        world = Struck(run, draw, quarry.faults)
        STRATEGIES[quarry.strategy](world, draw, LENGTH)
        if world.struck:
            aftermath(run)
        run.finish()
    hunted.runs += 1
    hunted.schedules.add(_digest(run))
    hunted.strategies[quarry.strategy] += 1
    hunted.scenarios[quarry.scenario.name] += 1
    hunted.clients[len(quarry.scenario.attempts)] += 1
    hunted.faults.update(world.struck)
    return run


def _digest(run: Run) -> bytes:
    """The same for the same moves that met the same turns, in any process."""
    seen = "\n".join(f"{step.decision}: {step.fingerprint}" for step in run.steps)
    return hashlib.blake2b(seen.encode(), digest_size=8).digest()
