"""A campaign: many runs of one implementation, each recorded, then judged, then counted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from attrs import Factory, define, evolve, field, frozen

from lastseat.harness import record, shell
from lastseat.harness.ending import ending
from lastseat.harness.judge.verdict import Finding, Judged
from lastseat.harness.paste import pack
from lastseat.harness.record import Recorded
from lastseat.harness.registry import typed
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.interleavings import interleavings, to_the_end
from lastseat.harness.script import script_of
from lastseat.harness.shrinking import Example, Shrinking
from lastseat.harness.stage import Stage
from lastseat.harness.story import Story, tell
from lastseat.harness.sweep import BASES, Sweep
from lastseat.harness.verdict import Verdict
from lastseat.harness.ways import Ways
from lastseat.harness.witness import Witness

NOT_JUDGED = Judged((), None, ())
_ENOUGH_RULES = 3
_SHRINKING = 10.0  # seconds at most
_TRIES = 5


@frozen
class Convicted:
    """A run that broke a rule, and the file that runs it again; for one that clients ran freely,
    the file that is judged again."""

    findings: tuple[Finding, ...]
    timeline: tuple[str, ...]
    schedule: Path
    scenario: str
    story: Story | None = None
    """For the page; None where a judge's disagreement is all there is."""
    string: str = ""
    """The schedule, to be pasted."""
    named: str = ""
    """The implementation, quoted for a shell, where a file may not name it; else empty."""

    @property
    def page(self) -> Path:
        """Where its page belongs: beside the file that runs it again."""
        return self.schedule.with_name(f"{self.schedule.name.removesuffix('.schedule.json')}.html")

    @property
    def again(self) -> str:
        """The command that shows it once more."""
        if self.schedule.name.endswith(".jsonl"):
            return f"lastseat check {shell.word(str(self.schedule))}"
        return self._replay(shell.word(str(self.schedule)))

    @property
    def without_file(self) -> str:
        """The command that shows it once more from the string; empty where there is none."""
        return self._replay(self.string) if self.string else ""

    def _replay(self, schedule: str) -> str:
        return f"lastseat replay {schedule} {self.named}".rstrip()

    @property
    def rules(self) -> frozenset[str]:
        return frozenset(finding.rule for finding in self.findings)


@define
class Campaign:
    """Judges runs on a stage and remembers what came of it."""

    stage: Stage
    out: Path
    progress: Callable[[], None] = lambda: None
    seed: int | None = None
    witness: Witness = Factory(Witness)
    convicted: list[Convicted] = Factory(list)
    disagreements: list[str] = Factory(list)
    not_judged: set[str] = Factory(set)
    disturbed: list[str] = Factory(list)
    """Why runs were not judged, where none came about undisturbed."""
    sweeps: dict[str, Sweep] = Factory(dict)
    """Kept where several campaigns sweep the same schedules on one stage."""
    diverged: int = 0
    _shortest: Convicted | None = field(default=None, init=False)
    _fewest_steps: float = field(default=math.inf, init=False)

    def scenario(
        self,
        scenario: Scenario,
        preemptions: int | None,
        coverage: Coverage | None = None,
        *,
        on: bool = False,
    ) -> Coverage:
        """Every interleaving with at most so many preemptions, until one is illegal; ``on``: also
        after that."""
        coverage = Coverage() if coverage is None else coverage

        def disturbed(run: Run) -> bool:
            run.finish()
            return run.disturbed is not None

        runs = interleavings(lambda: Run(self.stage, scenario), preemptions, coverage, disturbed)
        for run in runs:
            legal = self._keep(self.judge(run))
            coverage.outcomes[ending(run)] += 1
            if not legal and not on:
                break
        self.diverged += coverage.diverged
        return coverage

    def warm_up(self, scenario: Scenario) -> None:
        """One schedule, client after client; raises AdapterError if one goes around the gate, or
        does not get in."""
        for run in undisturbed(lambda: Run(self.stage, scenario)):
            ways = Ways(self.stage.gate, self.stage.backends, self.stage.loop)
            to_the_end(run)
            ways.check()
            ways.check_passwords()
            run.finish()
        self._keep(self.judge(run))

    def fault_sweep(
        self,
        scenario: Scenario,
        *faults: str,
        enough: int = _ENOUGH_RULES,
        everywhere: bool = False,
    ) -> int:
        """These faults (none named: all) at each turn of the scenario's schedules, one at a time;
        how many runs it took.

        The schedules behind the first are for the faults that had no place before, or, with
        ``everywhere``, for all. Goes on after a violation, for another fault may break another
        rule; but not when so many rules are known to be broken.
        """
        return self._sweep(self._fault_runs(scenario, faults, everywhere=everywhere), enough)

    def fault_pairs(self, scenario: Scenario, most: int) -> tuple[int, int]:
        """Two faults in one run, drawn at random; how many runs, at most ``most``, and how many of
        them another way than was drawn.

        What follows a fault has a pace of its own: the place for a second one may not come about
        again. Of what is drawn at random nobody expects to be all.
        """
        sweeps = [self._sweep_of(scenario, base) for base in scenario.faults]
        runs = (sweep.pairs(most // len(sweeps), self.seed or 0) for sweep in sweeps)
        count = self._sweep(itertools.chain.from_iterable(runs), _ENOUGH_RULES)
        return count, sum(sweep.take_diverged() for sweep in sweeps)

    def _fault_runs(
        self, scenario: Scenario, faults: tuple[str, ...], *, everywhere: bool
    ) -> Iterator[Run]:
        had: frozenset[str] = frozenset()
        for base in BASES if everywhere else scenario.faults:
            sweep = self._sweep_of(scenario, base)
            yield from sweep.runs(*faults, but=had)
            self.diverged += sweep.take_diverged()
            if not everywhere:
                had |= sweep.reached()

    def _sweep_of(self, scenario: Scenario, base: str) -> Sweep:
        made = Sweep(self.stage, scenario, BASES[base])
        return self.sweeps.setdefault(f"{scenario.name}, {base}", made)

    def _sweep(self, runs: Iterable[Run], enough: int) -> int:
        count = 0
        known: set[str] = set()
        for run in runs:
            count += 1
            recorded, judged = self._judge(run)
            if known.issuperset(judged.rules):
                continue
            known |= judged.rules
            self._keep(self._convict(recorded, judged))
            hung = any(attempt.hung for attempt in run.attempts)
            if hung or len(known) >= enough:  # to see one hang takes as long as its whole deadline
                break
        return count

    def judge_and_keep(self, run: Run) -> bool:
        """Judge a finished run; keep it if it is illegal. Was it legal?"""
        return self._keep(self.judge(run))

    def make_small(self, run: Run, seconds: float = _SHRINKING) -> int:
        """Put a smaller run that breaks one of the same rules in the place of this one, which was
        kept last; how many runs it took to find it."""
        rules = self.convicted[-1].rules
        shrinking = Shrinking(self.stage, lambda run: self._judge(run)[1].rules, rules, seconds)
        example = shrinking.smallest(Example(run.scenario, tuple(script_of(run, run.steps))))
        for _ in range(_TRIES):
            again, _ = shrinking.run(example)
            recorded, judged = self._judge(again)
            if judged.rules & rules:
                self.convicted.pop()
                self._keep(self._convict(recorded, judged))
                break
        return shrinking.runs

    def judge(self, run: Run) -> Convicted | None:
        """Record a finished run, judge it, and count what it witnessed."""
        recorded, judged = self._judge(run)
        return self._convict(recorded, judged) if judged.findings else None

    def _judge(self, run: Run) -> tuple[Recorded, Judged]:
        recorded = record.close(run, seed=self.seed)
        record.write(recorded, self.out, "current")
        if run.disturbed is not None:
            self.disturbed.append(run.disturbed)
            self.progress()
            return recorded, NOT_JUDGED
        judged = recorded.judged()
        self.witness.take(run)
        self.not_judged.update(judged.not_judged)
        self.progress()
        if judged.disagreement is not None:
            self._save(recorded, judged, f"disagreement-{len(self.disagreements) + 1}")
            self.disagreements.append(judged.disagreement)
        return recorded, judged

    def _convict(self, recorded: Recorded, judged: Judged) -> Convicted:
        """Saved under the name of the next that is kept: what is not kept is overwritten."""
        return self._save(recorded, judged, f"violation-{len(self.convicted) + 1}")

    def machine_judge(self, run: Run) -> frozenset[str]:
        """For Hypothesis: judge, and remember the shortest conviction. The rules that it broke."""
        recorded, judged = self._judge(run)
        if judged.findings and len(run.steps) <= self._fewest_steps:
            self._fewest_steps = len(run.steps)
            self._shortest = self._convict(recorded, judged)
        return judged.rules

    def keep_shortest(self) -> None:
        """Keep the shortest of what was found with Hypothesis, if it was anything."""
        self._keep(self._shortest)

    def _keep(self, convicted: Convicted | None) -> bool:
        if convicted is not None:
            self.convicted.append(convicted)
        return convicted is None

    def _save(self, recorded: Recorded, judged: Judged, name: str) -> Convicted:
        rules = ", ".join(sorted(judged.rules))
        kept = evolve(recorded, schedule=evolve(recorded.schedule, verdict=rules))
        path = record.write(kept, self.out, name)
        timeline = tuple(record.timeline(kept))
        story = tell(kept.schedule, kept.history, judged.findings) if judged.findings else None
        name = recorded.schedule.scenario.name
        string, named = pack(kept.schedule), self._named()
        return Convicted(judged.findings, timeline, path, name, story, string, named)

    def _named(self) -> str:
        implementation = self.stage.implementation
        return "" if implementation.built_in else typed(implementation.name) or ""

    def verdict(self) -> Verdict:
        """What may be said so far."""
        if self.convicted:
            return Verdict.VIOLATION
        return Verdict.INCONCLUSIVE if any(self.reasons()) else Verdict.PASS

    def reasons(self) -> Iterator[str]:
        """Why this cannot pass, though nothing illegal was found."""
        for words in self.disagreements:
            yield f"the judges disagree, which is a fault of lastseat: {words}"
        if self.disturbed:
            yield f"{len(self.disturbed)} runs were not judged: {self.disturbed[-1]}"
        if self.stage.unsaved:
            yield self.stage.unsaved
        if self.diverged:
            yield f"{self.diverged} schedules could not be brought about again"
        yield from sorted(self.not_judged)
