"""``lastseat mutants``: are wrong implementations convicted, and right ones not?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from lastseat.harness import report
from lastseat.harness.cases import PROFILES, of_implementation
from lastseat.harness.commands import shared
from lastseat.harness.mutants.catalogue import CONFORMING, MUTANTS, Mutant
from lastseat.harness.postgres import Target, open_target
from lastseat.harness.venue import Venue
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Verification, Watcher, run_cases


class UnknownMutant(Exception):
    """None has that name; the message lists those that there are."""


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("mutants", help="are wrong implementations convicted?")
    sub.add_argument("--list", action="store_true", help="list them")
    sub.add_argument("names", nargs="*", metavar="NAME", help="only these")
    shared.add_server(sub)
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    if args.list:
        return list_mutants()
    return mutants(args.names, args.dsn, Path(".lastseat", "mutants"))


def list_mutants() -> Verdict:
    """The wrong implementations, and the right ones beside them."""
    table = Table("name", "what it does", "promise", "rules that may convict it", box=None)
    for mutant in (*MUTANTS, *CONFORMING):
        rules = ", ".join(sorted(mutant.breaks)) or "none: it is right"
        table.add_row(mutant.name, mutant.does, mutant.promise, rules)
    shared.console().print(table)
    return Verdict.PASS


def mutants(names: Sequence[str], dsn: str | None, out: Path) -> Verdict:
    """Verify each of them like any implementation; every wrong one must be convicted.

    Raises UnknownMutant.
    """
    known = {mutant.name for mutant in (*MUTANTS, *CONFORMING)}
    if unknown := ", ".join(sorted(set(names) - known)):
        raise UnknownMutant(f"no mutant is called {unknown}; there are {', '.join(sorted(known))}")
    console = shared.console()
    table = Table("name", "verdict", "by the rules", "runs", "seconds", box=None, pad_edge=False)
    verdict = Verdict.PASS
    with open_target(dsn) as target, report.progress(console) as watcher:
        for mutant in (*MUTANTS, *CONFORMING):
            if not names or mutant.name in names:
                result = _verified(mutant, target, out / mutant.name, watcher)
                table.add_row(*_row(mutant, result))
                if not _as_it_should(mutant, result):
                    verdict = Verdict.VIOLATION
    console.print(table)
    return verdict


def _verified(mutant: Mutant, target: Target, out: Path, watcher: Watcher) -> Verification:
    profile = PROFILES["quick"]
    result = Verification(mutant.name, target.describe(), profile.name, 0, out)
    with Venue(mutant.implementation, target, out, progress=watcher.run_done) as venue:
        run_cases(of_implementation(profile), venue, result, watcher)
    return result


def _rules(result: Verification) -> frozenset[str]:
    return frozenset[str]().union(*(convicted.rules for convicted in result.convicted))


def _as_it_should(mutant: Mutant, result: Verification) -> bool:
    if mutant.breaks:
        return bool(_rules(result) & mutant.breaks)
    return not result.convicted and not result.reasons


def _row(mutant: Mutant, result: Verification) -> Sequence[str]:
    seconds = sum(each.seconds for each in result.results)
    said = "convicted" if result.convicted else "; ".join(result.reasons) or "nothing found"
    good = "" if _as_it_should(mutant, result) else "  (WRONG)"
    rules = ", ".join(sorted(_rules(result)))
    return mutant.name, said + good, rules, str(result.witness.runs), f"{seconds:.1f}"
