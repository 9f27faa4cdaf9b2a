"""What the commands do, between the command line and the parts that do the work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis.configuration import set_hypothesis_home_dir
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lastseat.harness import record, report
from lastseat.harness.campaign import Campaign
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.mutants.catalogue import CONFORMING, MUTANTS, Mutant
from lastseat.harness.postgres import Target, open_target
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import SCENARIOS, named
from lastseat.harness.schedule.decision import Diverged
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import stage
from lastseat.harness.verdict import Verdict, worst
from lastseat.harness.verify import PROFILES, Profile, Verification, Verifier, Watcher
from lastseat.spec import proof, vectors

__all__ = [
    "Interrupted",
    "UnknownMutant",
    "explore",
    "list_mutants",
    "list_scenarios",
    "model",
    "mutants",
    "replay",
    "resolve",
    "verify",
    "write_vectors",
]

_TRIES = 5


def _console() -> Console:
    """Long lines are left to the terminal to wrap, so that they can be searched and pasted."""
    return Console(highlight=False, soft_wrap=True)


class UnknownMutant(Exception):
    """None has that name; the message lists those that there are."""


class Interrupted(Exception):
    """The user interrupted; had a violation been found by then?"""

    def __init__(self, *, violated: bool) -> None:
        super().__init__()
        self.violated = violated


def verify(
    implementation: Implementation,
    dsn: str | None,
    profile: Profile,
    out: Path,
    seed: int,
    *,
    in_process: bool = False,
) -> Verdict:
    """The main job, with progress and a report; raises Interrupted."""
    console = _console()
    set_hypothesis_home_dir(out / "hypothesis")  # not the folder that the user happens to be in
    with open_target(dsn) as target:
        result = Verification(implementation.name, target.describe(), profile.name, seed, out)
        console.print(f"[bold]lastseat verify[/] {escape(implementation.name)} on {result.server}")
        with report.progress(console) as watcher:
            _run(Verifier(implementation, target, profile, result, watcher, in_process), console)
    report.show(result, console)
    return result.verdict()


def _run(verifier: Verifier, console: Console) -> None:
    try:
        verifier.run()
    except KeyboardInterrupt:
        report.show(verifier.result, console)
        raise Interrupted(violated=bool(verifier.result.convicted)) from None
    except Exception as error:
        # A violation that was found stays one, whatever went wrong later.
        if not verifier.result.convicted:
            raise
        verifier.result.reasons.append(f"it ended early: {error}")


def list_scenarios() -> Verdict:
    """The scenarios there are, each with what it is there for."""
    table = Table("scenario", "what it is there for", box=None, pad_edge=False)
    for scenario in SCENARIOS:
        table.add_row(scenario.name, scenario.why)
    _console().print(table)
    return Verdict.PASS


def explore(
    name: str,
    implementation: Implementation,
    dsn: str | None,
    preemptions: int | None,
    out: Path,
    *,
    in_process: bool = False,
) -> Verdict:
    """Every schedule of one scenario; prints what was covered."""
    console = _console()
    scenario = named(name)
    with (
        open_target(dsn) as target,
        stage(
            implementation,
            target.dsn,
            out / "logs",
            names=tuple(scenario.attempts),
            in_process=in_process,
        ) as ready,
    ):
        campaign = Campaign(ready, out)
        coverage = campaign.scenario(scenario, preemptions)
    console.print(report.certificate(scenario, coverage, preemptions), end="")
    for convicted in campaign.convicted:
        report.show_conviction(convicted, console)
    verdicts = [Verdict.VIOLATION] if campaign.convicted else []
    doubtful = campaign.disagreements or coverage.diverged
    return worst(*verdicts, *([Verdict.INCONCLUSIVE] if doubtful else []))


def replay(file: Path, adapter: str | None, dsn: str | None) -> Verdict:
    """Run a saved schedule again, step by step; tells how often it took to come about."""
    console = _console()
    schedule = record.read_schedule(file.read_bytes())
    implementation = resolve(schedule.implementation, adapter)
    names = tuple(schedule.scenario.attempts)
    out = file.parent / "replay"
    with (
        open_target(dsn) as target,
        stage(implementation, target.dsn, out / "logs", names=names) as ready,
    ):
        campaign = Campaign(ready, out)
        for attempt in range(1, _TRIES + 1):
            run = Run(ready, schedule.scenario)
            try:
                replay_strictly(run, schedule.steps)
            except Diverged as diverged:
                console.print(f"try {attempt}: diverged: {escape(str(diverged))}")
                to_the_end(run)  # the clients are needed for the next try
                run.finish()
                continue
            run.finish()
            convicted = campaign.judge(run)
            console.print(f"try {attempt}: every step came about as recorded")
            if convicted is not None:
                report.show_conviction(convicted, console)
                return Verdict.VIOLATION
            return Verdict.PASS
    console.print(f"diverged {_TRIES} times: this schedule cannot be brought about again")
    return Verdict.INCONCLUSIVE


def list_mutants() -> Verdict:
    """The wrong implementations, and the right ones beside them."""
    table = Table("name", "factory", "breaks", box=None, pad_edge=False)
    for mutant in (*MUTANTS, *CONFORMING):
        table.add_row(mutant.name, mutant.factory, ", ".join(sorted(mutant.breaks)) or "nothing")
    _console().print(table)
    return Verdict.PASS


def mutants(names: Sequence[str], dsn: str | None, out: Path) -> Verdict:
    """Verify each of them like any implementation; every wrong one must be convicted.

    Raises UnknownMutant.
    """
    known = {mutant.name for mutant in (*MUTANTS, *CONFORMING)}
    if unknown := ", ".join(sorted(set(names) - known)):
        raise UnknownMutant(f"no mutant is called {unknown}; there are {', '.join(sorted(known))}")
    console = _console()
    table = Table("name", "verdict", "by the rules", "runs", "seconds", box=None, pad_edge=False)
    verdict = Verdict.PASS
    with open_target(dsn) as target, report.progress(console) as watcher:
        for mutant in (*MUTANTS, *CONFORMING):
            if not names or mutant.name in names:
                result = _verified(mutant, target, out / mutant.name, watcher)
                table.add_row(*_row(mutant, result))
                if not _as_it_should(mutant, result):
                    verdict = Verdict.VIOLATION
    console.print(table)
    return verdict


def _verified(mutant: Mutant, target: Target, out: Path, watcher: Watcher) -> Verification:
    profile = PROFILES["quick"]
    result = Verification(mutant.name, target.describe(), profile.name, 0, out)
    Verifier(mutant.implementation, target, profile, result, watcher).run_implementation()
    return result


def _rules(result: Verification) -> frozenset[str]:
    return frozenset[str]().union(*(convicted.rules for convicted in result.convicted))


def _as_it_should(mutant: Mutant, result: Verification) -> bool:
    if mutant.breaks:
        return bool(_rules(result) & mutant.breaks)
    return not result.convicted and not result.reasons


def _row(mutant: Mutant, result: Verification) -> Sequence[str]:
    seconds = sum(part.seconds for part in result.parts)
    said = "convicted" if result.convicted else "; ".join(result.reasons) or "nothing found"
    good = "" if _as_it_should(mutant, result) else "  (WRONG)"
    rules = ", ".join(sorted(_rules(result)))
    return mutant.name, said + good, rules, str(result.witness.runs), f"{seconds:.1f}"


def write_vectors(folder: Path) -> Verdict:
    """Write the language-neutral vectors and their schema."""
    print(f"{vectors.write(folder)} vectors in {folder}")
    return Verdict.PASS


def model(*, full: bool) -> Verdict:
    """Search the model, let it and the judge hold each other; prints each part when it is done."""
    good = True
    for part in proof.parts(full):
        print(part.text(), flush=True)
        good = good and part.ok
    print("the model holds" if good else "THE MODEL DOES NOT HOLD")
    return Verdict.PASS if good else Verdict.VIOLATION
