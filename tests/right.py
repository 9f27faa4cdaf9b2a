"""Right implementations are verified as users verify theirs, and each must pass; wrong ones beside
them must be convicted.

One line each, and a closing line; exit code 1 where one is not as it should be. The reports are in
.lastseat/right.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import field, frozen
from tests.as_users import KINDS, PASS, RIGHT, ROOT, VIOLATION, Verification, busy, verify

from lastseat.harness.cases import PROFILES
from lastseat.harness.mutants.catalogue import MUTANTS
from lastseat.harness.postgres import find_all
from lastseat.harness.postgres.binaries import NEWEST, OLDEST, Binaries

WRONG = ("X01", "X03", "X21", "X39", "X48")
"""A stale sum, a stale snapshot, a trigger at COMMIT, a swallowed error, a hidden retry."""
CONVICTING = (
    *("--select", "explore/last-seat", "--select", "faults/last-seat/raise-40P01"),
    *("--workers", "1"),
)
"""Enough for each of the wrong ones, and by one worker, since two cases are soon run."""
EXPLORATIONS = ("--select", "explore")
FAULTS = ("--select", "faults/last-seat")

OUT = ROOT / ".lastseat" / "right"


@frozen
class Job:
    """One verification, and whether it must end in a conviction."""

    name: str
    wrong: bool = False
    options: tuple[str, ...] = field(default=(), converter=tuple)
    server: Binaries | None = None

    @property
    def folder(self) -> str:
        """Where its report goes: no other job has the same."""
        server = "" if self.server is None else f"-{self.server.version[0]}"
        what = "-".join(o.replace("/", "-") for o in self.options if not o.startswith("--"))
        return f"{self.name}{server}{'-' + what if what else ''}"

    def as_it_should(self, done: Verification) -> bool:
        """Whether the verdict is the right one."""
        return done.exit_code == (VIOLATION if self.wrong else PASS)


def jobs(
    names: Sequence[str], options: Sequence[str], servers: Sequence[Binaries], *, wrong: bool
) -> Iterator[Job]:
    """Each of these on each of these servers; no servers: on the one that is found first."""
    for server in servers or [None]:
        yield from (Job(name, False, options, server) for name in names)
        if wrong:
            yield from (Job(name, True, CONVICTING, server) for name in WRONG)


def brief(servers: Sequence[Binaries]) -> Iterator[Job]:
    """What the gate has time for. The explorations of each right one, on the servers in turn; the
    faults of six kinds, likewise; the wrong ones on every server."""
    turn = itertools.cycle(servers)
    yield from (Job(name, False, EXPLORATIONS, next(turn)) for name in RIGHT)
    yield from (Job(name, False, FAULTS, next(turn)) for name in KINDS)
    yield from (Job(name, True, CONVICTING, server) for server in servers for name in WRONG)


def run(
    chosen: Iterable[Job],
    verifying: Callable[..., Verification] = verify,
    *,
    together: int = 1,
) -> int:
    """Verify each, so many at a time, and print a line; how many are not as they should be."""
    began, jobs = time.monotonic(), list(chosen)
    with ThreadPoolExecutor(together) as pool:
        ends = pool.map(
            lambda job: verifying(job.name, OUT / job.folder, job.options, job.server), jobs
        )
        right = sum(_told(job, done) for job, done in zip(jobs, ends, strict=True))
    minutes = (time.monotonic() - began) / 60
    print(f"{right} of {len(jobs)} are as they should be, in {minutes:.1f} minutes; {OUT}")
    return len(jobs) - right


def _told(job: Job, done: Verification) -> bool:
    """Print a line; whether it is as it should be."""
    right = job.as_it_should(done)
    told = done.conclusion if right and not job.wrong else f"{done.conclusion}: {done.detail}"
    server = done.server.partition(" (")[0] or "no server"
    name = job.name if right else f"WRONG  {job.name}"
    print(f"{name:<26} {server:<16} {done.seconds:6.1f} s  {told}", flush=True)
    return right


def _servers(every: bool) -> list[Binaries]:
    """Every version that is here, and the others are named."""
    if not every:
        return []
    found = sorted(find_all(), key=lambda each: -each.version[0])
    here = {each.version[0] for each in found}
    missing = [str(major) for major in range(OLDEST, NEWEST + 1) if major not in here]
    print(f"on PostgreSQL {', '.join(f'{b.version[0]}.{b.version[1]}' for b in found)}", end="")
    print(f"; not here: {', '.join(missing)}" if missing else "")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.right", description=__doc__)
    parser.add_argument("names", nargs="*", default=RIGHT, metavar="NAME", help="default: all")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    parser.add_argument("--select", action="append", default=[], metavar="ID", help="as of verify")
    parser.add_argument("--every-server", action="store_true", help="on each version that is here")
    parser.add_argument("--wrong", action="store_true", help="some wrong ones, too")
    parser.add_argument("--brief", action="store_true", help="the part of it that .ci/run runs")
    parser.add_argument("--together", type=int, default=1, metavar="N", help="so many at a time")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops on each core")
    args = parser.parse_args(arguments)
    servers = _servers(args.every_server or args.brief)
    options = ["--profile", args.profile, *(o for s in args.select for o in ("--select", s))]
    chosen = jobs(args.names, options, servers, wrong=args.wrong)
    with busy(args.busy):
        return int(run(brief(servers) if args.brief else chosen, together=args.together) > 0)


assert {m.name for m in MUTANTS}.issuperset(WRONG), "the catalogue has other names"

if __name__ == "__main__":
    sys.exit(main())
