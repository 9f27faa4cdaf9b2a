"""A conviction is a fact, or it repeats: a run that broke a rule is run again before it is told.

It is run again from the schedule that was saved of it: the same decisions, the same implementation,
fresh ids. First on the stage as it is; then on new connections, since some drivers say less on
those that they have used; then by new processes. A run that goes another way counts if it breaks
the same rule, as with a client that does things on its own time; if not, it is tried again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from attrs import Factory, define, evolve, frozen

from lastseat.harness import shell
from lastseat.harness.judge.verdict import Repeated
from lastseat.harness.record import Schedule
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import Diverged, Step
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import Stage
from lastseat.harness.sweep import LONGEST_HASTE_MS, hurried

ENOUGH = 2
"""So often a rule must be broken again for its run to be repeated no more: "illegal in 3 of 3"."""

CERTAIN = 3
UNCERTAIN = 8
"""So many repetitions are made where a rule is not broken again: more of them where something
depends on the moment, a fault, a deadline, or whom the server wakes first."""

TRIES = 6
MANY_TRIES = 30
"""So often a run is begun again, whether it comes about or not: each way twice; and often where the
server may choose otherwise each time."""

SECONDS = 60.0
"""After so long no further repetition is begun."""

INTERRUPTED = "interrupted before it could be repeated"
NOT_TO_BE_REPEATED = "in clients that run freely, which cannot be repeated"


@frozen
class SeenOnce:
    """Rules that one run broke and that did not repeat: no violation, and no pass either."""

    rules: tuple[str, ...]
    scenario: str
    schedule: Path
    """The file that runs it again; of clients that ran freely, the one that is judged again."""
    how: str = INTERRUPTED
    named: str = ""
    """The implementation, quoted for a shell, where a file may not name it; else empty."""

    @property
    def again(self) -> str:
        """The command that looks at it once more."""
        return again(self.schedule, self.named)

    def __str__(self) -> str:
        rules = ", ".join(self.rules)
        return f"seen once, {self.how}: {rules} in {self.scenario}; {self.again}"


def again(saved: Path, named: str) -> str:
    """The command that runs, or judges, what was saved in this file again."""
    file = shell.word(str(saved))
    return f"lastseat check {file}" if saved.name.endswith(".jsonl") else replay(file, named)


def replay(schedule: str, named: str) -> str:
    """The command that runs a schedule again; ``named`` is the implementation, if it takes that."""
    return f"lastseat replay {schedule} {named}".rstrip()


@define
class Repetition:
    """What came of repeating a run."""

    runs: int = 0
    """In how many every step came about as recorded, or the same rule was broken on another way."""
    illegal: Counter[str] = Factory(Counter)
    """In how many of these each rule was broken."""
    diverged: int = 0

    @property
    def words(self) -> str:
        """How it was looked for, of a rule that was not broken again."""
        if self.runs == 0:
            return f"not brought about again in {self.diverged} tries"
        return f"not in {self.runs} repetition{'' if self.runs == 1 else 's'}"

    def of(self, rule: str) -> Repeated:
        """With the run that was illegal first."""
        return Repeated(1 + self.illegal[rule], 1 + self.runs)


def repeat(
    stage: Stage,
    schedule: Schedule,
    first: Run,
    rules: frozenset[str],
    judge: Callable[[Run], frozenset[str]],
) -> Repetition:
    """Run a schedule again until each of ``rules`` was broken often enough, or that was tried often
    enough.

    ``first`` is the run that it was saved of; ``judge`` tells the rules that a finished run breaks.
    """
    hung = any(attempt.hung for attempt in first.attempts)
    enough = 1 if hung else ENOUGH  # to see one hang takes as long as its whole deadline
    moment = _depends_on_the_moment(first.steps)
    most, tries = (UNCERTAIN, MANY_TRIES) if moment else (CERTAIN, TRIES)
    came, end = Repetition(), time.monotonic() + SECONDS
    for tried in range(tries):
        if not hung:
            _WAYS[tried % len(_WAYS)](stage, schedule.scenario)
        run = Run(stage, _in_less_haste(schedule.scenario, came.diverged))
        as_recorded = _as_recorded(run, schedule.steps)
        sound = _sound(run)
        broken = judge(run) & rules if sound else frozenset[str]()
        if broken or (as_recorded and sound):
            came.runs += 1
            came.illegal.update(broken)
        else:
            came.diverged += 1
        if came.runs == most or all(came.illegal[rule] >= enough for rule in rules):
            break
        if time.monotonic() > end:
            break
    return came


def _depends_on_the_moment(steps: list[Step]) -> bool:
    return any(step.decision.is_fault or step.woke for step in steps)


def _as_recorded(run: Run, steps: tuple[Step, ...]) -> bool:
    """Whether every step came about; the run is finished in any case, its clients are needed
    again."""
    try:
        replay_strictly(run, steps)
    except Diverged:
        to_the_end(run)
        run.finish()
        return False
    run.finish()
    return True


def _sound(run: Run) -> bool:
    """Whether a run says something about the implementation: not where the machine stood still, or
    a deadline that was short for the sake of a fault has ended another attempt."""
    return run.disturbed is None and not any(map(hurried, run.attempts))


def _in_less_haste(scenario: Scenario, missed: int) -> Scenario:
    """Deadlines twice as long each time that it was missed, within what a fault ever waits for."""
    longer = {
        client: max(ms, min(ms * 2**missed, LONGEST_HASTE_MS))
        for client, ms in scenario.deadlines.items()
    }
    return evolve(scenario, deadlines=longer)


def _as_it_is(stage: Stage, scenario: Scenario) -> None:
    """On the connections that there are."""


def _new_connections(stage: Stage, scenario: Scenario) -> None:
    stage.renew(scenario.attempts)


def _new_processes(stage: Stage, scenario: Scenario) -> None:
    for client in scenario.attempts:
        stage.restart(client)


_WAYS = (_as_it_is, _new_connections, _new_processes)
