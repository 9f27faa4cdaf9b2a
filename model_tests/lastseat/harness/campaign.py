"""A campaign: many runs of one implementation, each recorded, then judged, then counted."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from attrs import Factory, define, evolve, frozen

from lastseat.harness import record
from lastseat.harness.confirmation import Repetition, SeenOnce, again, repeat, replay
from lastseat.harness.ending import ending
from lastseat.harness.judge.verdict import Finding, Judged
from lastseat.harness.meetings import Fired
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
_MOST_HANGS = 3


@frozen
class Convicted:
    """A run that broke a rule, which is a fact or was illegal again when it was repeated; and the
    file that runs it again. For one that clients ran freely, the file that is judged again."""

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
        return again(self.schedule, self.named)

    @property
    def without_file(self) -> str:
        """The command that shows it once more from the string; empty where there is none."""
        return replay(self.string, self.named) if self.string else ""

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
    seen_once: list[SeenOnce] = Factory(list)
    """What was illegal and did not repeat, or is being repeated."""
    disagreements: list[str] = Factory(list)
    not_judged: set[str] = Factory(set)
    disturbed: list[str] = Factory(list)
    """Why runs were not judged, where none came about undisturbed."""
    sweeps: dict[str, Sweep] = Factory(dict)
    """Kept where several campaigns sweep the same schedules on one stage."""
    diverged: int = 0
    numbers: Counter[str] = Factory(Counter)
    """How many files of each kind were saved; kept where several campaigns save in one folder."""
    case: str = ""
    """The case that it is run for."""

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
            legal = self.judge(run) is None
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
        self.judge(run)

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
        count, hangs = 0, 0
        known: set[str] = set()
        for run in runs:
            count += 1
            recorded, judged = self._look(run)
            if known.issuperset(judged.rules):
                self.progress()
                continue
            convicted = self._weigh(recorded, judged)
            known |= convicted.rules if convicted is not None else set()
            # To see one hang takes as long as its whole deadline.
            hung = any(attempt.hung for attempt in run.attempts)
            hangs += hung
            if (hung and convicted) or hangs == _MOST_HANGS or len(known) >= enough:
                break
        return count

    def make_small(self, run: Run, steps: int | None = None, seconds: float = _SHRINKING) -> int:
        """Put a smaller run that breaks one of the same rules in the place of this one, which was
        kept last; how many runs it took to find it. It is made from the first ``steps`` of it."""
        kept, doubts = self.convicted[-1], len(self.seen_once)
        shrinking = Shrinking(self.stage, lambda run: self._look(run)[1].rules, kept.rules, seconds)
        moves = tuple(script_of(run, run.steps[:steps]))
        example = shrinking.smallest(Example(run.scenario, moves))
        for _ in range(_TRIES):
            recorded, judged = self._look(shrinking.run(example)[0])
            if judged.rules & kept.rules and self._weigh(recorded, judged) is not None:
                self._replace(kept)
                break
        for doubt in self.seen_once[doubts:]:  # the run that was to be made smaller did repeat
            record.remove(doubt.schedule)
        del self.seen_once[doubts:]
        return shrinking.runs

    def _replace(self, kept: Convicted) -> None:
        """What was kept last takes the place, and the name, of what was kept before."""
        smaller = self.convicted.pop()
        record.rename(smaller.schedule, kept.schedule)
        self.convicted[-1] = evolve(smaller, schedule=kept.schedule)

    def judge(self, run: Run) -> Convicted | None:
        """Record a finished run, judge it, and count what it witnessed; keep it if it is illegal,
        and that is a fact, or repeats."""
        return self._weigh(*self._look(run))

    def machine_judge(self, run: Run) -> frozenset[str]:
        """For Hypothesis: the rules that a run broke, as facts or again when it was repeated."""
        convicted = self.judge(run)
        return convicted.rules if convicted is not None else frozenset()

    def look(self, run: Run) -> Judged:
        """Record a finished run and judge it; nothing is kept, and it is not repeated."""
        return self._look(run)[1]

    def keep(self, run: Run, findings: Sequence[Finding]) -> Convicted:
        """Keep a finished run for these findings, which are facts or have been repeated."""
        self.convicted.append(self._save(record.close(run), findings, self._next("violation")))
        return self.convicted[-1]

    def _look(self, run: Run, *, counts: bool = True) -> tuple[Recorded, Judged]:
        """Record a run and judge it. A repetition ``counts`` for nothing that is witnessed."""
        recorded = record.close(run, seed=self.seed)
        record.write(recorded, self.out, "current")
        if run.disturbed is not None:
            self.disturbed.append(run.disturbed)
            return recorded, NOT_JUDGED
        judged = recorded.judged()
        if counts:
            self.witness.take(run, partial(self._unseen, recorded))
        self.not_judged.update(judged.not_judged)
        if judged.disagreement is not None:
            self._save(recorded, judged.findings, self._next("disagreement"))
            self.disagreements.append(judged.disagreement)
        return recorded, judged

    def _unseen(self, recorded: Recorded, fired: Fired) -> Fired:
        """Keep a run in which a fault was not seen to happen."""
        saved = self._save(recorded, (), self._next("unseen"))
        return evolve(fired, case=self.case or saved.scenario, again=saved.again)

    def _weigh(self, recorded: Recorded, judged: Judged) -> Convicted | None:
        """Keep a run that broke a rule: at once what is a fact, the rest when it was illegal again.

        What did not repeat is told as such. Until it is decided it counts as seen once, so that
        whatever ends this in the middle ends in that.
        """
        facts = tuple(finding for finding in judged.findings if finding.fact)
        others = tuple(finding for finding in judged.findings if not finding.fact)
        convicted = None
        if facts:
            convicted = self._save(recorded, facts, self._next("violation"))
            self.convicted.append(convicted)
        if others:
            doubtful = convicted or self._save(recorded, others, self._next("seen-once"))
            doubt = SeenOnce(
                _rules(others), doubtful.scenario, doubtful.schedule, named=doubtful.named
            )
            self.seen_once.append(doubt)
            self.progress()
            repetition = self._repeat(recorded, doubt)
            convicted = self._decide(recorded, judged, repetition, convicted, doubt)
        else:
            self.progress()
        return convicted

    def _repeat(self, recorded: Recorded, doubt: SeenOnce) -> Repetition:
        def judge(run: Run) -> frozenset[str]:
            judged = self._look(run, counts=False)[1]
            self.progress()
            return judged.rules

        saved = record.read_schedule(doubt.schedule.read_bytes())
        return repeat(self.stage, saved, recorded.run, frozenset(doubt.rules), judge)

    def _decide(
        self,
        recorded: Recorded,
        judged: Judged,
        repetition: Repetition,
        convicted: Convicted | None,
        doubt: SeenOnce,
    ) -> Convicted | None:
        """Tell of the rules that were broken again as of violations, and of the others that they
        were not. ``convicted`` is kept already, for facts."""
        again = frozenset(rule for rule in doubt.rules if repetition.illegal[rule])
        told = tuple(
            finding if finding.fact else evolve(finding, repeated=repetition.of(finding.rule))
            for finding in judged.findings
            if finding.fact or finding.rule in again
        )
        self.seen_once.remove(doubt)
        if missed := tuple(rule for rule in doubt.rules if rule not in again):
            self.seen_once.append(evolve(doubt, rules=missed, how=repetition.words))
        if convicted is not None:
            self.convicted.remove(convicted)
            name = record.name_of(convicted.schedule)
        elif again:
            name = self._next("violation")
        else:
            return None
        self.convicted.append(self._save(recorded, told, name))
        if convicted is None:
            self._take_place(doubt)
        return self.convicted[-1]

    def _take_place(self, doubt: SeenOnce) -> None:
        """What has become a violation is not seen once: its files have another name now."""
        record.remove(doubt.schedule)
        now = self.convicted[-1].schedule
        self.seen_once[:] = [
            evolve(each, schedule=now) if each.schedule == doubt.schedule else each
            for each in self.seen_once
        ]

    def _next(self, kind: str) -> str:
        self.numbers[kind] += 1
        return f"{kind}-{self.numbers[kind]}"

    def _save(self, recorded: Recorded, findings: Sequence[Finding], name: str) -> Convicted:
        rules = ", ".join(sorted({finding.rule for finding in findings}))
        kept = evolve(recorded, schedule=evolve(recorded.schedule, verdict=rules))
        path = record.write(kept, self.out, name)
        timeline = tuple(record.timeline(kept))
        story = tell(kept.schedule, kept.history, findings) if findings else None
        scenario = recorded.schedule.scenario.name
        string, named = pack(kept.schedule), self._named()
        return Convicted(tuple(findings), timeline, path, scenario, story, string, named)

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
        yield from map(str, self.seen_once)
        yield from self.other_reasons()

    def other_reasons(self) -> Iterator[str]:
        """Those of them that are no doubts about single runs."""
        for words in self.disagreements:
            yield f"the judges disagree, which is a fault of lastseat: {words}"
        if self.disturbed:
            yield f"{len(self.disturbed)} runs were not judged: {self.disturbed[-1]}"
        if self.stage.unsaved:
            yield self.stage.unsaved
        if self.diverged:
            yield f"{self.diverged} schedules could not be brought about again"
        yield from sorted(self.not_judged)


def _rules(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(dict.fromkeys(finding.rule for finding in findings))
