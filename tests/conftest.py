"""Fixtures that several parts' tests share."""

from collections.abc import Iterator

import pytest

from lastseat.harness.postgres import Server, Target, open_target, start


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running server for tests that leave it as it was; each xdist worker has its own.

    A start takes less than a second, which is less than agreeing on one server would cost.
    Tests that crash or stop a server start one themselves.
    """
    with start() as running:
        yield running


@pytest.fixture
def target(server: Server) -> Iterator[Target]:
    """A new, empty database on the shared server."""
    with open_target(server=server) as opened:
        yield opened
