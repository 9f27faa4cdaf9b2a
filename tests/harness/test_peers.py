"""What is restated for isolationtester is restated rightly: the wrong break their rule there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lastseat.harness.bench import peers
from lastseat.harness.postgres import Target, open_target


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with open_target() as opened:
        yield opened


@pytest.mark.parametrize("name", ["X01", "X03", "X14", "X25", "X31"])
def test_a_wrong_one_breaks_its_rule(target: Target, name: str) -> None:
    tester = peers.tester(target)
    if tester is None:
        pytest.skip("a peer's program, which this server's installation does not have")
    dsn = target.new_database()
    assert "found in" in peers.peer(tester, dsn, peers.SPECS[name], 30, to_the_end=False)


def test_the_right_one_does_not(target: Target) -> None:
    tester = peers.tester(target)
    if tester is None:
        pytest.skip("a peer's program, which this server's installation does not have")
    dsn = target.new_database()
    told = peers.peer(tester, dsn, peers.SPECS["optimistic"], 2, to_the_end=True)
    assert told.startswith("not found")
