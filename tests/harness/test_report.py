"""What the user reads: nothing is lost or torn, whatever the terminal and whatever is told."""

import io
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from rich.console import Console

from lastseat.harness import report
from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.judge.verdict import Finding
from lastseat.harness.venue import Found
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Result, Verification
from lastseat.harness.witness import Witness
from lastseat.spec.vocabulary import ANSWERS, BOOKED

CONVICTED = Convicted(
    (
        Finding(
            "capacity",
            "In every committed state the bookings of a resource fit its capacity.",
            ("alice-1", "bob-1"),
            "on r1, [red]2 of 1",
        ),
    ),
    tuple(f"{n:3}. alice: SELECT 1 WHERE id = $1 [r{n}]" for n in range(1, 101)),
    Path("out", "violation-1.schedule.json"),
    "last-seat",
)


def printed(what, width: int = 40) -> str:
    """What somebody reads who has a narrow terminal."""
    file = io.StringIO()
    what(Console(file=file, width=width, highlight=False, soft_wrap=True))
    return file.getvalue()


CASE = Case("explore/last-seat", "two callers, one seat", lambda venue, found: None)


def verification(
    *convicted: Convicted, finished: bool = True, reasons: Sequence[str] = ()
) -> Verification:
    """One that has witnessed all that is demanded."""
    found = Found("34 schedules [r1]: all of them", complete(), list(convicted), list(reasons))
    results = [Result(CASE, found, 1.25)]
    return Verification(
        "optimistic", "PostgreSQL", "quick", 7, Path("out"), results, finished=finished
    )


def complete() -> Witness:
    """It has seen all that is demanded, once."""
    witness = Witness(contention=1)
    witness.answers.update(ANSWERS)
    witness.undisturbed[BOOKED] = 1
    return witness


def test_a_finished_part_is_one_line_however_narrow_the_terminal_is() -> None:
    def part(console: Console) -> None:
        with report.progress(console) as watcher:
            watcher.begins(CASE)
            watcher.ends(verification().results[0])

    lines = [line for line in printed(part).splitlines() if "last-seat" in line]
    assert len(lines) == 1
    assert "34 schedules [r1]: all of them" in lines[0]
    assert lines[0].endswith("1.2 s")


def test_a_violation_says_what_was_promised_what_was_seen_and_how_to_run_it_again() -> None:
    text = printed(lambda console: report.show_conviction(CONVICTED, console))
    assert "violation in scenario last-seat" in text
    assert "capacity (alice-1, bob-1)" in text
    assert "promised: In every committed state the bookings of a resource fit its capacity." in text
    assert "seen:     on r1, [red]2 of 1" in text
    assert "  1. alice: SELECT 1 WHERE id = $1 [r1]" in text
    assert "run it again: lastseat replay out/violation-1.schedule.json" in text


def test_what_is_broken_again_is_told_in_two_lines() -> None:
    again = evolve(CONVICTED, schedule=Path("out", "violation-2.schedule.json"))
    result = verification(CONVICTED, again)
    text = printed(lambda console: report.show(result, console))
    assert text.count("violation in scenario") == 1
    assert "capacity again, in last-seat:\n    lastseat replay out/violation-2" in text


def test_a_long_timeline_is_cut_and_says_so() -> None:
    text = printed(lambda console: report.show_conviction(CONVICTED, console))
    assert "[r60]" in text
    assert "[r61]" not in text
    assert "40 more lines in the file" in text


def test_the_report_ends_in_the_verdict() -> None:
    for result, verdict in (
        (verification(), "pass"),
        (verification(CONVICTED), "violation"),
        (verification(reasons=["no attempt was answered REJECTED"]), "inconclusive"),
        (verification(finished=False), "inconclusive"),
        (verification(CONVICTED, finished=False, reasons=["[x]"]), "violation"),
    ):
        text = printed(lambda console, result=result: report.show(result, console))
        assert text.splitlines()[-1] == verdict == str(result.verdict())


def test_reasons_and_an_interruption_are_listed() -> None:
    result = verification(finished=False, reasons=["no attempt was answered [REJECTED]"])
    text = printed(lambda console: report.show(result, console))
    assert "• no attempt was answered [REJECTED]" in text
    assert "• it was interrupted before it had looked at everything" in text
    assert "seed: 7" in text


def test_a_violation_outranks_whatever_else_was_found() -> None:
    worst_first = [Verdict.VIOLATION, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS]
    assert list(Verdict) == worst_first
    assert [verdict.value for verdict in worst_first] == [1, 3, 2, 0]
