"""The worked example as its users run it, in a folder of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "pytest"
WRONG = """
import pytest
from lastseat.harness.pytest_cases import test_lastseat  # noqa: F401

@pytest.fixture
def lastseat_implementation():
    return "X03"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example, and no configuration."""
    for file in EXAMPLE.glob("*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run(project: Path, *args: str) -> tuple[int, str]:
    """Exit code and output of ``pytest``."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *args]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_case_is_a_test_and_workers_share_them(project: Path) -> None:
    """The factory's module can be imported by the tests only, not from where they are run."""
    (project / "inner").mkdir()
    for file in ("seats.py", "test_seats.py"):
        (project / file).rename(project / "inner" / file)
    chosen = "explore/in-turn or explore/id-reused or witness"
    code, text = run(project, "-n", "2", "-k", chosen)
    assert code == 0, text
    assert "PASSED inner/test_seats.py::test_lastseat[explore/in-turn]" in text
    assert "PASSED inner/test_seats.py::test_lastseat[explore/id-reused]" in text
    assert "SKIPPED inner/test_seats.py::test_lastseat[witness]" in text
    assert len(list(project.glob(".lastseat/pytest-*/verification.json"))) == 2, "one a worker"


def test_a_violation_is_told_and_what_is_known_to_fail_is_expected_to(project: Path) -> None:
    (project / "test_seats.py").write_text(WRONG)
    (project / "test_no_adapter.py").write_text(WRONG.replace('"X03"', '["false"]'))
    (project / "known.toml").write_text(
        '"explore/mixed-units" = "sums too early"\n"explore/in-turn" = "once it did"\n'
    )
    (project / "pytest.ini").write_text("[pytest]\nlastseat_known_failures = known.toml\n")
    code, text = run(project, "-n", "0", "-rx", "-k", "last-seat] or units or turn")
    assert code == 1
    assert "Traceback" not in text
    # As the command tells it.
    assert "capacity (alice-1, bob-1): on r1, the bookings" in text
    assert "promised: In every committed state" in text
    assert "run it again: lastseat replay .lastseat/pytest-" in text
    # Expected to fail: it does, or it does not and must leave the list.
    assert "XFAIL test_seats.py::test_lastseat[explore/mixed-units] - sums too early" in text
    assert "[XPASS(strict)] once it did" in text
    # An adapter that fails is not what was known.
    assert "test_no_adapter.py::test_lastseat[explore/mixed-units] FAILED" in text
    assert "the adapter's process ended with code 1" in text


def test_who_does_not_use_it_pays_nothing() -> None:
    """What is heavy is imported only where a test asks for a case."""
    words = (
        "import sys, pytest; before = set(sys.modules); import lastseat.harness.pytest_plugin;"
        "print(*sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lastseat", "lastseat.harness", "lastseat.harness.pytest_plugin"]
    (entry,) = entry_points(group="pytest11", name="lastseat")
    assert entry.value == "lastseat.harness.pytest_plugin"
