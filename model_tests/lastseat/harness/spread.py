"""The cases of a verification spread over several workers, which share one server.

Each worker has clients and a database of its own. What they find is put together in the order of
the cases, whoever was first; a violation is told at once, so that it survives an interruption.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import define, field, frozen
from hypothesis.configuration import set_hypothesis_home_dir

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import PROFILES, Case, cases
from lastseat.harness.confirmation import SeenOnce
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import open_target
from lastseat.harness.venue import Found, Venue
from lastseat.harness.verify import Result, Verification, Watcher, attempt_case
from lastseat.harness.workers import Crew, Tell


@frozen
class Desk:
    """What a worker needs to set itself up; the server is at ``dsn``."""

    implementation: Implementation
    dsn: str
    out: Path
    seed: int
    profile: str
    in_process: bool = False

    @contextlib.contextmanager
    def __call__(self, tell: Tell) -> Iterator[_Worker]:
        set_hypothesis_home_dir(self.out / "hypothesis")
        known = {case.id: case for case in cases(PROFILES[self.profile])}
        worker = _Worker(known, tell)
        with (
            open_target(self.dsn) as target,
            Venue(
                self.implementation,
                target,
                self.out,  # no case is run by two
                self.seed,
                worker.run_done,
                self.in_process,
                self.out / "logs" / f"worker-{os.getpid()}",
            ) as venue,
        ):
            worker.venue = venue
            yield worker


@frozen
class RunDone:
    """One more run was judged; these violations were found since the last time, and this is what
    is in doubt by now."""

    case: str
    convicted: tuple[Convicted, ...]
    seen_once: tuple[SeenOnce, ...] = ()


@frozen
class Came:
    """What came of a case."""

    found: Found
    error: str | None
    seconds: float


@define
class _Worker:
    """In a worker's process: its venue, and what it has found in the case that it runs."""

    cases: Mapping[str, Case]
    tell: Tell
    venue: Venue = field(init=False)
    _case: str = field(default="", init=False)
    _found: Found = field(factory=Found, init=False)
    _told: int = field(default=0, init=False)

    def run(self, case: str) -> Came:
        """Run the case of this id."""
        self._case, self._found, self._told = case, Found(), 0
        self.venue.found = self._found
        began = time.monotonic()
        error = attempt_case(self.cases[case], self.venue, self._found)
        return Came(self._found, error, time.monotonic() - began)

    def run_done(self) -> None:
        """Tell it, and with it what it may be too late to tell when the case has ended."""
        known = Found()
        known.add_missing(self._found)
        known.add_missing(self.venue.found)
        news = tuple(known.convicted[self._told :])
        self._told += len(news)
        self.tell(RunDone(self._case, news, tuple(known.seen_once)))


def _run(case: str, worker: _Worker) -> Came:
    return worker.run(case)


@define
class Together:
    """In our own process: what has come from the workers by now."""

    chosen: Sequence[Case]
    result: Verification
    watcher: Watcher
    _early: dict[str, Found] = field(factory=dict, init=False)
    """What was told of cases that are not over."""
    _order: Mapping[str, int] = field(init=False)
    _shown: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._order = {case.id: number for number, case in enumerate(self.chosen)}

    def heard(self, news: RunDone) -> None:
        """A worker tells something."""
        if news.convicted or news.seen_once or news.case in self._early:
            early = self._early.setdefault(news.case, Found())
            early.convicted.extend(news.convicted)
            early.seen_once[:] = news.seen_once
        self.watcher.run_done()

    def took(self, case: Case, came: Came) -> Result:
        """A case is over."""
        self._early.pop(case.id, None)
        return self._keep(case, came.found, came.seconds, came.error)

    def broken_off(self) -> None:
        """Keep what was found in cases that did not come to their end."""
        for case in self.chosen:
            if case.id in self._early:
                self._keep(case, self._early[case.id], 0.0, None, whole=False)

    def show(self) -> None:
        """Tell the watcher of the cases, each when those before it are over, too."""
        over = {result.case.id: result for result in self.result.results}
        while self._shown < len(self.chosen):
            case = self.chosen[self._shown]
            if case.id not in over:
                return
            self.watcher.begins(case)
            self.watcher.ends(over[case.id])
            self._shown += 1

    def _keep(
        self, case: Case, found: Found, seconds: float, error: str | None, *, whole: bool = True
    ) -> Result:
        whole = whole and error is None
        known = self.result.known.reason(case.id)
        done = Result(case, found, seconds, known, error, whole)
        self.result.results.append(done)
        self.result.results.sort(key=lambda result: self._order[result.case.id])
        self.result.not_run.remove(case)
        return done


def run_spread(
    chosen: Sequence[Case], desk: Desk, workers: int, result: Verification, watcher: Watcher
) -> None:
    """Like ``verify.run_cases``, by so many workers."""
    result.not_run = list(chosen)
    together = Together(chosen, result, watcher)
    crew: Crew[_Worker, Came] = Crew(workers, desk, together.heard)
    # What takes longest must not come last, when the others have nothing left to do.
    first = sorted(chosen, key=lambda case: not case.random)
    try:
        with crew:
            begun = {crew.submit(partial(_run, case.id)): case for case in first}
            while crew.pending:
                number, came = crew.finished()
                done = together.took(begun[number], came)
                together.show()
                if done.error is not None:
                    return
            result.finished = True
    finally:
        together.broken_off()
