"""A verification: cases are run one by one, what each found is kept, and a verdict follows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from attrs import Factory, define, frozen

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.venue import Found, Venue
from lastseat.harness.verdict import Verdict
from lastseat.harness.witness import Witness


@frozen
class Result:
    """A case that was run, to its end or until it was interrupted."""

    case: Case
    found: Found
    seconds: float


@define
class Verification:
    """What is known so far; complete or not, it can be reported."""

    implementation: str
    server: str
    profile: str
    seed: int
    out: Path
    results: list[Result] = Factory(list)
    ended_early: str = ""
    """What ended it before it had run every case, if anything did."""
    finished: bool = False

    @property
    def witness(self) -> Witness:
        """What all cases together have witnessed."""
        together = Witness()
        for result in self.results:
            together.add(result.found.witness)
        return together

    @property
    def convicted(self) -> list[Convicted]:
        """Every violation, in the order in which the cases were run."""
        return [convicted for result in self.results for convicted in result.found.convicted]

    @property
    def reasons(self) -> list[str]:
        """Why it cannot pass although nothing illegal was found."""
        said = [reason for result in self.results for reason in result.found.reasons]
        if self.ended_early:
            said.append(f"it ended early: {self.ended_early}")
        elif not self.finished:
            said.append("it was interrupted before it had looked at everything")
        return [*dict.fromkeys(said), *self.witness.missing()]

    def verdict(self) -> Verdict:
        """The worst of what was found; what is not finished cannot pass."""
        if self.convicted:
            return Verdict.VIOLATION
        return Verdict.INCONCLUSIVE if self.reasons else Verdict.PASS


class Watcher:
    """Is told about progress; does nothing with it."""

    def begins(self, case: Case) -> None:
        """A case begins."""

    def run_done(self) -> None:
        """One more run was judged."""

    def ends(self, result: Result) -> None:
        """A case is over."""


def run_cases(cases: Iterable[Case], venue: Venue, result: Verification, watcher: Watcher) -> None:
    """Run every case; what was found stays in ``result`` even when it is interrupted."""
    for case in cases:
        watcher.begins(case)
        began, found = time.monotonic(), Found()
        try:
            case.run(venue, found)
        finally:
            done = Result(case, found, time.monotonic() - began)
            result.results.append(done)
        watcher.ends(done)
    result.finished = True
