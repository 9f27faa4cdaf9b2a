"""``lastseat smoke``: is the adapter itself right?"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

from lastseat.harness.commands import shared
from lastseat.harness.gate.upstream import Upstream
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import open_target
from lastseat.harness.registry import resolve
from lastseat.harness.smoke import smoke
from lastseat.harness.terminal import escape, escape_lines
from lastseat.harness.verdict import Verdict


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("smoke", help="is an adapter itself right? each mistake explained")
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the adapter's logs go")
    shared.add_attach(sub)
    sub.set_defaults(
        run=lambda args: try_it(
            resolve(args.implementation, args.adapter),
            args.dsn,
            shared.out_folder(args),
            looked_on=args.attach,
        )
    )


def try_it(
    implementation: Implementation, dsn: str | None, out: Path, *, looked_on: bool = False
) -> Verdict:
    """Try each part of the protocol, and print what is wrong with it."""
    attach = shared.attach(implementation) if looked_on else None
    console = shared.console()
    wrong = 0
    with open_target(dsn) as target:
        beside = Upstream.parse(target.for_clients(target.dsn)).url
        for tried in smoke(implementation, target.dsn, beside, out / "logs", attach):
            if not tried.mistake:
                console.print(f"  [green]right[/]  {tried.part}")
                continue
            wrong += 1
            console.print(f"  [red]WRONG[/]  {tried.part}")
            console.print(textwrap.indent(escape_lines(tried.mistake), " " * 9))
    if wrong:
        mistakes = "1 mistake" if wrong == 1 else f"{wrong} mistakes"
        console.print(f"{mistakes}; the adapter's logs are in {escape(str(out / 'logs'))}")
        return Verdict.ERROR
    console.print("the adapter is right; now: lastseat verify")
    return Verdict.PASS
