"""Where cases take place: a server, an implementation, and a stage, set when first needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import Factory, define, field

from lastseat.harness.campaign import Campaign, Convicted
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
    """Why nothing may pass, although nothing illegal was found."""
    applies: bool = True
    """Was there anything to look at in this implementation?"""

    def add(self, other: Found) -> None:
        """Take in what was found elsewhere for the same case."""
        self.witness.add(other.witness)
        self.convicted.extend(other.convicted)
        self.reasons.extend(other.reasons)


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
        warm = self._stage is not None
        campaign = Campaign(
            self._set(),
            self.out.joinpath(*case.split("/")),
            self.progress,
            self.seed,
            found.witness,
            found.convicted,
            sweeps=self._sweeps,
        )
        try:
            if not warm:
                self._warm_up(campaign)
            yield campaign
        finally:
            found.reasons.extend(campaign.reasons())

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
                beside=self.target.over_tcp(dsn),
                commits_wait=self.target.commits_wait,
            )
            self._stage = self._stack.enter_context(setting)
        return self._stage


@contextmanager
def venue_for_worker(
    implementation: Implementation, dsn: str, out: Path, in_process: bool, _: Callable[[Any], None]
) -> Iterator[Venue]:
    """A worker's own clients and database on a server, and its own folder."""
    place = out / f"worker-{os.getpid()}"
    with (
        open_target(dsn) as target,
        Venue(implementation, target, place, in_process=in_process) as venue,
    ):
        yield venue
