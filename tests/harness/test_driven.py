"""Whatever driver an implementation uses, every schedule of the last seat can be brought about."""

from pathlib import Path

import pytest
from tests.harness import node

from lastseat.harness.certificate import Certificate
from lastseat.harness.exploration import Own, explore
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.venue import Found, Venue
from lastseat.harness.verdict import Verdict

DRIVERS = [
    "Psycopg",
    "PsycopgAsync",
    "PsycopgPipeline",
    "Psycopg2",
    "Asyncpg",
    "Pg8000",
    *(["postgres.js"] if node.HERE else []),
]


def implementation(driver: str) -> Implementation:
    if driver == "postgres.js":
        return Implementation(driver, ("node", str(node.DRIVERS / "adapter.mjs")))
    return Implementation.python(f"tests.harness.factories.driven:{driver}")


@pytest.mark.parametrize("driver", DRIVERS)
def test_exploration_ends_with_a_certificate(driver: str, target: Target, tmp_path: Path) -> None:
    scenario, found, coverage = named("last-seat"), Found(), Coverage()
    with Venue(implementation(driver), target, tmp_path) as venue:
        explore(scenario, Own(venue), found, coverage, case="explore")
    certificate = Certificate(scenario, "every class", coverage, found)
    assert certificate.verdict is Verdict.PASS, certificate.text()
    assert coverage.remaining == coverage.diverged == 0
    assert sorted(coverage.outcomes) == [
        "alice-1 BOOKED, bob-1 REJECTED; booked on r1: b1=1",
        "alice-1 REJECTED, bob-1 BOOKED; booked on r1: b2=1",
    ]
    assert coverage.classes >= 2
