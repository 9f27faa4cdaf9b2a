"""``lastseat explore``: every interleaving of one scenario."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table

from lastseat.harness import report
from lastseat.harness.campaign import Campaign
from lastseat.harness.commands import shared
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import open_target
from lastseat.harness.scenario import SCENARIOS, named, warm_up
from lastseat.harness.stage import stage
from lastseat.harness.verdict import Verdict, worst


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("explore", help="every interleaving of one scenario")
    sub.add_argument("scenario", nargs="?", metavar="SCENARIO")
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--list", action="store_true", help="list the scenarios")
    sub.add_argument(
        "--preemptions", type=int, metavar="N", help="only schedules with at most N preemptions"
    )
    sub.add_argument("--out", type=Path, metavar="DIR", help="where violations are saved")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    if args.list or args.scenario is None:
        return list_scenarios()
    return explore(
        args.scenario,
        shared.implementation(args),
        args.dsn,
        args.preemptions,
        shared.out_folder(args),
        in_process=args.in_process,
    )


def list_scenarios() -> Verdict:
    """The scenarios there are, each with what it is there for."""
    table = Table("scenario", "what it is there for", box=None, pad_edge=False)
    for scenario in SCENARIOS:
        table.add_row(scenario.name, scenario.why)
    shared.console().print(table)
    return Verdict.PASS


def explore(
    name: str,
    implementation: Implementation,
    dsn: str | None,
    preemptions: int | None,
    out: Path,
    *,
    in_process: bool = False,
) -> Verdict:
    """Every schedule of one scenario; prints what was covered."""
    console = shared.console()
    scenario = named(name)
    with (
        open_target(dsn) as target,
        stage(
            implementation,
            target.dsn,
            out / "logs",
            names=tuple(scenario.attempts),
            in_process=in_process,
            beside=target.over_tcp(target.dsn),
        ) as ready,
    ):
        campaign = Campaign(ready, out)
        campaign.warm_up(warm_up(scenario.attempts))
        coverage = campaign.scenario(scenario, preemptions)
    console.print(report.certificate(scenario, coverage, preemptions), end="")
    for convicted in campaign.convicted:
        report.show_conviction(convicted, console)
    verdicts = [Verdict.VIOLATION] if campaign.convicted else []
    doubtful = campaign.disagreements or coverage.diverged
    return worst(*verdicts, *([Verdict.INCONCLUSIVE] if doubtful else []))
