"""Schedules per second through the gate: two optimistic attempts of five turns each.

Each schedule is a whole run: fresh resources, turns held and released one by one, the model in
step, history and schedule on disk, three judges, audit. ``--workers`` share one server, each with a
database and clients of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from lastseat.harness.campaign import Campaign
from lastseat.harness.postgres import open_target
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario, named
from lastseat.harness.schedule.decision import Decision
from lastseat.harness.schedule.interleavings import follow, to_the_end
from lastseat.harness.stage import stage

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


_SHAPES: dict[str, tuple[Scenario, Callable[[Run], None]]] = {
    "without a lock wait": (_WITHOUT_WAIT, _crossed(0)),
    "with one lock wait": (_WITH_WAIT, _crossed(1)),
}


def _work(dsn: str, shape: str, seconds: float, together: Barrier, results: Queue[float]) -> None:
    """One worker: schedules per second, measured while all workers work."""
    scenario, drive = _SHAPES[shape]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        with stage(resolve("optimistic"), dsn, out / "logs", names=("alice", "bob")) as staged:
            campaign = Campaign(staged, out)
            _once(campaign, scenario, drive)
            together.wait()
            runs, began = 0, time.monotonic()
            while time.monotonic() - began < seconds:
                _once(campaign, scenario, drive)
                runs += 1
            results.put(runs / (time.monotonic() - began))


def _once(campaign: Campaign, scenario: Scenario, drive: Callable[[Run], None]) -> None:
    run = Run(campaign.stage, scenario)
    drive(run)
    run.finish()
    if campaign.judge(run) is not None:
        raise SystemExit("the reference implementation was convicted: nothing to measure")


def measure(shape: str, workers: int, seconds: float) -> float:
    """Schedules per second of so many workers together."""
    spawning = multiprocessing.get_context("spawn")
    together, results = spawning.Barrier(workers), spawning.Queue()
    with open_target(None) as target:
        arguments = [
            (target.new_database(), shape, seconds, together, results) for _ in range(workers)
        ]
        processes = [spawning.Process(target=_work, args=given) for given in arguments]
        for process in processes:
            process.start()
        speed: float = sum(results.get(timeout=seconds + 60) for _ in processes)
        for process in processes:
            process.join()
        return speed


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each is measured")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    args = parser.parse_args()
    for shape in _SHAPES:
        for workers in dict.fromkeys(args.workers):
            speed = measure(shape, workers, args.seconds)
            print(f"{speed:7.1f} schedules/s {shape}, {workers} worker{'s' * (workers > 1)}")


if __name__ == "__main__":
    main()
