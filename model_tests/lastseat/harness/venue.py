"""Where cases take place: a server, an implementation, and a stage, set when first needed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import Factory, define, field, frozen

from lastseat.harness.campaign import Campaign, Convicted
from lastseat.harness.confirmation import SeenOnce
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target, open_target
from lastseat.harness.scenario import CLIENTS, warm_up
from lastseat.harness.stage import Stage, stage
from lastseat.harness.sweep import Sweep
from lastseat.harness.witness import Witness


@define
class Found:
    """What a case has found so far; it is filled while the case runs, so that nothing is lost."""

    did: str = ""
    """What was done, in words."""
    witness: Witness = Factory(Witness)
    convicted: list[Convicted] = Factory(list)
    reasons: list[str] = Factory(list)
    """Why else nothing may pass, although nothing illegal was found."""
    applies: bool = True
    """Was there anything to look at in this implementation?"""
    seen_once: list[SeenOnce] = Factory(list)
    """What was illegal, is no fact, and did not repeat."""

    @property
    def doubts(self) -> list[str]:
        """All that stands against a pass, although nothing illegal was found."""
        return [*map(str, self.seen_once), *self.reasons]

    def add(self, other: Found) -> None:
        """Take in what was found elsewhere for the same case."""
        self.witness.add(other.witness)
        self.convicted.extend(other.convicted)
        self.seen_once.extend(other.seen_once)
        self.reasons.extend(other.reasons)

    def files(self) -> set[Path]:
        """The schedules of all runs that it keeps."""
        return {c.schedule for c in self.convicted} | {s.schedule for s in self.seen_once}

    def add_missing(self, other: Found) -> None:
        """Take in the runs that ``other`` has kept and that are not here yet, told by their files.

        This is for what was interrupted, and may have been handed over in part.
        """
        here = self.files()
        self.convicted.extend(c for c in other.convicted if c.schedule not in here)
        self.seen_once.extend(s for s in other.seen_once if s.schedule not in here)


HELD = "held between being done and being seen, so that they overlap"
INDIFFERENT = "only end what earlier turns have done, so that no two were made to overlap"
UNAVAILABLE = "commits that overlap each other: not available on this server"


@define
class Venue:
    """One implementation on one server; what is found goes to a folder ``out``."""

    implementation: Implementation
    target: Target
    out: Path
    seed: int = 0
    progress: Callable[[], None] = lambda: None
    in_process: bool = False
    logs: Path = Factory(lambda self: self.out / "logs", takes_self=True)
    """Where the clients' logs go."""
    commits: str = field(default=UNAVAILABLE, init=False)
    """Do commits of the clients wait to be finished, so that they can overlap?"""
    _stack: ExitStack = field(factory=ExitStack, init=False)
    _stage: Stage | None = field(default=None, init=False)
    _sweeps: dict[str, Sweep] = field(factory=dict, init=False)
    _numbers: dict[Path, Counter[str]] = field(factory=dict, init=False)
    found: Found = field(factory=Found, init=False)
    """What the campaign that was begun last puts what it finds into."""
    over: Callable[[], None] = field(default=lambda: None, init=False)
    """Is called when a campaign is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        self._stage = None

    @contextmanager
    def campaign(self, case: str, found: Found) -> Iterator[Campaign]:
        """A campaign on the stage; what it finds is put into ``found`` even when it ends early."""
        warm, out = self._stage is not None, self.out.joinpath(*case.split("/"))
        self.found = found
        campaign = Campaign(
            self._set(),
            out,
            self.progress,
            self.seed,
            found.witness,
            found.convicted,
            found.seen_once,
            sweeps=self._sweeps,
            numbers=self._numbers.setdefault(out, Counter()),
            case=case,
        )
        try:
            if not warm:
                self._warm_up(campaign)
            yield campaign
        finally:
            found.reasons.extend(campaign.other_reasons())
            self.over()

    def _warm_up(self, campaign: Campaign) -> None:
        """Where commits are seen to do more than to end a transaction, they are held from now on:
        two of them must meet, too."""
        campaign.warm_up(warm_up())
        if not self.target.commits_wait:
            return
        self.commits = INDIFFERENT
        if campaign.stage.sessions.commits_work:
            self.commits = HELD
            campaign.stage.hold_commits()
            campaign.warm_up(warm_up())

    def of(self, implementation: Implementation, case: str) -> Venue:
        """The same server and another implementation."""
        return Venue(
            implementation,
            self.target,
            self.out.joinpath(*case.split("/")),
            self.seed,
            self.progress,
        )

    def _set(self) -> Stage:
        if self._stage is None:
            dsn = self.target.new_database()
            setting = stage(
                self.implementation,
                dsn,
                self.logs,
                names=CLIENTS,
                in_process=self.in_process,
                beside=self.target.for_clients(dsn),
                commits_wait=self.target.commits_wait,
            )
            self._stage = self._stack.enter_context(setting)
        return self._stage


@frozen
class Early:
    """What a worker's task has kept by now: it survives if the task is broken off."""

    worker: int
    convicted: tuple[Convicted, ...]
    seen_once: tuple[SeenOnce, ...]


@define
class Heard:
    """What workers have told early, each the last of it."""

    _early: dict[int, Early] = Factory(dict)

    def __call__(self, early: Early) -> None:
        """A worker tells something."""
        self._early[early.worker] = early

    def broken_off(self, found: Found) -> None:
        """Take in what was found in tasks that did not come to their end."""
        for early in self._early.values():
            kept = Found(convicted=[*early.convicted], seen_once=[*early.seen_once])
            found.add_missing(kept)


@contextmanager
def venue_for_worker(
    implementation: Implementation,
    dsn: str,
    out: Path,
    in_process: bool,
    tell: Callable[[Early], None],
) -> Iterator[Venue]:
    """A worker's own clients and database on a server, and its own folder."""
    number = os.getpid()
    with (
        open_target(dsn) as target,
        Venue(implementation, target, out / f"worker-{number}", in_process=in_process) as venue,
    ):
        told = Early(number, (), ())

        def tell_early() -> None:
            nonlocal told
            kept = Early(number, tuple(venue.found.convicted), tuple(venue.found.seen_once))
            if kept != told:
                told = kept
                tell(kept)

        venue.progress = venue.over = tell_early
        yield venue
