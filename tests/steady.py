"""How steady is the verdict on what is right? The reference and five right implementations of other
kinds are verified many times on a busy machine, and anything but a pass is counted.

Prints a table; exit code 1 where there was a violation or an inconclusive run. The reports are in
.lastseat/steady.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from tests.as_users import INCONCLUSIVE, PASS, ROOT, VIOLATION, Verification, busy, verify

NAMES = ("optimistic", "lock-then-sum", "serializable", "asynchronous", "procedure", "pooled")
OUT = ROOT / ".lastseat" / "steady"


def measure(
    names: Sequence[str],
    runs: int,
    options: Sequence[str],
    *,
    until: float = float("inf"),
    verifying: Callable[..., Verification] = verify,
) -> Mapping[str, list[Verification]]:
    """All of them in turn, so many times; none is begun after ``until``, a monotonic time."""
    found: dict[str, list[Verification]] = defaultdict(list)
    for number in range(1, runs + 1):
        for name in names:
            if time.monotonic() > until:
                return found
            done = verifying(name, OUT / f"{name}-{number}", options)
            found[name].append(done)
            if done.exit_code != PASS:
                print(f"{name}, run {number}: {done.conclusion}: {done.detail}", flush=True)
    return found


def table(found: Mapping[str, Sequence[Verification]]) -> list[str]:
    """A line for each implementation, and one for all."""
    lines = [f"{'':<20} {'runs':>5} {'pass':>5} {'violation':>9} {'inconclusive':>12} {'error':>5}"]
    lines[0] += f" {'median':>8} {'longest':>8}"
    everything = [done for each in found.values() for done in each]
    for name, each in [*found.items(), ("all", everything)]:
        codes = [done.exit_code for done in each]
        seconds = [done.seconds for done in each] or [0.0]
        counts = [codes.count(code) for code in (PASS, VIOLATION, INCONCLUSIVE)]
        lines.append(
            f"{name:<20} {len(codes):>5} {counts[0]:>5} {counts[1]:>9} {counts[2]:>12}"
            f" {len(codes) - sum(counts):>5}"
            f" {statistics.median(seconds):>6.0f} s {max(seconds):>6.0f} s"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.steady", description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--runs", type=int, default=10, metavar="N")
    parser.add_argument("--busy", type=int, default=3, metavar="N", help="busy loops on each core")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none later")
    parser.add_argument("--profile", default="quick")
    args = parser.parse_args(arguments)
    until = time.monotonic() + 60 * args.minutes
    with busy(args.busy):
        found = measure(args.names, args.runs, ("--profile", args.profile), until=until)
    print("\n".join(table(found)))
    return int(any(done.exit_code != PASS for each in found.values() for done in each))


if __name__ == "__main__":
    sys.exit(main())
