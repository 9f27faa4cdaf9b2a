"""Stages that many tests share: a server for each worker, a database for each implementation."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lastseat.harness.campaign import Campaign
from lastseat.harness.postgres import Server, Target, open_target, start
from lastseat.harness.registry import resolve
from lastseat.harness.stage import Stage, stage


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running server that tests leave as it was."""
    with start() as running:
        yield running


@pytest.fixture(scope="session")
def target(server: Server) -> Iterator[Target]:
    """Makes databases on that server, which go with it."""
    with open_target(server=server) as opened:
        yield opened


@pytest.fixture(scope="session")
def staged(
    target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Stage]]:
    """The stage of an implementation, set when it is first asked for and kept: ids are fresh in
    every run, so that no run disturbs the next."""
    made: dict[str, Stage] = {}
    with ExitStack() as stack:

        def of(name: str) -> Stage:
            if name not in made:
                logs = tmp_path_factory.mktemp(name)
                dsn = target.new_database()
                setting = stage(resolve(name), dsn, logs, beside=target.for_clients(dsn))
                made[name] = stack.enter_context(setting)
            return made[name]

        yield of


@pytest.fixture
def campaign(staged: Callable[[str], Stage], tmp_path: Path) -> Callable[[str], Campaign]:
    """A new campaign against an implementation, which has witnessed nothing yet."""
    return lambda name: Campaign(staged(name), tmp_path / name)
