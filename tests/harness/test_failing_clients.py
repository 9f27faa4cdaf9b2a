"""Clients that hang or die: whose fault it is, and that the next run has new ones."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lastseat.harness import run as runs
from lastseat.harness import sweep
from lastseat.harness.aftermath import aftermath
from lastseat.harness.campaign import Campaign
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.postgres import Target
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.decision import RELEASE, START, Decision
from lastseat.harness.schedule.interleavings import follow, to_the_end
from lastseat.harness.stage import stage

FACTORIES = Path(__file__).parent / "factories"
Opened = Callable[[str], Campaign]
MET_BY_A_FAULT = [
    Decision(START, "alice"),
    Decision(RELEASE, "alice"),
    Decision("lose-answer", "alice"),
]


@pytest.fixture
def campaign(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Campaigns against these factories, which give a client little time."""
    monkeypatch.setenv("PYTHONPATH", str(FACTORIES))
    for module in (runs, sweep):
        monkeypatch.setattr(module, "DEADLINE_MS", 500)
    monkeypatch.setattr(runs, "GRACE_MS", 500)
    with contextlib.ExitStack() as stack:

        def opened(name: str) -> Campaign:
            implementation = Implementation.python(f"failing:{name}")
            ready = stack.enter_context(stage(implementation, target.dsn, tmp_path))
            return Campaign(ready, tmp_path)

        yield opened


@pytest.mark.parametrize(("name", "how"), [("Hanging", "hangs"), ("Dying", "dies")])
def test_who_hangs_or_dies_of_a_fault_owes_its_outcome_and_is_replaced(
    campaign: Opened, name: str, how: str
) -> None:
    judging = campaign(name)
    run = Run(judging.stage, named("last-seat"))
    before = judging.stage.client("alice")
    follow(run, MET_BY_A_FAULT)
    assert any(f"alice {how}" in words for words in run.steps[-1].observed)
    aftermath(run)
    run.finish()
    convicted = judging.judge(run)
    assert convicted is not None
    assert convicted.rules == {"one outcome"}
    assert any("alice" in who for finding in convicted.findings for who in finding.attempts)
    assert judging.stage.client("alice") is not before
    served = [a for a in run.attempts if a.client == "bob"]
    assert served[0].answer is not None, "the others went on"

    after = Run(judging.stage, named("last-seat"))
    to_the_end(after)
    after.finish()
    assert judging.judge(after) is None, "the next run is none the worse"


def test_who_hangs_without_any_fault_is_convicted_too(campaign: Opened) -> None:
    judging = campaign("HangingAtOnce")
    run = Run(judging.stage, named("room-for-both"))
    to_the_end(run)
    run.finish()
    convicted = judging.judge(run)
    assert convicted is not None
    assert convicted.rules == {"one outcome"}
    assert judging.disagreements == []


def test_who_dies_without_any_fault_is_an_adapter_that_does_not_work(campaign: Opened) -> None:
    judging = campaign("DyingAtOnce")
    run = Run(judging.stage, named("last-seat"))
    with pytest.raises(AdapterError, match=r"alice: .*ended with code 7"):
        to_the_end(run)
