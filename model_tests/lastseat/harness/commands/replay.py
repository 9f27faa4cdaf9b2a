"""``lastseat replay``: a saved schedule is run again, step by step."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from lastseat.harness import record, report
from lastseat.harness.campaign import Campaign
from lastseat.harness.commands import shared
from lastseat.harness.documents.keep import show
from lastseat.harness.paste import PREFIX, unpack
from lastseat.harness.postgres import open_where_commits_meet
from lastseat.harness.record import Schedule
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import warm_up
from lastseat.harness.schedule.decision import FINISH, Diverged
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import stage
from lastseat.harness.verdict import Verdict

_TIMES = 5


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser(
        "replay",
        help="run a saved schedule again, step by step",
        description="Run a saved schedule again. At every step the same turns must wait as when it"
        " was recorded, and the move must meet the same turn; else it has diverged, which is said.",
    )
    sub.add_argument("schedule", metavar="FILE", help="a .schedule.json file, or its string")
    sub.add_argument("--adapter", metavar="COMMAND", help="its implementation, if an adapter")
    sub.add_argument(
        "--times", type=int, default=_TIMES, metavar="N", help=f"how often (default: {_TIMES})"
    )
    sub.add_argument(
        "--shrink", action="store_true", help="if it is illegal, look for a smaller one that is"
    )
    sub.add_argument("--out", type=Path, metavar="DIR", help="where runs are saved")
    shared.add_server(sub)
    shared.add_attach(sub)
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    schedule, out = _read(args)
    implementation = resolve(schedule.implementation, args.adapter)
    names = tuple(schedule.scenario.attempts)
    with (
        open_where_commits_meet(args.dsn) as target,
        stage(
            implementation,
            target.dsn,
            out / "logs",
            names=names,
            beside=target.over_tcp(target.dsn),
            commits_wait=target.commits_wait,
            unhurried=args.attach,
        ) as ready,
    ):
        if any(step.decision.move == FINISH for step in schedule.steps):
            ready.hold_commits()
        campaign = Campaign(ready, out)
        campaign.warm_up(warm_up(names))
        if args.attach:
            shared.attach(implementation)({name: ready.client(name) for name in names})
        return _replay(schedule, campaign, args.times, shrink=args.shrink)


def _read(args: argparse.Namespace) -> tuple[Schedule, Path]:
    """The schedule, and where its runs are saved: beside its file, if it has one."""
    if args.schedule.startswith(PREFIX):
        return unpack(args.schedule), shared.out_folder(args)
    file = Path(args.schedule)
    return record.read_schedule(file.read_bytes()), args.out or file.parent / "replay"


def _replay(schedule: Schedule, campaign: Campaign, times: int, *, shrink: bool) -> Verdict:
    """So many times; tells how often it came about, and what was illegal."""
    console = shared.console()
    hits, illegal = 0, 0
    for number in range(1, times + 1):
        run = Run(campaign.stage, schedule.scenario)
        try:
            replay_strictly(run, schedule.steps)
        except Diverged as diverged:
            console.print(f"time {number}: diverged: {escape(str(diverged))}")
            to_the_end(run)  # the clients are needed for the next time
            run.finish()
            continue
        run.finish()
        hits += 1
        illegal += not campaign.judge_and_keep(run)
        if illegal == 1 and shrink:
            console.print(f"made smaller in {campaign.make_small(run)} runs")
            break
    console.print(f"{hits} of {number} times every step came about as recorded; {illegal} illegal")
    for convicted in campaign.convicted[:1]:
        show(convicted)
        report.show_conviction(convicted, console)
        return Verdict.VIOLATION
    return Verdict.PASS if hits else Verdict.INCONCLUSIVE
