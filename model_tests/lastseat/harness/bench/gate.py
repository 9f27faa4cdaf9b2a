"""Schedules per second through the gate: two optimistic attempts of five turns each.

Each schedule is a whole run: fresh resources, turns held and released one by one, the model in
step, history and schedule on disk, three judges, audit. ``--workers`` share one server, each with a
database and clients of its own.

What the same clients and the same server do alone, with no gate between them and nobody who
watches or judges, is measured first: faster than that nothing can be here.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from attrs import frozen

from lastseat.harness.bench.usage import Usage, family, keep_to
from lastseat.harness.campaign import Campaign
from lastseat.harness.postgres import open_target
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario, named
from lastseat.harness.schedule.decision import RELEASE, Decision
from lastseat.harness.schedule.interleavings import follow, to_the_end
from lastseat.harness.stage import DEADLINE_MS, Stage, stage

_WITHOUT_WAIT = named("two-resources")
_WITH_WAIT = named("room-for-both")


def _crossed(turns: int) -> Callable[[Run], None]:
    """Both read, then alice goes ``turns`` turns further, then bob as far as he can, then alice."""

    def drive(run: Run) -> None:
        moves = [Decision("start", "alice"), *[Decision("release", "alice")] * 2]
        moves += [Decision("start", "bob"), *[Decision("release", "bob")] * 2]
        moves += [Decision("release", "alice")] * turns
        moves += [Decision("release", "bob")] if turns else []
        follow(run, moves)
        to_the_end(run, "alice")

    return drive


_ALONE = "without a gate"
_SHAPES: dict[str, tuple[Scenario, Callable[[Run], None]]] = {
    "without a lock wait": (_WITHOUT_WAIT, _crossed(0)),
    "with one lock wait": (_WITH_WAIT, _crossed(1)),
}


@frozen
class _Share:
    """What one worker did: schedules, in how many seconds, and what each of them cost."""

    runs: int
    seconds: float
    controller: float
    """Seconds of CPU in all; so with the next two."""
    clients: float
    server: float
    turns: int
    """Through the gate, to the server and back."""
    asked: int
    """Questions of our own that the server answered."""


def _work(
    dsn: str,
    shape: str,
    seconds: float,
    core: int | None,
    together: Barrier,
    results: Queue[_Share],
) -> None:
    """One worker, measured while all workers work."""
    if core is not None:
        keep_to(core)
    with (
        tempfile.TemporaryDirectory() as folder,
        stage(resolve("optimistic"), dsn, Path(folder, "logs"), names=("alice", "bob")) as staged,
    ):
        if shape == _ALONE:
            for name in ("alice", "bob"):
                staged.client(name).call("connect", dsn=staged.url, deadline_ms=DEADLINE_MS)
            once = partial(_alone, staged)
        else:
            once = partial(_once, Campaign(staged, Path(folder)), *_SHAPES[shape])
        once()
        server = _server_processes(staged)
        if core is not None:
            keep_to(core, server)
        together.wait()
        results.put(_measured(staged, once, seconds, server))


def _measured(
    staged: Stage, once: Callable[[], int], seconds: float, server: Sequence[int]
) -> _Share:
    groups = ([os.getpid()], list(family(os.getpid())), server)
    before = [Usage.of(pids) for pids in groups]
    asked, turns, runs, began = staged.backends.asked, 0, 0, time.monotonic()
    while time.monotonic() - began < seconds:
        turns += once()
        runs += 1
    took = time.monotonic() - began
    controller, clients, server_used = (
        Usage.of(pids).since(was) for pids, was in zip(groups, before, strict=True)
    )
    asked = staged.backends.asked - asked
    return _Share(runs, took, controller, clients, server_used, turns, asked)


def _server_processes(staged: Stage) -> list[int]:
    """Those that serve this worker's database."""
    asker = staged.backends.own_pid()
    return [asker, *staged.backends.here()]


def _alone(staged: Stage) -> int:
    """One attempt after the other, each on a resource of its own; no turn passes a gate."""
    for name in ("alice", "bob"):
        resource = staged.fresh.id("r")
        staged.declare(resource, 1)
        client = staged.client(name)
        client.call("attempt", booking_id=resource, resource_id=resource, requested_units=1)
    return 0


def _once(campaign: Campaign, scenario: Scenario, drive: Callable[[Run], None]) -> int:
    """A whole run; how many turns it released."""
    run = Run(campaign.stage, scenario)
    drive(run)
    run.finish()
    if campaign.judge(run) is not None:
        raise SystemExit("the reference implementation was convicted: nothing to measure")
    return sum(step.decision.move == RELEASE for step in run.steps)


def measure(shape: str, workers: int, seconds: float, *, own_core: bool) -> list[_Share]:
    """So many workers together; with ``own_core`` each keeps to a core, its clients and server
    processes too."""
    spawning = multiprocessing.get_context("spawn")
    together, results = spawning.Barrier(workers), spawning.Queue()
    cores = sorted(os.sched_getaffinity(0))
    with open_target(None) as target:
        processes = []
        for number in range(workers):
            core = cores[number % len(cores)] if own_core else None
            given = (target.new_database(), shape, seconds, core, together, results)
            processes.append(spawning.Process(target=_work, args=given))
            processes[-1].start()
        shares: list[_Share] = [results.get(timeout=seconds + 60) for _ in processes]
        for process in processes:
            process.join()
        return shares


def _told(shape: str, shares: Sequence[_Share], *, own_core: bool) -> str:
    """The figures; what a schedule costs is an average over the workers."""
    runs = sum(share.runs for share in shares)
    speed = sum(share.runs / share.seconds for share in shares)
    who = f"{len(shares)} worker{'s' * (len(shares) > 1)}" + ", a core each" * own_core
    parts = {
        "controller": sum(share.controller for share in shares),
        "clients": sum(share.clients for share in shares),
        "server": sum(share.server for share in shares),
    }
    costs = ", ".join(f"{name} {used / runs * 1000:.2f}" for name, used in parts.items())
    return (
        f"{speed:7.1f} schedules/s {shape}, {who}\n"
        f"        a schedule: {sum(parts.values()) / runs * 1000:.2f} ms of CPU ({costs}),"
        f" {sum(share.turns for share in shares) / runs:.1f} turns,"
        f" {sum(share.asked for share in shares) / runs:.1f} questions of our own"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is measured")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    args = parser.parse_args()
    for shape in (_ALONE, *_SHAPES):
        for workers in dict.fromkeys(args.workers):
            for own_core in (False, True):
                shares = measure(shape, workers, args.seconds, own_core=own_core)
                print(_told(shape, shares, own_core=own_core), flush=True)


if __name__ == "__main__":
    main()
