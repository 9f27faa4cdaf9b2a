"""Fixtures that several parts' tests share."""

import signal
from collections.abc import Iterator

import pytest
from tests.harness import node

from lastseat.harness.postgres import Server, Target, find_all, open_target, start
from lastseat.harness.postgres.binaries import NEWEST, OLDEST

# Who starts tests in the background has them ignore Ctrl-C, and every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the versions that were there to test on, so that no other is taken for tested."""
    here = {each.version[0] for each in find_all()}
    missing = [str(major) for major in range(OLDEST, NEWEST + 1) if major not in here]
    terminalreporter.write_line(
        f"PostgreSQL found here: {', '.join(map(str, sorted(here))) or 'none'};"
        f" not here, so not tested: {', '.join(missing) or 'none'}"
    )
    without = node.why_not()
    if without is not None:
        terminalreporter.write_line(f"not here, so drivers for Node are not tested: {without}")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running server for tests that leave it as it was; each xdist worker has its own.

    A start takes about a second, which is less than agreeing on one server would cost in
    clarity. Tests that crash or stop a server start one themselves.
    """
    with start() as running:
        yield running


@pytest.fixture
def target(server: Server) -> Iterator[Target]:
    """A new, empty database on the shared server."""
    with open_target(server=server) as opened:
        yield opened
