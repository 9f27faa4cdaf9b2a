"""``lastseat soak``: free-running load while the server fails, then the history judged."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lastseat.harness.check import SHOWN
from lastseat.harness.commands import shared
from lastseat.harness.load.soak import EVERYTHING, USUAL, Soak, soak
from lastseat.harness.load.trial import Trial
from lastseat.harness.terminal import escape
from lastseat.harness.verdict import Verdict


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser(
        "soak",
        help="free-running clients while the server is killed and restarted, then the history",
    )
    shared.add_implementation(sub, in_process=False)
    shared.add_server(sub)
    plan = Soak()
    sub.add_argument("--attempts", type=shared.at_least(1), default=plan.attempts, metavar="N")
    sub.add_argument("--clients", type=shared.at_least(1), default=plan.clients, metavar="C")
    sub.add_argument(
        "--faults",
        nargs="*",
        default=None,
        metavar="OUTAGE",
        help=f"what strikes, in turn, of {', '.join(EVERYTHING)} (default: {' '.join(USUAL)})",
    )
    sub.add_argument(
        "--strikes", type=shared.at_least(0), default=plan.strikes, metavar="N", help="how often"
    )
    sub.add_argument(
        "--server",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of our server, such as synchronous_commit=off; repeatable",
    )
    sub.add_argument("--seed", type=int, default=plan.seed)
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the history goes")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    usual = USUAL if args.dsn is None else ("terminate",)
    plan = Soak(
        args.attempts,
        args.clients,
        usual if args.faults is None else tuple(args.faults),
        args.strikes,
        dict(args.server),
        args.dsn,
        args.seed,
    )
    implementation = shared.implementation(args)
    out, console = shared.out_folder(args), shared.console()
    console.print(
        f"[bold]lastseat soak[/] {escape(implementation.name)}: {plan.attempts:,} attempts"
        f" by {plan.clients} clients, {plan.strikes} outages, seed {plan.seed}"
    )
    columns = (TextColumn("attempts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=plan.attempts)
        trial = soak(implementation, plan, out, lambda n: bar.update(task, completed=n))
    show(trial, console)
    return trial.verdict


def show(trial: Trial, console: Console) -> None:
    """What struck, what was answered, and the verdict."""
    for struck in trial.strikes:
        words = struck.error or struck.proof or "not seen to happen"
        console.print(f"  {struck.outage.name:<22} {struck.seconds:5.1f} s  {escape(words)}")
    console.print(
        f"{trial.emitted:,} attempts in {trial.seconds:.0f} s, {trial.rate:,.0f} a second"
    )
    if trial.checked is not None:
        checked = trial.checked
        console.print(", ".join(f"{count:,} {answer}" for answer, count in checked.answers.items()))
        violations = trial.facts
        for violation in violations[:SHOWN]:
            console.print(f"[red]VIOLATION[/] of {escape(str(violation))}")
        if len(violations) > SHOWN:
            console.print(f"and {len(violations) - SHOWN:,} more violations")
        for gap in checked.judgement.not_judged:
            console.print(f"not judged: {escape(gap)}")
    for reason in trial.doubts:
        console.print(f"inconclusive: {escape(reason)}")
    console.print(f"history: {escape(str(trial.path))} (lastseat check judges it again)")
    console.print(f"verdict: [bold]{trial.verdict}[/]")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name, value
