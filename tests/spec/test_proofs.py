"""CrossHair confirms the statements of ``proved.py`` on every path, and refutes their canaries.

CrossHair exits with 0 also when it could not confirm something or found nothing to check, so what
counts is that each statement is reported as confirmed, by name. A canary is the model's own text
with one small mistake in it: were it not refuted, the confirmation would mean nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from lastseat.spec import resource

PROVED = Path(__file__).parent / "proved.py"
STATEMENTS = re.findall(r"^def (\w+)\(", PROVED.read_text(), re.MULTILINE)

CANARIES = {
    "capacity_is_never_exceeded": ("+ n > capacity:", " > capacity:"),
    "rejected_exactly_when_there_is_no_room": (
        "if booked + n > capacity",
        "if booked + n >= capacity",
    ),
    "repetition_changes_nothing": ("Verdict.REPEATED if held == n", "Verdict.FITS if held == n"),
    "an_id_that_is_booked_otherwise_is_inconsistent": ("if held_elsewhere:", "if False:"),
    "failed_is_never_the_answer": ("REJECTED if self is", "Answer(Outcome.FAILED) if self is"),
}


def check(targets: Iterable[Path]) -> dict[tuple[str, str], str]:
    """What CrossHair says of every statement: by file and name, 'Confirmed over all paths.' or
    why not."""
    command = [sys.executable, "-m", "crosshair", "check", "--analysis_kind=asserts"]
    limits = ["--report_all", "--per_condition_timeout=60"]
    done = subprocess.run(
        [*command, *limits, *map(str, targets)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    verdicts: dict[tuple[str, str], str] = {}
    for line in done.stdout.splitlines():
        path, number, _, message = line.split(":", 3)
        verdicts[Path(path).stem, enclosing(Path(path), int(number))] = message.strip()
    return verdicts


def enclosing(path: Path, line: int) -> str:
    """The name of the function that the line is in."""
    above = "\n".join(path.read_text().splitlines()[:line])
    return re.findall(r"^def (\w+)\(", above, re.MULTILINE)[-1]


def canary(folder: Path, statement: str) -> Path:
    """A file with the model's text, one mistake in it, and the statement that is wrong of it."""
    right, wrong = CANARIES[statement]
    model = Path(resource.__file__).read_text()
    assert model.count(right) == 1
    functions = PROVED.read_text().split("\n\n\n")
    stated = next(text for text in functions if text.startswith(f"def {statement}("))
    outcome = "from lastseat.spec.vocabulary import Outcome"
    path = folder / f"{statement}.py"
    path.write_text("\n\n".join([model.replace(right, wrong), outcome, stated]))
    return path


def test_every_statement_is_confirmed() -> None:
    assert check([PROVED]) == {
        ("proved", statement): "Confirmed over all paths." for statement in STATEMENTS
    }


def test_every_statement_has_a_canary_that_is_refuted(tmp_path: Path) -> None:
    assert list(CANARIES) == STATEMENTS
    verdicts = check([canary(tmp_path, statement) for statement in STATEMENTS])
    for statement in STATEMENTS:
        refuted = rf"AssertionError: +when calling {statement}\("
        assert re.match(refuted, verdicts[statement, statement])
