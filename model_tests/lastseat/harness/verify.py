"""``lastseat verify``: the model, interleavings, faults, Hypothesis, canaries; then a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from attrs import Factory, define, frozen

from lastseat.harness import machine
from lastseat.harness.campaign import Campaign, Convicted
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.modelled import check_model
from lastseat.harness.mutants.catalogue import CANARIES, Mutant
from lastseat.harness.postgres import Target
from lastseat.harness.scenario import CLIENTS, SCENARIOS, WARM_UP, Scenario
from lastseat.harness.stage import Stage, stage
from lastseat.harness.verdict import Verdict, worst
from lastseat.harness.witness import Witness


@frozen
class Profile:
    """How far a verification goes."""

    name: str
    preemptions: int | None
    """Scheduling is exhaustive up to so many preemptions; None: exhaustive."""
    examples: int
    """Of the Hypothesis machine."""


PROFILES = {
    "quick": Profile("quick", preemptions=2, examples=80),
    "full": Profile("full", preemptions=None, examples=800),
}


@frozen
class Part:
    """A part of the verification, what it did, and how long it took."""

    name: str
    did: str
    seconds: float


@define
class Verification:
    """What is known so far; complete or not, it can be reported."""

    implementation: str
    server: str
    profile: str
    seed: int
    out: Path
    parts: list[Part] = Factory(list)
    witness: Witness = Factory(Witness)
    convicted: list[Convicted] = Factory(list)
    reasons: list[str] = Factory(list)
    """Why it cannot pass although nothing illegal was found."""
    finished: bool = False

    def verdict(self) -> Verdict:
        """The worst of what was found; what is not finished cannot pass."""
        found = [Verdict.VIOLATION] if self.convicted else []
        doubtful = self.reasons or not self.finished
        return worst(*found, *([Verdict.INCONCLUSIVE] if doubtful else []), Verdict.PASS)


class Watcher:
    """Is told about progress; does nothing with it."""

    def part_begins(self, name: str) -> None:
        """A part begins."""

    def run_done(self) -> None:
        """One more run was judged."""

    def part_ends(self, part: Part) -> None:
        """A part is done."""


@define
class Verifier:
    """Goes through the parts one by one, and keeps what each of them found."""

    implementation: Implementation
    target: Target
    profile: Profile
    result: Verification
    watcher: Watcher
    in_process: bool = False

    def run(self) -> None:
        """Every part; what was found stays in ``result`` even when it is interrupted."""
        self._model()
        self.run_implementation()
        for canary in CANARIES:
            self._canary(canary)
        self.result.finished = True

    @contextmanager
    def _part(self, name: str) -> Iterator[Callable[[str], None]]:
        self.watcher.part_begins(name)
        began = time.monotonic()
        said: list[str] = []
        yield said.append
        part = Part(name, " ".join(said), time.monotonic() - began)
        self.result.parts.append(part)
        self.watcher.part_ends(part)

    def _model(self) -> None:
        with self._part("model") as did:
            checked = check_model()
            did(checked.words)
            self.result.reasons.extend(checked.failures)

    def run_implementation(self) -> None:
        """All that is run against the implementation itself."""
        result = self.result
        with ExitStack() as stack:
            with self._part("stage") as did:
                ready = stack.enter_context(self._stage())
                did(f"{len(CLIENTS)} clients of {ready.declared.name}")
            campaign = Campaign(
                ready,
                result.out,
                self.watcher.run_done,
                result.seed,
                result.witness,
                result.convicted,
            )
            try:
                self._campaign(campaign)
            finally:
                result.reasons.extend(campaign.reasons())

    def _stage(self) -> AbstractContextManager[Stage]:
        return stage(
            self.implementation,
            self.target.new_database(),
            self.result.out / "logs",
            names=CLIENTS,
            in_process=self.in_process,
        )

    def _campaign(self, campaign: Campaign) -> None:
        with self._part(WARM_UP.name) as did:
            campaign.warm_up(WARM_UP)
            did("ten attempts of each client")
        for scenario in SCENARIOS:
            self._scenario(campaign, scenario)
        for scenario in SCENARIOS:
            if scenario.faults:
                with self._part(f"faults: {scenario.name}") as did:
                    runs = campaign.fault_sweep(scenario)
                    did(f"{runs} runs, one fault at one turn each")
        with self._part("hypothesis") as did:
            before = campaign.witness.runs
            machine.drive(
                campaign.stage,
                campaign.machine_judge,
                examples=self.profile.examples,
                seed=self.result.seed,
            )
            campaign.keep_shortest()
            did(f"{campaign.witness.runs - before} examples, seed {self.result.seed}")

    def _scenario(self, campaign: Campaign, scenario: Scenario) -> None:
        bound = self.profile.preemptions
        with self._part(scenario.name) as did:
            coverage = campaign.scenario(scenario, bound)
            scope = "all schedules" if bound is None else f"all schedules of ≤ {bound} preemptions"
            did(
                f"{coverage.schedules} schedules: {scope}"
                if not coverage.remaining
                else f"{coverage.schedules} schedules, then stopped at a violation"
            )

    def _canary(self, canary: Mutant) -> None:
        """The tool itself is checked: this wrong implementation must be convicted."""
        with self._part(f"canary {canary.name}") as did:
            rules = self.convict(canary)
            if rules & canary.breaks:
                did(f"convicted: {', '.join(sorted(rules))}")
            else:
                did("NOT convicted")
                self.result.reasons.append(
                    f"the wrong implementation {canary.name} was not convicted: lastseat is broken"
                )

    def convict(self, canary: Mutant) -> frozenset[str]:
        """Run what anybody is run with, until it is convicted; the rules that it broke."""
        out = self.result.out / "canaries" / canary.name
        dsn = self.target.new_database()
        with stage(canary.implementation, dsn, out / "logs", names=CLIENTS[:2]) as ready:
            campaign = Campaign(ready, out, self.watcher.run_done)
            for scenario in SCENARIOS:
                campaign.scenario(scenario, self.profile.preemptions)
                if not campaign.convicted and scenario.faults:
                    campaign.fault_sweep(scenario, enough=1)
                if campaign.convicted:
                    break
            return frozenset[str]().union(*(c.rules for c in campaign.convicted))
