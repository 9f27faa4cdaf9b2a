"""``lastseat verify``: the main job."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from hypothesis.configuration import set_hypothesis_home_dir
from rich.markup import escape

from lastseat.harness import report
from lastseat.harness.cases import PROFILES, Profile, cases
from lastseat.harness.commands import shared
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.postgres import open_target
from lastseat.harness.venue import Venue
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Verification, run_cases


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
        try:
            with (
                report.progress(console) as watcher,
                Venue(implementation, target, out, seed, watcher.run_done, in_process) as venue,
            ):
                run_cases(cases(profile), venue, result, watcher)
        except KeyboardInterrupt:
            report.show(result, console)
            raise shared.Interrupted(violated=bool(result.convicted)) from None
        except Exception as error:
            # A violation that was found stays one, whatever went wrong later.
            if not result.convicted:
                raise
            result.ended_early = str(error)
    report.show(result, console)
    return result.verdict()
