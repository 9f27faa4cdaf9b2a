"""The examples in docs/examples conform, as their users would write them; briefly.

``make examples`` runs the whole quick profile on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from tests.harness import node

from lastseat.harness.campaign import Campaign
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target
from lastseat.harness.scenario import named, warm_up
from lastseat.harness.stage import stage
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NODE = Implementation("node-postgres", ("node", "adapter.mjs"))
FAULTS = ("lose-answer", "raise-40P01", "rolled-back", "close-behind-answer")


@frozen
class Example:
    """``conflicts``: does it tell who was overtaken, or does everybody wait for his turn?"""

    name: str
    conflicts: bool = False

    @property
    def implementation(self) -> Implementation:
        return NODE if self.name == NODE.name else Implementation.python("booking:booking")


ALL = [
    Example("asyncpg"),
    Example("django"),
    Example("sqlalchemy", conflicts=True),
    *([Example("node-postgres")] if node.HERE else []),
]


@pytest.fixture(params=ALL, ids=lambda example: example.name)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


@pytest.fixture
def campaign(
    example: Example, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Campaign]:
    """Clients that are warm, each in a process that runs in the example's folder."""
    monkeypatch.chdir(EXAMPLES / example.name)
    beside = target.for_clients(target.dsn)
    with stage(example.implementation, target.dsn, tmp_path, beside=beside) as ready:
        made = Campaign(ready, tmp_path)
        made.warm_up(warm_up(("alice", "bob")))
        yield made


def test_it_conforms(campaign: Campaign, example: Example) -> None:
    coverage = campaign.scenario(named("last-seat"), preemptions=1)
    assert not coverage.diverged
    for scenario in ("same-id-last-seat", "id-reused"):
        campaign.scenario(named(scenario), preemptions=0)
    campaign.fault_sweep(named("last-seat"), *FAULTS)
    assert (campaign.convicted, campaign.disagreements) == ([], [])
    witness = campaign.witness
    assert min(witness.answers[a] for a in (BOOKED, REJECTED, INFRASTRUCTURE, IN_DOUBT)) > 0
    assert bool(witness.undisturbed[CONFLICT]) == example.conflicts
    assert witness.raised  # for an id that is booked otherwise
    assert set(FAULTS) <= witness.fired.keys()
    assert witness.unseen == []


def test_what_there_is_not_is_no_outcome(campaign: Campaign) -> None:
    steward = campaign.stage.steward()
    asked = {"booking_id": "lost", "resource_id": "nowhere", "requested_units": 1}
    for _ in range(2):  # and the connection is fit for the next
        steward.call("attempt", **asked)
        assert steward.reply is not None
        assert steward.reply["raised"]["in_doubt"] is False
