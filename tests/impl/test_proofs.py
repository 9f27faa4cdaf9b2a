"""CrossHair confirms what ``proved.py`` states of the implementation, and refutes its canaries.

That the implementation's proposal and the model's sequential step are one function is among it.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

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


def test_every_canary_is_refuted(tmp_path: Path) -> None:
    mistakes = {statement: (right, wrong) for statement, (_, right, wrong) in CANARIES.items()}
    proofs.assert_refuted(
        {each: text_of(each, tmp_path, mistake) for each, mistake in mistakes.items()}
    )
