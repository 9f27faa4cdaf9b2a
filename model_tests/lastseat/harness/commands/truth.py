"""``lastseat truth``: every fault at every turn of one attempt, and what the contract implies."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lastseat.harness.commands import shared
from lastseat.harness.postgres import open_target
from lastseat.harness.stage import stage
from lastseat.harness.truth import layout
from lastseat.harness.truth.table import ALONE, Table, tabulate, to_json
from lastseat.harness.verdict import Verdict

_SHOWN = 10


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("truth", help="what each fault at each turn of an attempt leads to")
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--json", action="store_true", help="print JSON, an object for each cell")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where logs are kept")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    implementation = shared.implementation(args)
    out = shared.out_folder(args)
    with (
        open_target(args.dsn) as target,
        stage(
            implementation,
            target.dsn,
            out / "logs",
            names=tuple(ALONE.attempts),
            beside=target.for_clients(target.dsn),
            in_process=args.in_process,
        ) as ready,
    ):
        table = tabulate(ready)
    if args.json:
        print(json.dumps(to_json(table), indent=2))
    else:
        _show(table)
    if table.wrong:
        return Verdict.VIOLATION
    return Verdict.INCONCLUSIVE if table.unseen or table.seen_once else Verdict.PASS


def _show(table: Table) -> None:
    console = shared.console()
    console.print(layout.text(table), end="")
    console.print(f"\n{layout.LEGEND}")
    console.print(f"nothing of the kind can strike here: {', '.join(table.nowhere()) or 'none'}")
    for cell in table.wrong[:_SHOWN]:
        console.print(f"not what the contract implies: {cell}", style="bold red")
    if len(table.wrong) > _SHOWN:
        console.print(f"and so in {len(table.wrong) - _SHOWN} other places: see --json")
    for cell in table.seen_once:
        console.print(f"seen once, and not when it was repeated: {cell}")
    for cell in table.unseen:
        console.print(f"reached and not seen to fire: {cell.fault} at {cell.turn}")
