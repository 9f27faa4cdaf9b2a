"""``lastseat verify``: the main job."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from hypothesis.configuration import set_hypothesis_home_dir
from rich.console import Console
from rich.markup import escape

from lastseat.harness import report
from lastseat.harness.commands import shared
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import open_target
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import PROFILES, Profile, Verification, Verifier


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("verify", help="the main job: a verdict on an implementation")
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    sub.add_argument("--seed", type=int, default=None, help="of the Hypothesis machine")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    return verify(
        shared.implementation(args),
        args.dsn,
        PROFILES[args.profile],
        shared.out_folder(args),
        seed,
        in_process=args.in_process,
    )


def verify(
    implementation: Implementation,
    dsn: str | None,
    profile: Profile,
    out: Path,
    seed: int,
    *,
    in_process: bool = False,
) -> Verdict:
    """The main job, with progress and a report; raises Interrupted."""
    console = shared.console()
    set_hypothesis_home_dir(out / "hypothesis")  # not the folder that the user happens to be in
    with open_target(dsn) as target:
        result = Verification(implementation.name, target.describe(), profile.name, seed, out)
        console.print(f"[bold]lastseat verify[/] {escape(implementation.name)} on {result.server}")
        with report.progress(console) as watcher:
            verifier = Verifier(implementation, target, profile, result, watcher, in_process)
            _to_the_end(verifier, console)
    report.show(result, console)
    return result.verdict()


def _to_the_end(verifier: Verifier, console: Console) -> None:
    try:
        verifier.run()
    except KeyboardInterrupt:
        report.show(verifier.result, console)
        violated = bool(verifier.result.convicted)
        raise shared.Interrupted(violated=violated) from None
    except Exception as error:
        # A violation that was found stays one, whatever went wrong later.
        if not verifier.result.convicted:
            raise
        verifier.result.reasons.append(f"it ended early: {error}")
