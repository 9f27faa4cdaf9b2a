"""Statements that CrossHair has to confirm on every path, and canaries that it has to refute.

CrossHair exits with 0 also when it could not confirm something or found nothing to check, so what
counts is that each statement is reported as confirmed, by name. A canary is the text that the
statement is about with one small mistake in it: were it not refuted, the confirmation would mean
nothing.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

CONFIRMED = "Confirmed over all paths."


def statements(proved: Path) -> list[str]:
    """The names of the statements in a file: its functions that return nothing."""
    functions = [each for each in ast.parse(proved.read_text()).body if hasattr(each, "returns")]
    return [each.name for each in functions if ast.unparse(each.returns) == "None"]


def line_of(path: Path, statement: str) -> str:
    """The statement, as CrossHair's command line names it."""
    before, _, _ = path.read_text().partition(f"def {statement}(")
    return f"{path}:{before.count(chr(10)) + 1}"


def check(targets: Iterable[str | Path]) -> dict[tuple[str, str], str]:
    """What CrossHair says of each: by file and name, ``CONFIRMED`` or why not."""
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


def source(module: ModuleType) -> str:
    """The text of a module."""
    return Path(str(module.__file__)).read_text()


class _Wordless(ast.NodeTransformer):
    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.Constant("")


def wordless(text: str) -> str:
    """A module's text without what it says to people: numbers in words cost CrossHair for ever."""
    return ast.unparse(ast.fix_missing_locations(_Wordless().visit(ast.parse(text))))


def beside(path: Path, module: ModuleType, text: str, proved: Path) -> Path:
    """A file with another ``text`` of a module, and all statements, made about that text."""
    stated = re.sub(r'^""".*?"""\n', "", proved.read_text(), flags=re.DOTALL)
    stated = stated.replace("from __future__ import annotations\n", "")
    stated, replaced = re.subn(
        rf"^from {re.escape(module.__name__)} import .*\n", "", stated, flags=re.MULTILINE
    )
    assert replaced == 1, f"{proved} imports {module.__name__} in one line"
    path.write_text(f"{text}\n\n{stated}")
    return path


def mistaken(text: str, right: str, wrong: str) -> str:
    """``text`` with one mistake in it."""
    assert text.count(right) == 1, f"{right!r} is not there just once"
    return text.replace(right, wrong)


def assert_refuted(canaries: Mapping[str, Path]) -> None:
    """CrossHair has found a counterexample to each statement, in the file beside it."""
    verdicts = check(line_of(path, statement) for statement, path in canaries.items())
    for statement, path in canaries.items():
        verdict = verdicts[path.stem, statement]
        assert re.match(rf"AssertionError: +when calling {statement}\(", verdict), verdict
