"""Implementations whose ids are not text: asked, audited and spoken of like any other."""

from pathlib import Path

import pytest

from lastseat.harness import record
from lastseat.harness.campaign import Campaign
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import stage

FACTORIES = Path(__file__).parent / "factories"


@pytest.mark.parametrize("kind", ["uuid", "integer"])
def test_every_schedule_of_a_scenario_is_run_judged_and_told_in_its_names(
    kind: str, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(FACTORIES))
    implementation = Implementation.python(f"{kind}_ids:booking")
    with stage(implementation, target.dsn, tmp_path) as ready:
        campaign = Campaign(ready, tmp_path)
        coverage = campaign.scenario(named("nearly-full"), preemptions=2)
        assert (campaign.convicted, campaign.disagreements) == ([], [])
        assert coverage.schedules > 2
        assert all("BOOKED" in words for words in coverage.outcomes)

        run = Run(ready, named("nearly-full"))
        to_the_end(run)
        run.finish()
        turns = [step.fingerprint for step in run.steps]
        assert "SELECT capacity FROM place WHERE id = $1 FOR NO KEY UPDATE [r1]" in turns
        assert "INSERT INTO claim VALUES ($1, $2, $3) [b1, r1, 1]" in turns
        assert run.final_readings()["r1"].rows == (("b0", 2), ("b1", 1))
        replay_strictly(Run(ready, run.scenario), record.close(run).schedule.steps)
