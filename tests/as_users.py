"""``lastseat verify NAME`` as its users run it: the command, with all its workers, and not in a
checkout. Beside it the machine may be kept busy."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from attrs import field, frozen

from lastseat.harness.mutants.catalogue import CONFORMING
from lastseat.harness.orphans import die_with_parent
from lastseat.harness.postgres.binaries import Binaries

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "lastseat.harness.cli", "verify")
REPORT = "verification.json"
PASS, VIOLATION, INCONCLUSIVE = 0, 1, 2
RIGHT = tuple(mutant.name for mutant in CONFORMING)

KINDS = ("lock-then-sum", "serializable", "procedure", "asynchronous", "pooled", "two-phase")
"""Six that have little in common: a lock, SIREAD locks, one call, an event loop, connections that
are opened in the background, a commit in two steps."""


@frozen
class Verification:
    """What became of one ``lastseat verify``."""

    name: str
    exit_code: int
    seconds: float
    conclusion: str
    """The last line that it printed."""
    server: str = ""
    rules: tuple[str, ...] = field(default=(), converter=tuple)
    """That were broken, each once."""
    reasons: tuple[str, ...] = field(default=(), converter=tuple)
    """Why it could not pass."""

    @property
    def detail(self) -> str:
        """What there is to be explained, in one line."""
        return "; ".join([*self.rules, *self.reasons])


def verify(
    name: str, out: Path, options: Sequence[str] = (), binaries: Binaries | None = None
) -> Verification:
    """Run it to its end, in an empty folder, on these binaries or on what it finds by itself."""
    out = out.absolute()
    (out / REPORT).unlink(missing_ok=True)  # of an earlier run, when this one fails before its own
    environment = dict(os.environ)
    if binaries is not None:
        environment["PG_BIN"] = str(binaries.bin)
        environment.pop("LASTSEAT_DSN", None)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lastseat-user-") as folder:
        done = subprocess.run(
            [*COMMAND, name, *options, "--out", str(out)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    seconds = time.monotonic() - began
    out.mkdir(parents=True, exist_ok=True)
    (out / "terminal.txt").write_text(done.stdout)
    lines = done.stdout.strip().splitlines() or ["(nothing was printed)"]
    return Verification(name, done.returncode, seconds, lines[-1], **_reported(out))


def _reported(out: Path) -> dict[str, object]:
    """What the report says beyond the exit code; nothing where there is none."""
    path = out / REPORT
    if not path.exists():
        return {}
    report = msgspec.json.decode(path.read_bytes())
    findings = [f for case in report["cases"] for v in case["violations"] for f in v["findings"]]
    return {
        "server": report["server"],
        "rules": sorted({finding["rule"] for finding in findings}),
        "reasons": [*report["reasons"], *report["errors"]],
    }


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes on each core do nothing but take its time."""
    spawning = multiprocessing.get_context("spawn")
    count = loops * (os.cpu_count() or 1)
    running = [
        spawning.Process(target=_spin, args=(os.getpid(),), daemon=True) for _ in range(count)
    ]
    for process in running:
        process.start()
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def _spin(parent: int) -> None:
    die_with_parent(parent)
    while True:
        pass
