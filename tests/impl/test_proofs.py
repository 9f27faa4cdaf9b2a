"""CrossHair confirms what ``proved.py`` states of the implementation, and refutes its canaries.

That the implementation's proposal and the model's sequential step are one function is among it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from tests import proofs

from lastseat.impl import attempt, classify

PROVED = Path(__file__).parent / "proved.py"

CANARIES: dict[str, tuple[ModuleType, str, str]] = {
    "it_proposes_what_the_sequential_step_decides": (
        attempt,
        "request.units > seen.capacity",
        "request.units >= seen.capacity",
    ),
    "it_is_in_doubt_exactly_while_the_commit_has_no_definite_answer": (
        classify,
        "in_doubt=evidence.phase is Phase.COMMIT",
        "in_doubt=True",
    ),
    "whatever_is_in_doubt_is_infrastructure": (
        classify,
        "evidence.constraint))",
        "evidence.constraint), True)",
    ),
    "only_the_capacity_constraint_rejects": (
        classify,
        "and constraint == CAPACITY_CONSTRAINT",
        "",
    ),
}


def text_of(statement: str, folder: Path, mistake: tuple[str, str] | None = None) -> Path:
    module = CANARIES[statement][0]
    text = proofs.wordless(proofs.source(module))
    if mistake is not None:
        text = proofs.mistaken(text, *mistake)
    return proofs.beside(folder / f"{statement}.py", module, text, PROVED)


def test_every_statement_has_a_canary() -> None:
    assert list(CANARIES) == proofs.statements(PROVED)


def test_every_statement_is_confirmed(tmp_path: Path) -> None:
    paths = {each: text_of(each, tmp_path) for each in CANARIES}
    verdicts = proofs.check(proofs.line_of(path, each) for each, path in paths.items())
    assert verdicts == {(each, each): proofs.CONFIRMED for each in CANARIES}


@pytest.mark.parametrize("statement", CANARIES)
def test_its_canary_is_refuted(statement: str, tmp_path: Path) -> None:
    _, right, wrong = CANARIES[statement]
    proofs.assert_refuted(text_of(statement, tmp_path, (right, wrong)), statement)
