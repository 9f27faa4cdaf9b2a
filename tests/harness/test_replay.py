"""``lastseat replay`` says how often what it runs again is illegal, and what that proves."""

from __future__ import annotations

from pathlib import Path

import pytest

from lastseat.harness import record
from lastseat.harness.campaign import Campaign
from lastseat.harness.cli import main
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import Target
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import named
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.stage import stage

FACTORIES = "tests.harness.factories.repeating"


def kept(factory: str, target: Target, folder: Path, flag: Path) -> Path:
    """The file of a run that broke a rule."""
    implementation = Implementation.python(f"{FACTORIES}:{factory}")
    with stage(implementation, target.dsn, folder / "logs") as ready:
        for run in undisturbed(lambda: Run(ready, named("last-seat"))):
            flag.unlink(missing_ok=True)
            to_the_end(run)
            run.finish()
        campaign = Campaign(ready, folder)
        findings = campaign.look(run).findings
        assert {finding.rule for finding in findings} == {"no hidden retry"}
        return campaign.keep(run, findings).schedule


@pytest.mark.parametrize(
    ("factory", "code", "words"),
    [
        ("KeepsAJournal", 1, "illegal in 3 of 3"),
        ("KeepsAJournalOnce", 2, "0 of 2 times every step came about as recorded; 0 illegal"),
    ],
)
def test_what_is_illegal_again_is_a_violation(
    factory: str,
    code: int,
    words: str,
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WRONG_ONCE", str(tmp_path / "wrong-once"))
    file = kept(factory, target, tmp_path / "kept", tmp_path / "wrong-once")
    assert record.read_schedule(file.read_bytes()).verdict == "no hidden retry"
    out = str(tmp_path / "again")
    came = main(["replay", str(file), f"{FACTORIES}:{factory}", "--times", "2", "--out", out])
    said = capsys.readouterr().out
    assert came == code, said
    assert words in said
