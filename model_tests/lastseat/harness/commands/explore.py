"""``lastseat explore``: every interleaving of one scenario, or one of each class of them."""

from __future__ import annotations

import argparse
import contextlib
import os
from functools import partial
from pathlib import Path

import msgspec
from rich.table import Table

from lastseat.harness import interrupts, report
from lastseat.harness.certificate import Certificate
from lastseat.harness.commands import shared
from lastseat.harness.exploration import Own, Ran, explore
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.mistakes import Interrupted
from lastseat.harness.postgres import open_where_commits_meet
from lastseat.harness.scenario import SCENARIOS, Scenario, named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.venue import Found, Heard, Venue, venue_for_worker
from lastseat.harness.verdict import Verdict, worst
from lastseat.harness.workers import Crew


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser(
        "explore",
        help="every interleaving of one scenario",
        description="Run one schedule of each class of interleavings, and certify it.",
    )
    sub.add_argument("scenario", nargs="?", metavar="SCENARIO")
    shared.add_implementation(sub)
    shared.add_server(sub)
    sub.add_argument("--list", action="store_true", help="list the scenarios")
    sub.add_argument(
        "--no-reduction",
        action="store_true",
        help="run every schedule, not only one of those that cannot be told apart",
    )
    sub.add_argument(
        "--preemptions",
        type=shared.at_least(0),
        metavar="N",
        help="every schedule with at most N preemptions; implies --no-reduction",
    )
    sub.add_argument(
        "--workers",
        type=shared.at_least(1),
        metavar="N",
        help="processes that run schedules side by side (default: as many as pay off)",
    )
    sub.add_argument(
        "--twice", action="store_true", help="run each schedule again: does it repeat itself?"
    )
    sub.add_argument(
        "--keep-on", action="store_true", help="go on to the end when a schedule is illegal"
    )
    sub.add_argument("--out", type=Path, metavar="DIR", help="where violations are saved")
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    if args.list or args.scenario is None:
        return list_scenarios()
    scenario, implementation = named(args.scenario), shared.implementation(args)
    out, found, coverage, heard = shared.out_folder(args), Found(), Coverage(), Heard()
    try:
        if args.no_reduction or args.preemptions is not None:
            _all(args, scenario, implementation, out, found, coverage)
        else:
            _classes(args, scenario, implementation, out, found, coverage, heard)
    except KeyboardInterrupt:
        coverage.interrupted = True
        heard.broken_off(found)
    except Exception as error:
        heard.broken_off(found)
        if not found.convicted:  # what was found stays found, whatever went wrong later
            raise
        found.reasons.append(f"it ended early: {error or type(error).__name__}")
    try:
        with interrupts.later():
            return _told(args, scenario, out, found, coverage)
    except KeyboardInterrupt:
        raise Interrupted(violated=bool(found.convicted)) from None


def list_scenarios() -> Verdict:
    """The scenarios there are, each with what it is there for."""
    table = Table("scenario", "profile", "what it is there for", box=None, pad_edge=False)
    for scenario in SCENARIOS:
        profile = "quick" if scenario.quick else "full" if scenario.small else "hunt"
        table.add_row(scenario.name, profile, scenario.why)
    shared.console().print(table)
    return Verdict.PASS


def _few(scenario: Scenario) -> bool:
    """Are there so few classes that a second worker's start would take longer than all of them?"""
    return sum(map(len, scenario.attempts.values())) <= 3


def _classes(
    args: argparse.Namespace,
    scenario: Scenario,
    implementation: Implementation,
    out: Path,
    found: Found,
    coverage: Coverage,
    heard: Heard,
) -> None:
    """One schedule of each class, by as many workers as pay off."""
    workers = args.workers or (1 if args.dsn is not None or _few(scenario) else os.cpu_count() or 1)
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(open_where_commits_meet(args.dsn))
        if workers > 1:
            dsn = target.for_others()
            setup = partial(venue_for_worker, implementation, dsn, out, args.in_process)
            crew: Crew[Venue, Ran] = Crew(workers, setup, heard)
            hands: Crew[Venue, Ran] | Own[Ran] = stack.enter_context(crew)
        else:
            own = Venue(implementation, target, out, in_process=args.in_process)
            hands = Own(stack.enter_context(own))
        explore(scenario, hands, found, coverage, case="", twice=args.twice, on=args.keep_on)


def _all(
    args: argparse.Namespace,
    scenario: Scenario,
    implementation: Implementation,
    out: Path,
    found: Found,
    coverage: Coverage,
) -> None:
    """Schedule after schedule, up to a number of preemptions."""
    with (
        open_where_commits_meet(args.dsn) as target,
        Venue(implementation, target, out, in_process=args.in_process) as venue,
        venue.campaign("", found) as campaign,
    ):
        coverage.commits = venue.commits
        campaign.scenario(scenario, args.preemptions, coverage, on=args.keep_on)


def _told(
    args: argparse.Namespace, scenario: Scenario, out: Path, found: Found, coverage: Coverage
) -> Verdict:
    console = shared.console()
    shared.gather(out, found)
    bound = args.preemptions
    scope = (
        f"every schedule of at most {bound} preemptions"
        if bound is not None
        else "every schedule"
        if args.no_reduction
        else "every class of schedules that can be told apart"
    )
    told = Certificate(scenario, scope, coverage, found)
    data = msgspec.json.format(msgspec.json.encode(told.data()))
    kept = shared.write(out / "certificate.json", data)
    console.print(told.text(), end="", markup=False)
    kept &= shared.shown(found.convicted)
    report.show_convictions(found.convicted, console)
    if coverage.interrupted:
        raise Interrupted(violated=bool(found.convicted))
    return worst(told.verdict, *([] if kept else [Verdict.ERROR]))
