"""Verdicts while somebody else on the machine does what it likes to every port that is open."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.harness import strangers

LASTSEAT = (sys.executable, "-m", "lastseat.harness.cli")
_PACE = 0.2


def family(root: int) -> set[int]:
    """The process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def hammer_to_the_end(process: subprocess.Popen[str]) -> int:
    """Hammer every port of the process and of its descendants, as each stranger that there is; how
    often one connected."""
    made = 0
    while process.poll() is None:
        ports = strangers.listening(family(process.pid))
        if not ports:
            time.sleep(_PACE)
            continue
        with contextlib.ExitStack() as stack:
            there = [
                stack.enter_context(strangers.Beside(uid, ports, "hammer"))
                for uid in strangers.EVERY_USER
            ]
            # As long as the ports are the same: workers open theirs one by one.
            while process.poll() is None and strangers.listening(family(process.pid)) == ports:
                time.sleep(_PACE)
        made += sum(stranger.result for stranger in there)
    return made


def test_a_right_implementation_passes_amid_strangers(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*LASTSEAT, "verify", "--select", "explore/*", "--seed", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    ) as process:
        made = hammer_to_the_end(process)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert "pass of" in said
    assert made > 100, "nobody came"
