"""An implementation that makes values up: its schedules come about again all the same."""

from pathlib import Path

import pytest
from attrs import evolve

from lastseat.harness import record
from lastseat.harness.exploration import Own, explore
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.schedule.decision import Diverged
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import stage
from lastseat.harness.venue import Found, Venue

FACTORIES = "tests.harness.factories.repeating"


def test_a_schedule_comes_about_again_and_a_changed_statement_is_named(
    target: Target, tmp_path: Path
) -> None:
    with stage(Implementation.python(f"{FACTORIES}:MakesValuesUp"), target.dsn, tmp_path) as ready:
        run = Run(ready, named("last-seat"))
        to_the_end(run)
        run.finish()
        recorded = record.close(run)
        steps = record.read_schedule(record.write(recorded, tmp_path, "saved").read_bytes()).steps
        again = Run(ready, run.scenario)
        replay_strictly(again, steps)
        again.finish()
        assert [step.fingerprint for step in again.steps] != [step.fingerprint for step in steps]

        # As schedules were saved before: by all that stands in them, they diverge.
        old = [evolve(step, shape="") for step in steps]
        without = Run(ready, run.scenario)
        with pytest.raises(Diverged):
            replay_strictly(without, old)
        to_the_end(without)
        without.finish()

        (at,) = (n for n, s in enumerate(steps[:8]) if s.shape.startswith("UPDATE"))
        changed = [*steps]
        changed[at] = evolve(steps[at], shape=steps[at].shape.replace("+", "-", 1))
        other = Run(ready, run.scenario)
        with pytest.raises(Diverged, match=r"«\+ \$1 WHERE» in the place of «- \$1 WHERE»"):
            replay_strictly(other, changed)
        to_the_end(other)
        other.finish()


def test_every_schedule_is_seen_to_repeat_itself(target: Target, tmp_path: Path) -> None:
    coverage, found = Coverage(), Found()
    with Venue(Implementation.python(f"{FACTORIES}:MakesValuesUp"), target, tmp_path) as venue:
        explore(named("last-seat"), Own(venue), found, coverage, case="", twice=True)
    assert (coverage.not_repeated, found.convicted, found.reasons) == (0, [], [])
    assert coverage.classes >= 2
