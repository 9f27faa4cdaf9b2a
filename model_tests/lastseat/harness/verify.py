"""A verification: cases are run one by one, what each found is kept, and a verdict follows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import Factory, define, frozen

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.selection import Known, fits
from lastseat.harness.venue import Found, Venue
from lastseat.harness.verdict import Verdict, worst
from lastseat.harness.witness import Witness


@frozen
class Result:
    """A case that was run, to its end or until it was interrupted."""

    case: Case
    found: Found
    seconds: float
    known: str | None = None
    """Why it is declared as known to fail, if it is."""
    error: str | None = None
    """What the adapter did that none may do."""
    whole: bool = True
    """Did it come to its end?"""

    @property
    def verdict(self) -> Verdict:
        """Of this case alone, whatever was known before."""
        if self.found.convicted:
            return Verdict.VIOLATION
        if self.error is not None:
            return Verdict.ERROR
        return Verdict.INCONCLUSIVE if self.found.doubts or not self.whole else Verdict.PASS

    @property
    def failed_as_known(self) -> bool:
        """Did it fail, and was that declared? An adapter that fails is never known to."""
        failed = self.verdict in {Verdict.VIOLATION, Verdict.INCONCLUSIVE}
        return self.known is not None and self.whole and failed


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
    known: Known = Factory(Known)
    required: Sequence[str] = ()
    """Patterns of cases without which there is no pass, where they cannot happen."""
    deselected: Sequence[Case] = ()
    """What the user did not want to be run."""
    not_run: list[Case] = Factory(list)
    """What was to be run, and was not come to."""

    @property
    def witness(self) -> Witness:
        """What all cases together have witnessed."""
        together = Witness()
        for result in self.results:
            together.add(result.found.witness)
        return together

    @property
    def convicted(self) -> list[Convicted]:
        """Every violation that is not known, in the order in which the cases were run."""
        return [convicted for result in self._news() for convicted in result.found.convicted]

    @property
    def errors(self) -> list[str]:
        """What the adapter did that none may do."""
        return [result.error for result in self.results if result.error is not None]

    @property
    def failed_as_known(self) -> list[Result]:
        """The cases that failed and were declared to."""
        return [result for result in self.results if result.failed_as_known]

    @property
    def reasons(self) -> list[str]:
        """Why it cannot pass although nothing illegal was found."""
        said = [reason for result in self._news() for reason in result.found.doubts]
        if self.ended_early:
            said.append(f"it ended early: {self.ended_early}")
        elif not self.finished and not self.errors:
            said.append("it was interrupted before it had looked at everything")
        missing = [*self._unwitnessed(), *self._unexpected(), *self._absent()]
        return [*dict.fromkeys(said), *missing]

    def verdict(self) -> Verdict:
        """The worst of what was found; what is not finished cannot pass."""
        return worst(
            *([Verdict.VIOLATION] if self.convicted else []),
            *([Verdict.ERROR] if self.errors else []),
            *([Verdict.INCONCLUSIVE] if self.reasons else []),
        )

    def _news(self) -> Iterator[Result]:
        return (result for result in self.results if not result.failed_as_known)

    def _unwitnessed(self) -> Iterator[str]:
        """Only who was to look everywhere can be reproached with not having seen something."""
        if all(case.ours for case in self.deselected):
            yield from self.witness.missing()

    def _absent(self) -> Iterator[str]:
        for result in self.results:
            if not result.found.applies and any(fits(p, result.case.id) for p in self.required):
                yield f"{result.case.id} is required, and did not happen: {result.found.did}"

    def _unexpected(self) -> Iterator[str]:
        """Failures that were declared and did not occur. Chance proves nothing, however."""
        for pattern, reason in self.known.reasons.items():
            meant = [r for r in self.results if fits(pattern, r.case.id) and not r.case.random]
            if meant and all(result.verdict is Verdict.PASS for result in meant):
                yield f"{pattern} passed, and is declared as known to fail: {reason}"


class Watcher:
    """Is told about progress; does nothing with it."""

    def begins(self, case: Case) -> None:
        """A case begins."""

    def run_done(self) -> None:
        """One more run was judged."""

    def ends(self, result: Result) -> None:
        """A case is over."""


def run_cases(cases: Sequence[Case], venue: Venue, result: Verification, watcher: Watcher) -> None:
    """Run every case; what was found stays in ``result`` even when it is interrupted.

    An adapter that fails ends it: nothing that it says later can be relied on.
    """
    result.not_run = list(cases)
    for case in cases:
        watcher.begins(case)
        result.not_run.remove(case)
        done = run_case(case, venue, result)
        watcher.ends(done)
        if done.error is not None:
            return
    result.finished = True


def run_case(case: Case, venue: Venue, result: Verification) -> Result:
    """Run one case and keep what it found, whatever ends it."""
    began, found = time.monotonic(), Found()
    error, whole = None, False
    try:
        error = attempt_case(case, venue, found)
        whole = error is None
    finally:
        seconds = time.monotonic() - began
        done = Result(case, found, seconds, result.known.reason(case.id), error, whole)
        result.results.append(done)
    return done


def attempt_case(case: Case, venue: Venue, found: Found) -> str | None:
    """Run a case; what the adapter did that none may do, if it did."""
    try:
        case.run(venue, found)
    except AdapterError as failure:
        if case.ours:
            raise
        return str(failure)
    return None
