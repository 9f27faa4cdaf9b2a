"""All classes of interleavings of a scenario: each is run once, judged, and certified.

Who runs the schedules is a ``Hands``: this process itself, or a crew of worker processes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen

from lastseat.harness.ending import ending
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.classes import run_task
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.decision import Diverged
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.reduction import Task, Trace, Tree
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import Stage
from lastseat.harness.venue import Found, Venue

_TRIES = 60  # with two coins in a schedule, 60 tries fail once in thirty million times
R = TypeVar("R")


@frozen
class Ran:
    """What came of a task: its trace, how it ended for everybody, and what was found."""

    trace: Trace
    ended: str
    found: Found
    commits: str
    repeated: bool
    """Did the same decisions lead to the same again? True where nobody asked."""


class Hands(Protocol):
    """Something that does tasks: see ``workers.Crew``."""

    @property
    def idle(self) -> int: ...
    @property
    def pending(self) -> bool: ...
    def submit(self, task: Callable[[Venue], Ran], /) -> int: ...
    def finished(self) -> tuple[int, Ran]: ...


@define
class Own(Generic[R]):
    """This process's own hands: one task at a time, when its result is asked for."""

    venue: Venue
    _queue: deque[tuple[int, Callable[[Venue], R]]] = field(factory=deque, init=False)
    _count: int = field(default=0, init=False)

    @property
    def idle(self) -> int:
        return 1 - len(self._queue)

    @property
    def pending(self) -> bool:
        return bool(self._queue)

    def submit(self, task: Callable[[Venue], R], /) -> int:
        self._count += 1
        self._queue.append((self._count, task))
        return self._count

    def finished(self) -> tuple[int, R]:
        number, task = self._queue.popleft()
        return number, task(self.venue)


def explore(
    scenario: Scenario,
    hands: Hands,
    found: Found,
    coverage: Coverage,
    *,
    case: str,
    twice: bool = False,
    on: bool = False,
) -> None:
    """Run one schedule of each class until one is illegal; ``on``: also after that.

    ``twice``: run each schedule again, to see that it decides what happens. What is found is put
    into ``found`` and ``coverage`` as it comes.
    """
    tree, begun, tries = Tree(), dict[int, Task](), Counter[tuple[object, ...]]()

    def wanted() -> Task | None:
        return None if found.convicted and not on else tree.next()

    while True:
        while hands.idle and (task := wanted()) is not None:
            begun[hands.submit(partial(run_one, scenario, task, case, twice))] = task
        if not hands.pending:
            break
        number, ran = _finished(hands, found)
        task = begun.pop(number)
        _count(coverage, ran)
        found.add(ran.found)
        if not tree.take(task, ran.trace):
            tries[task.way, task.client] += 1
            if tries[task.way, task.client] < _TRIES:
                tree.again(task)
            else:
                tree.give_up(task)
                coverage.diverged += 1
        coverage.remaining = tree.remaining
        coverage.edges, coverage.forks = len(tree.edges), len(tree.forks)
    if coverage.diverged:
        found.reasons.append(f"{coverage.diverged} schedules could not be brought about again")
    if coverage.not_repeated:
        found.reasons.append(f"{coverage.not_repeated} schedules did not repeat themselves")


def _finished(hands: Hands, found: Found) -> tuple[int, Ran]:
    """What is interrupted in this process has not handed over what it has kept."""
    try:
        return hands.finished()
    except BaseException:
        if isinstance(hands, Own):
            found.add_missing(hands.venue.found)
        raise


def _count(coverage: Coverage, ran: Ran) -> None:
    coverage.schedules += 1
    coverage.commits = ran.commits
    coverage.not_repeated += not ran.repeated
    if ran.trace.complete:
        coverage.classes += 1
        coverage.outcomes[ran.ended] += 1
    else:
        coverage.blocked += 1


def run_one(scenario: Scenario, task: Task, case: str, twice: bool, venue: Venue) -> Ran:
    """Run a task's schedule and judge it."""
    found = Found()
    with venue.campaign(case, found) as campaign:
        for run in undisturbed(lambda: Run(campaign.stage, scenario)):
            trace = run_task(run, task)
            run.finish()
        campaign.judge(run)
        ended = ending(run)
        repeated = not twice or _repeats(run, campaign.stage, scenario, ended)
    return Ran(trace, ended, found, venue.commits, repeated)


def _repeats(run: Run, stage: Stage, scenario: Scenario, ended: str) -> bool:
    """Do the same decisions lead to the same end?

    Of several clients that wait for one lock the server chooses who is next, as if by a coin. Where
    it chose otherwise the decisions are not the same, and it is tried again.
    """
    for _ in range(_TRIES):
        again = Run(stage, scenario)
        try:
            replay_strictly(again, run.steps)
        except Diverged:
            to_the_end(again)
            again.finish()
            continue
        again.finish()
        if again.disturbed is None:
            return ending(again) == ended
    return False
