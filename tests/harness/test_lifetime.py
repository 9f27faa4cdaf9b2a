"""Whatever ends a verification, nothing of it runs on: no server, no clients."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

PATIENCE_SECONDS = 30.0
VIOLATION, INTERRUPTED = 1, 130


class Verification:
    """``lastseat verify`` in a process group of its own; all that it starts inherits a mark."""

    def __init__(self, place: Path, *args: str, **environment: str) -> None:
        self._mark = f"LASTSEAT_TEST_MARK={uuid.uuid4()}"
        name, _, value = self._mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lastseat.harness.cli", "verify", *args],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            env={**os.environ, name: value, "PYTHONUNBUFFERED": "1", **environment},
        )
        self.printed: list[str] = []

    def read_until(self, pattern: str) -> None:
        """Return when it has printed such a line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if re.search(pattern, line):
                return
        pytest.fail(f"it ended before it printed {pattern!r}: {''.join(self.printed)}")

    def marked(self) -> dict[int, str]:
        """The processes that bear the mark, by their names. A server's bear none."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = name_of(int(entry.name))
        return found

    def family(self) -> "Family":
        """It, and all that descends from it now."""
        return Family(descendants(self.process.pid))


class Family:
    """Processes, each held by a descriptor, so that its number cannot come to mean another."""

    def __init__(self, pids: list[int]) -> None:
        self.names = {}
        self._watched = {}
        for pid in pids:
            with contextlib.suppress(OSError):
                self._watched[pid] = os.pidfd_open(pid)
                self.names[pid] = name_of(pid)

    def left(self, seconds: float = 0.0) -> dict[int, str]:
        """Those that have not ended within so many seconds."""
        end = time.monotonic() + seconds
        left = {}
        for pid, watched in self._watched.items():
            patience = max(0.0, end - time.monotonic())
            if not select.select([watched], [], [], patience)[0]:
                left[pid] = self.names[pid]
        return left

    def close(self) -> None:
        for watched in self._watched.values():
            os.close(watched)


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def descendants(pid: int) -> list[int]:
    """The process and its children, their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


@contextlib.contextmanager
def verifying(place: Path, *args: str, **environment: str) -> Iterator[Verification]:
    """Run it, and see to it that it is over in the end."""
    begun = Verification(place, *args, **environment)
    try:
        yield begun
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(begun.process.pid, signal.SIGKILL)
        begun.process.communicate()


@pytest.fixture
def families() -> Iterator[list[Family]]:
    """Families whose descriptors are to be closed."""
    made: list[Family] = []
    yield made
    for family in made:
        family.close()


def test_ctrl_c_prints_what_is_known_so_far_and_leaves_nothing(
    tmp_path: Path, families: list[Family]
) -> None:
    with verifying(tmp_path) as verification:
        verification.read_until("two-resources")  # now come the faults
        family = verification.family()
        families.append(family)
        names = list(family.names.values())
        assert names.count("postgres") > 4
        assert sum(name.startswith("python") for name in names) > 5, "its clients, too"
        os.killpg(verification.process.pid, signal.SIGINT)
        rest, errors = verification.process.communicate(timeout=PATIENCE_SECONDS)
        assert verification.process.returncode == INTERRUPTED, errors
        assert family.left(PATIENCE_SECONDS) == {}
        assert verification.marked() == {}
    assert re.search(r"BOOKED +[1-9]", rest)
    assert "it was interrupted before it had looked at everything" in rest
    assert rest.splitlines()[-1] == "inconclusive"
    assert "Traceback" not in errors
    (kept,) = tmp_path.glob(".lastseat/verify-*/verification.json")
    known = json.loads(kept.read_text())
    assert (known["verdict"], known["finished"]) == ("inconclusive", False)
    assert "explore/two-resources" in [case["id"] for case in known["cases"]]
    assert "hypothesis" in known["not_run"]
    suite = ElementTree.parse(kept.with_name("junit.xml")).getroot()[0]
    assert int(suite.attrib["errors"]) > 0


def test_ctrl_c_after_a_violation_still_tells_the_violation(tmp_path: Path) -> None:
    with verifying(tmp_path, "X01") as verification:
        verification.read_until("two-resources")
        os.killpg(verification.process.pid, signal.SIGINT)
        rest, errors = verification.process.communicate(timeout=PATIENCE_SECONDS)
        assert verification.process.returncode == VIOLATION, errors
        assert verification.marked() == {}
    assert "capacity" in rest
    assert rest.splitlines()[-1] == "violation"
    saved = list(tmp_path.glob(".lastseat/verify-*/explore/*/violation-1.schedule.json"))
    assert saved
    assert all(file.stat().st_size > 0 for file in saved)


@pytest.mark.parametrize("pause", [0.5, 0.05])
@pytest.mark.parametrize(
    ("implementation", "line", "code"),
    [("X01", "two-resources", VIOLATION), ("locking", "model", INTERRUPTED)],
)
def test_ctrl_c_again_and_again_changes_nothing(
    tmp_path: Path,
    families: list[Family],
    pause: float,
    implementation: str,
    line: str,
    code: int,
) -> None:
    """The first one ends it, in order: the verdict that is known, and no folder is left."""
    with verifying(tmp_path, implementation) as verification:
        verification.read_until(line)
        family = verification.family()
        families.append(family)
        found = re.search(r"at (/\S*lastseat-pg-\w+)", "".join(verification.printed))
        assert found is not None
        folder = Path(found[1])
        assert folder.exists()
        ended = os.pidfd_open(verification.process.pid)
        try:
            for _ in range(int(PATIENCE_SECONDS / pause)):
                os.killpg(verification.process.pid, signal.SIGINT)
                if select.select([ended], [], [], pause)[0]:
                    break
        finally:
            os.close(ended)
        _, errors = verification.process.communicate(timeout=PATIENCE_SECONDS)
        assert verification.process.returncode == code, errors
        assert "Traceback" not in errors
        assert family.left(PATIENCE_SECONDS) == {}
        assert not folder.exists()


def test_kill_9_leaves_nothing(tmp_path: Path, families: list[Family]) -> None:
    with verifying(tmp_path) as verification:
        verification.read_until("last-seat")
        family = verification.family()
        families.append(family)
        assert "postgres" in family.names.values()
        verification.process.kill()  # itself, and nothing else
        assert family.left(PATIENCE_SECONDS) == {}
        assert verification.marked() == {}


@pytest.mark.parametrize("line", ["lastseat verify", "model"])
def test_ctrl_c_right_at_the_beginning_leaves_nothing(
    tmp_path: Path, families: list[Family], line: str
) -> None:
    with verifying(tmp_path) as verification:
        verification.read_until(line)
        family = verification.family()
        families.append(family)
        os.killpg(verification.process.pid, signal.SIGINT)
        _, errors = verification.process.communicate(timeout=PATIENCE_SECONDS)
        assert verification.process.returncode == INTERRUPTED, errors
        # What was still starting ends with its parent, which the system sees to: a moment later.
        assert family.left(PATIENCE_SECONDS) == {}
        assert verification.marked() == {}
        assert "Traceback" not in errors
