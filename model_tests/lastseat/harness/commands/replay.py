"""``lastseat replay``: a saved schedule is run again, step by step."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from lastseat.harness import record, report
from lastseat.harness.campaign import Campaign
from lastseat.harness.commands import shared
from lastseat.harness.documents.keep import show
from lastseat.harness.postgres import COMMITS_WAIT, open_target
from lastseat.harness.registry import resolve
from lastseat.harness.run import Run
from lastseat.harness.scenario import warm_up
from lastseat.harness.schedule.decision import FINISH, Diverged
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.harness.schedule.replay import replay_strictly
from lastseat.harness.stage import stage
from lastseat.harness.verdict import Verdict

_TRIES = 5


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("replay", help="run a saved schedule again, step by step")
    sub.add_argument("file", type=Path, metavar="FILE", help="a .schedule.json file")
    sub.add_argument("--adapter", metavar="COMMAND", help="its implementation, if an adapter")
    shared.add_server(sub)
    shared.add_attach(sub)
    sub.set_defaults(
        run=lambda args: replay(args.file, args.adapter, args.dsn, looked_on=args.attach)
    )


def replay(file: Path, adapter: str | None, dsn: str | None, *, looked_on: bool = False) -> Verdict:
    """Run a saved schedule again, step by step; tells how often it took to come about."""
    console = shared.console()
    schedule = record.read_schedule(file.read_bytes())
    implementation = resolve(schedule.implementation, adapter)
    names = tuple(schedule.scenario.attempts)
    out = file.parent / "replay"
    with (
        open_target(dsn, settings=None if dsn else COMMITS_WAIT) as target,
        stage(
            implementation,
            target.dsn,
            out / "logs",
            names=names,
            beside=target.over_tcp(target.dsn),
            commits_wait=target.commits_wait,
            unhurried=looked_on,
        ) as ready,
    ):
        if any(step.decision.move == FINISH for step in schedule.steps):
            ready.hold_commits()
        campaign = Campaign(ready, out)
        campaign.warm_up(warm_up(names))
        if looked_on:
            shared.attach(implementation)({name: ready.client(name) for name in names})
        for attempt in range(1, _TRIES + 1):
            run = Run(ready, schedule.scenario)
            try:
                replay_strictly(run, schedule.steps)
            except Diverged as diverged:
                console.print(f"try {attempt}: diverged: {escape(str(diverged))}")
                to_the_end(run)  # the clients are needed for the next try
                run.finish()
                continue
            run.finish()
            convicted = campaign.judge(run)
            console.print(f"try {attempt}: every step came about as recorded")
            if convicted is not None:
                show(convicted)
                report.show_conviction(convicted, console)
                return Verdict.VIOLATION
            return Verdict.PASS
    console.print(f"diverged {_TRIES} times: this schedule cannot be brought about again")
    return Verdict.INCONCLUSIVE
