"""``lastseat verify``: the main job."""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from hypothesis.configuration import set_hypothesis_home_dir

from lastseat.harness import interrupts, report
from lastseat.harness.cases import PROFILES, Case, Profile, cases
from lastseat.harness.commands import shared
from lastseat.harness.documents.keep import Keeping
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.mistakes import Interrupted
from lastseat.harness.plain import paragraph, plain
from lastseat.harness.postgres import Target, open_where_commits_meet
from lastseat.harness.selection import Known, Selection, read_known
from lastseat.harness.spread import Desk, run_spread
from lastseat.harness.terminal import escape
from lastseat.harness.venue import Venue
from lastseat.harness.verdict import Verdict, worst
from lastseat.harness.verify import Verification, run_cases


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("verify", help="the main job: a verdict on an implementation")
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    sub.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    sub.add_argument("--seed", type=int, default=None, help="of the Hypothesis machine")
    sub.add_argument(
        "--workers",
        type=shared.at_least(1),
        metavar="N",
        help="how many share the work (default: one a core; one on a server of yours)",
    )
    sub.add_argument("--list-cases", action="store_true", help="list the ids of the cases")
    for option, words in (("--select", "run only"), ("--deselect", "do not run")):
        sub.add_argument(
            option,
            action="append",
            default=[],
            metavar="ID",
            help=f"{words} the cases of this id, of ids below it, or that fit with *; repeatable",
        )
    sub.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="ID",
        help="the verdict is inconclusive where such a case cannot happen: a fault that meets "
        "nothing, an outage that this machine cannot have; repeatable",
    )
    sub.add_argument(
        "--known-failures",
        type=Path,
        metavar="FILE",
        help='cases that are known to fail, as TOML: lines of the form "ID" = "REASON"',
    )
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    profile = PROFILES[args.profile]
    if args.list_cases:
        return list_cases(profile)
    selection = Selection(tuple(args.select), tuple(args.deselect), tuple(args.require))
    known = Known() if args.known_failures is None else read_known(args.known_failures)
    _check(profile, selection, known)
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    return verify(
        shared.implementation(args),
        args.dsn,
        profile,
        shared.out_folder(args),
        seed,
        selection,
        known,
        workers=args.workers or (1 if args.dsn is not None else os.cpu_count() or 1),
        in_process=args.in_process,
    )


def _check(profile: Profile, selection: Selection, known: Known) -> None:
    """Raises UnknownCase where the user means a case that there is not."""
    selection.check([case.id for case in cases(profile)])
    # What one profile knows is not wrong in the file that is used with another.
    every = {case.id for each in PROFILES.values() for case in cases(each) if not case.ours}
    known.check(every)


def list_cases(profile: Profile) -> Verdict:
    """The ids of the cases, and what each looks at."""
    for case in cases(profile):
        print(plain(f"{case.id:<36} {case.why}"))
    return Verdict.PASS


def verify(
    implementation: Implementation,
    dsn: str | None,
    profile: Profile,
    out: Path,
    seed: int,
    selection: Selection,
    known: Known,
    *,
    workers: int = 1,
    in_process: bool = False,
) -> Verdict:
    """The main job, with progress and a report; raises Interrupted.

    A violation that was found stays one, whatever goes wrong later.
    """
    result = Verification(implementation.name, "", profile.name, seed, out)
    result.known, result.required = known, selection.require
    chosen, result.deselected = selection.split(cases(profile))
    untold = False
    try:
        with open_where_commits_meet(dsn) as target:
            result.server = target.describe()
            keeping = Keeping(result)
            try:
                _run_cases(chosen, keeping, implementation, target, workers, in_process=in_process)
            except Exception as error:
                result.ended_early = str(error) or type(error).__name__
                raise
            finally:
                untold = not _tell(keeping)
    except KeyboardInterrupt:
        raise Interrupted(violated=bool(result.convicted)) from None
    except Exception as error:
        if not result.convicted:
            raise
        print(f"lastseat: {paragraph(str(error))}", file=sys.stderr)
    return worst(result.verdict(), *([Verdict.ERROR] if untold else []))


def _run_cases(
    chosen: Sequence[Case],
    keeping: Keeping,
    implementation: Implementation,
    target: Target,
    workers: int,
    *,
    in_process: bool,
) -> None:
    console, result = shared.console(), keeping.result
    set_hypothesis_home_dir(result.out / "hypothesis")  # not where the user happens to be
    told = f"{result.implementation} on {result.server}"
    console.print(f"[bold]lastseat verify[/] {escape(told)}")
    with report.progress(console) as keeping.watcher:
        if workers > 1:
            dsn, seed = target.for_others(), result.seed
            desk = Desk(implementation, dsn, result.out, seed, result.profile, in_process)
            run_spread(chosen, desk, workers, result, keeping)
        else:
            out, seed = result.out, result.seed
            place = Venue(implementation, target, out, seed, keeping.run_done, in_process)
            with place as venue:
                run_cases(chosen, venue, result, keeping)


def _tell(keeping: Keeping) -> bool:
    """Write the documents and print the report, as far as either can be; whether both could."""
    console = shared.console()
    with interrupts.later():
        keeping.finish()
        try:
            report.show(keeping.result, console)
            if keeping.failure is not None:
                console.print(f"the documents could not be written: {escape(str(keeping.failure))}")
        except OSError:  # no one reads it: the exit code remains
            return False
    return keeping.failure is None
