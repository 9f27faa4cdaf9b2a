"""``lastseat hunt``: search beyond small scopes until something is found or the time is over."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from lastseat.harness import interrupts, report
from lastseat.harness.commands import shared
from lastseat.harness.hunting import Hunted, hunt
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.mistakes import Interrupted
from lastseat.harness.postgres import open_where_commits_meet
from lastseat.harness.terminal import escape
from lastseat.harness.venue import Heard, Venue, venue_for_worker
from lastseat.harness.verdict import Verdict, worst
from lastseat.harness.workers import Crew

FORMAT = "lastseat-hunt/1"
_AT_ONCE = 10  # runs that a worker makes before it tells what they have come to


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser(
        "hunt",
        help="search beyond small scopes, for some minutes",
        description="Draw scenarios of three and four clients, schedules and faults at random,"
        " until a run is illegal, which is then made small (exit code 1), or the time is over (0)."
        " A hunt never passes: it finds, or it says what it has looked at.",
    )
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--minutes", type=float, default=5.0, metavar="M", help="default: 5")
    sub.add_argument("--seed", type=int, metavar="S", help="default: drawn, and told")
    sub.add_argument(
        "--workers", type=shared.at_least(1), metavar="W", help="default: one per core"
    )
    sub.add_argument("--out", type=Path, metavar="DIR", help="where violations are saved")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    implementation = shared.implementation(args)
    out, hunted = shared.out_folder(args), Hunted()
    seed = args.seed if args.seed is not None else time.time_ns() % 1_000_000
    began, interrupted, heard = time.monotonic(), False, Heard()
    try:
        _hunt(args, implementation, seed, out, hunted, heard)
    except KeyboardInterrupt:
        interrupted = True
        heard.broken_off(hunted.found)
    except Exception as error:
        heard.broken_off(hunted.found)
        if not hunted.found.convicted:  # what was found stays found, whatever went wrong later
            raise
        hunted.found.reasons.append(f"it ended early: {error or type(error).__name__}")
    try:
        with interrupts.later():
            kept = _tell(args, seed, time.monotonic() - began, out, hunted)
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        raise Interrupted(violated=bool(hunted.found.convicted))
    if hunted.found.convicted:
        return Verdict.VIOLATION
    verdict = Verdict.INCONCLUSIVE if hunted.found.doubts else Verdict.PASS
    return worst(verdict, *([] if kept else [Verdict.ERROR]))


def _hunt(
    args: argparse.Namespace,
    implementation: Implementation,
    seed: int,
    out: Path,
    hunted: Hunted,
    heard: Heard,
) -> None:
    workers = args.workers or os.cpu_count() or 1
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(open_where_commits_meet(args.dsn))
        setup = partial(venue_for_worker, implementation, target.for_others(), out, args.in_process)
        crew: Crew[Venue, Hunted] = stack.enter_context(Crew(workers, setup, heard))
        end = time.monotonic() + 60 * args.minutes
        for first in itertools.count(step=_AT_ONCE):
            while not crew.idle:
                hunted.add(crew.finished()[1])
            if hunted.found.convicted or (first and time.monotonic() > end):
                break
            crew.submit(partial(hunt, range(first, first + _AT_ONCE), seed, end))
        while crew.pending and not hunted.found.convicted:
            hunted.add(crew.finished()[1])


def _tell(args: argparse.Namespace, seed: int, seconds: float, out: Path, hunted: Hunted) -> bool:
    """Write the documents and print the report; whether the documents could be written."""
    console = shared.console()
    found = hunted.found
    shared.gather(out, found)
    ended = "violation" if found.convicted else "budget spent"
    data: dict[str, Any] = {
        "format": FORMAT,
        "ended": ended,
        "seed": seed,
        "seconds": round(seconds, 1),
        "runs": hunted.runs,
        "different_schedules": len(hunted.schedules),
        "scenarios": dict(hunted.scenarios),
        "clients": {str(n): count for n, count in hunted.clients.items()},
        "strategies": dict(hunted.strategies),
        "faults": dict(hunted.faults),
        "faults_fired": dict(found.witness.fired),
        "commits": hunted.commits,
        "lock_waits": found.witness.contention,
        "answers": {str(answer): count for answer, count in found.witness.answers.items()},
        "reasons": list(dict.fromkeys(found.doubts)),
    }
    kept = shared.write(out / "hunt.json", msgspec.json.format(msgspec.json.encode(data)))
    speed = hunted.runs / seconds
    lines = [
        f"runs        {hunted.runs} in {seconds:.0f} s ({speed:.0f}/s)",
        f"schedules   {len(hunted.schedules)} different ones",
        f"scenarios   {_counted(hunted.scenarios)}",
        f"clients     {_counted(Counter(data['clients']))}",
        f"strategies  {_counted(hunted.strategies)}",
        f"faults      {_counted(hunted.faults) or 'none'}",
        f"commits     {hunted.commits}",
        f"waits       {found.witness.contention} for another client's lock",
        f"answers     {_counted(Counter(data['answers']))}",
        *(f"but         {reason}" for reason in data["reasons"]),
    ]
    console.print("\n".join(map(escape, lines)))
    kept &= shared.shown(found.convicted)
    report.show_convictions(found.convicted, console)
    if hunted.shrunk_in:
        console.print(f"  made small in {hunted.shrunk_in} runs")
    again = f"lastseat hunt {args.implementation} --seed {seed}"
    console.print(escape(f"ended       {ended}; again: {again}"))
    return kept


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
