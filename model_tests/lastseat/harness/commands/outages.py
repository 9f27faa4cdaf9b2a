"""``lastseat outages``: each way in which a server can fail, for real, on its own."""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from lastseat.harness.check import SHOWN
from lastseat.harness.commands import shared
from lastseat.harness.load.outage_trials import Tried, server_faults, verdict_of
from lastseat.harness.mistakes import Interrupted
from lastseat.harness.outages import OUTAGES
from lastseat.harness.terminal import escape
from lastseat.harness.verdict import Verdict


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser(
        "outages", help="each way in which a server can fail, for real, on its own"
    )
    shared.add_implementation(sub, in_process=False)
    shared.add_server(sub)
    for option, words in (
        ("--only", "have this one strike, and no other that is not named; repeatable"),
        ("--require", "not to be had on this machine, it makes the verdict inconclusive"),
    ):
        sub.add_argument(
            option, action="append", default=[], metavar="OUTAGE", choices=OUTAGES, help=words
        )
    sub.add_argument("--list", action="store_true", help="list the outages")
    sub.add_argument("--seed", type=int, default=None)
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the histories go")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    if args.list:
        for outage in OUTAGES.values():
            print(f"{outage.name:<28} {outage.words} ({outage.stands_for})")
        return Verdict.PASS
    implementation = shared.implementation(args)
    out, console = shared.out_folder(args), shared.console()
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    console.print(f"[bold]lastseat outages[/] {escape(implementation.name)}, seed {seed}")
    began = time.monotonic()
    known: list[Tried] = []

    def show(tried: Tried) -> None:
        known.append(tried)
        console.print(_line(tried))

    try:
        results = server_faults(
            implementation,
            out,
            show,
            dsn=args.dsn,
            names=args.only or tuple(OUTAGES),
            required=args.require,
            seed=seed,
        )
    except KeyboardInterrupt:
        violated = verdict_of(known) is Verdict.VIOLATION
        raise Interrupted(violated=violated) from None
    seconds = time.monotonic() - began
    trials = sum(tried.trial is not None for tried in results)
    console.print(f"{trials} outages in {seconds:.0f} s, {trials / seconds:.2f} a second")
    verdict = verdict_of(results)
    console.print(f"histories: {escape(str(out))}\nverdict: [bold]{verdict}[/]")
    return verdict


def _line(tried: Tried) -> str:
    """One outage: its verdict, what was seen of it, and what was illegal."""
    head = "unavailable" if tried.trial is None else str(tried.verdict)
    if tried.trial is not None and not tried.applies and tried.verdict is Verdict.PASS:
        head = "no place"
    lines = [f"  {tried.outage.name:<28} {head:<12} {tried.seconds:5.1f} s  {escape(tried.words)}"]
    violations = tried.trial.facts[:SHOWN] if tried.trial is not None else ()
    lines += [f"    [red]VIOLATION[/] of {escape(str(violation))}" for violation in violations]
    if tried.trial is not None and tried.verdict is Verdict.VIOLATION:
        lines.append(f"    judge it again: lastseat check {escape(str(tried.trial.path))}")
    return "\n".join(lines)
