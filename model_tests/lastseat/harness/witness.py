"""What a campaign has witnessed, and what it must witness before it may pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from attrs import Factory, define

from lastseat.harness.meetings import Fired
from lastseat.harness.run import Run
from lastseat.spec.events import Event, Seen
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED, Answer


@define
class Witness:
    """Counts over all runs."""

    runs: int = 0
    answers: Counter[Answer] = Factory(Counter)
    undisturbed: Counter[Answer] = Factory(Counter)
    """Answers of clients that no fault of their run touched."""
    raised: int = 0
    overlaps: int = 0
    contention: int = 0
    deadlocks: int = 0
    """How often the server ended a deadlock between attempts, in runs without any fault."""
    fired: Counter[str] = Factory(Counter)
    unseen: list[Fired] = Factory(list)
    """Faults whose position was reached and that were not seen to happen."""

    @property
    def met(self) -> int:
        """How many faults met a turn, seen to happen or not."""
        return self.fired.total() + len(self.unseen)

    def take(self, run: Run, keep: Callable[[Fired], Fired] = lambda unseen: unseen) -> None:
        """Count what happened in a finished run; ``keep`` saves one with a fault that was not seen,
        and tells where."""
        report = run.faults.report()
        disturbed = {fired.client for fired in report}
        self.runs += 1
        self.overlaps += run.overlaps
        self.contention += run.contention
        if not report:
            self.deadlocks += sum(map(_is_deadlock, run.events))
        for attempt in run.attempts:
            if attempt.answer is None:
                self.raised += attempt.raised is not None
                continue
            self.answers[attempt.answer] += 1
            if attempt.client not in disturbed:
                self.undisturbed[attempt.answer] += 1
        for fired in report:
            if fired.seen:
                self.fired[fired.fault] += 1
            else:
                self.unseen.append(keep(fired))

    def add(self, other: Witness) -> None:
        """Count what another one has witnessed, too."""
        self.runs += other.runs
        self.answers.update(other.answers)
        self.undisturbed.update(other.undisturbed)
        self.raised += other.raised
        self.overlaps += other.overlaps
        self.contention += other.contention
        self.deadlocks += other.deadlocks
        self.fired.update(other.fired)
        self.unseen.extend(other.unseen)

    def missing(self) -> Iterator[str]:
        """What was promised to be looked at and was not seen, in words."""
        if not self.undisturbed[BOOKED]:
            yield "no client that no fault touched was BOOKED"
        for answer in (REJECTED, CONFLICT, INFRASTRUCTURE, IN_DOUBT):
            if not self.answers[answer]:
                yield f"no attempt was answered {answer}"
        if not self.overlaps and not self.contention:
            yield "no two clients contended for anything: no turn came in another's attempt"
        yield from map(str, self.unseen)

    def advice(self) -> Iterator[str]:
        """What is legal, and better done otherwise."""
        if self.deadlocks:
            yield (
                f"attempts deadlocked with each other {self.deadlocks} times. That is legal, and"
                " the loser is told of a conflict; but each deadlock costs everybody behind it the"
                " server's deadlock_timeout (1 s by default). Let every attempt take its locks in"
                " one order, the resource's row first."
            )


def _is_deadlock(event: Event) -> bool:
    return isinstance(event, Seen) and event.sqlstate == "40P01"
