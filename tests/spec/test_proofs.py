"""CrossHair confirms what ``proved.py`` and ``proved_judge.py`` state, and refutes canaries."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from tests import proofs

from lastseat.spec import effects, failures, resource, sweep

FOLDER = Path(__file__).parent
FILES = (FOLDER / "proved.py", FOLDER / "proved_judge.py")

CANARIES: dict[str, tuple[ModuleType, str, str]] = {
    "capacity_is_never_exceeded": (resource, "+ n > capacity:", " > capacity:"),
    "rejected_exactly_when_there_is_no_room": (
        resource,
        "if booked + n > capacity",
        "if booked + n >= capacity",
    ),
    "repetition_changes_nothing": (
        resource,
        "Verdict.REPEATED if held == n",
        "Verdict.FITS if held == n",
    ),
    "an_id_that_is_booked_otherwise_is_inconsistent": (
        resource,
        "if held_elsewhere:",
        "if False:",
    ),
    "failed_is_never_the_answer": (
        resource,
        "REJECTED if self is",
        "Answer(Outcome.FAILED) if self is",
    ),
    "a_rejection_is_wrong_exactly_when_its_units_fitted": (
        sweep,
        "needed = capacity - units + 1 - booked",
        "needed = capacity - units - booked",
    ),
    "what_was_booked_by_its_end_counts_for_a_rejection": (
        sweep,
        "certain[done][0] <= ended",
        "certain[done][0] < ended",
    ),
    "the_shortfall_names_the_most_that_was_booked": (
        sweep,
        "booked += certain[done][1]",
        "booked += 1",
    ),
    "the_excess_is_certain_with_the_booking_that_exceeds": (
        effects,
        "if booked > limit",
        "if booked >= limit",
    ),
    "attempts_overlap_exactly_if_they_have_an_instant_in_common": (
        failures,
        "bisect_left(self.ends, start)",
        "bisect_right(self.ends, start)",
    ),
    "a_winner_is_one_whose_interval_meets": (
        failures,
        "self._reach[begun - 1] >= start",
        "self._reach[begun - 1] > start",
    ),
    "what_is_booked_before_counts_and_nothing_else": (
        failures,
        "bisect_left(self._latest, instant)",
        "bisect_right(self._latest, instant)",
    ),
}


@pytest.mark.parametrize("proved", FILES, ids=lambda path: path.stem)
def test_every_statement_is_confirmed(proved: Path) -> None:
    stated = proofs.statements(proved)
    assert stated
    assert proofs.check([proved]) == {(proved.stem, each): proofs.CONFIRMED for each in stated}


def test_every_statement_has_a_canary() -> None:
    assert list(CANARIES) == [each for path in FILES for each in proofs.statements(path)]


def canary(statement: str, folder: Path) -> Path:
    module, right, wrong = CANARIES[statement]
    (proved,) = [path for path in FILES if statement in proofs.statements(path)]
    text = proofs.mistaken(proofs.source(module), right, wrong)
    return proofs.beside(folder / f"{statement}.py", module, text, proved)


def test_every_canary_is_refuted(tmp_path: Path) -> None:
    proofs.assert_refuted({statement: canary(statement, tmp_path) for statement in CANARIES})
