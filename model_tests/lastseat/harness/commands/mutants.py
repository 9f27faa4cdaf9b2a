"""``lastseat mutants``: are wrong implementations convicted, and right ones not?"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lastseat.harness.cases import PROFILES
from lastseat.harness.commands import shared
from lastseat.harness.mutants import made, survivors
from lastseat.harness.mutants.catalogue import CONFORMING, MUTANTS, Mutant
from lastseat.harness.mutants.matrix import Fate, as_json, fates, find
from lastseat.harness.terminal import escape
from lastseat.harness.verdict import Verdict, worst


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("mutants", help="are wrong implementations convicted?")
    sub.add_argument("--list", action="store_true", help="list them")
    sub.add_argument("names", nargs="*", metavar="NAME", help="only these (default: all listed)")
    sub.add_argument(
        "--made", action="store_true", help="those that are made from right ones, mechanically"
    )
    sub.add_argument(
        "--without-input",
        action="store_true",
        help="not those that are wrong about invalid input, which quick does not look at",
    )
    sub.add_argument(
        "--explore", action="store_true", help="by interleavings alone, in all scenarios"
    )
    sub.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    sub.add_argument(
        "--without-stress",
        action="store_true",
        help="do not see whether free-running threads would have found it, too",
    )
    sub.add_argument("--minutes", type=float, help="begin no other one after so many")
    sub.add_argument("--workers", type=shared.at_least(1), default=os.cpu_count(), metavar="N")
    sub.add_argument("--out", type=Path, default=Path(".lastseat", "mutants"), metavar="DIR")
    shared.add_server(sub)
    sub.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> Verdict:
    chosen = _chosen(args)
    if args.list:
        return list_mutants(chosen)
    out = shared.out_folder(args)
    deadline = None if args.minutes is None else time.monotonic() + 60 * args.minutes
    found = fates(
        [mutant.name for mutant in chosen],
        "full" if args.explore else args.profile,
        dsn=args.dsn,
        out=out,
        workers=args.workers,
        only="explore/" if args.explore else "",
        with_stress=not args.without_stress,
        deadline=deadline,
    )
    return show(chosen, found, out)


def _chosen(args: argparse.Namespace) -> Sequence[Mutant]:
    """Raises UnknownMutant."""
    if args.names:
        return [find(name) for name in args.names]
    if args.made:
        return [made.named(name) for name in made.everything()]
    looked_at = args.list or (PROFILES[args.profile].input and not args.without_input)
    return [*CONFORMING, *(m for m in MUTANTS if looked_at or not m.about_input)]


def list_mutants(chosen: Sequence[Mutant]) -> Verdict:
    """What each of them does."""
    for mutant in chosen:
        print(f"{mutant.name:<20} {mutant.does}")
        if mutant.promise:
            print(f"{'':<20} broken: {mutant.promise}")
            print(f"{'':<20} convicted by: {', '.join(sorted(mutant.breaks))}")
    return Verdict.PASS


def show(chosen: Sequence[Mutant], found: Iterator[Fate], out: Path) -> Verdict:
    """A line for each as it comes, the whole as JSON, and a verdict on ourselves."""
    console, known = shared.console(), survivors.read()
    console.print(_HEAD, style="bold")
    fates: list[Fate] = []
    for fate in found:
        fates.append(fate)
        console.print(escape(_line(fate, known)))
        _write(fates, out)
    for words in _summary(fates, len(chosen)):
        console.print(words)
    if any(not _right(fate, known) for fate in fates):
        return Verdict.VIOLATION
    return worst(*([Verdict.INCONCLUSIVE] if len(fates) < len(chosen) else []))


_HEAD = (
    f"{'mutant':<44} {'convicted by':<34} {'schedules':>9} {'seconds':>8}  "
    f"{'32 threads: rounds':>18} {'seconds':>8}  rules"
)


def _line(fate: Fate, known: survivors.Reasons) -> str:
    by = fate.case or "-"
    threads = f"{'':>18} {'':>8}"
    if fate.stressed is not None:
        rounds = str(fate.stressed.rounds) if fate.stressed.rules else "not found"
        threads = f"{rounds:>18} {fate.stressed.seconds:>8.1f}"
    told = ", ".join(fate.rules) or "; ".join([*fate.reasons, *filter(None, [fate.error])])
    if not _right(fate, known):
        told += "  WRONG"
    elif fate.wrong and not fate.convicted:
        told = f"survives: {known[fate.name]}"
    return f"{fate.name:<44} {by:<34} {fate.schedules:>9} {fate.seconds:>8.1f}  {threads}  {told}"


def _right(fate: Fate, known: survivors.Reasons) -> bool:
    """Is it as it should be? Some made ones behave like what they were made from."""
    return fate.as_it_should or (fate.name in known and not fate.convicted and not fate.error)


def _summary(fates: Sequence[Fate], asked: int) -> Iterator[str]:
    wrong = [fate for fate in fates if fate.wrong]
    convicted = [fate for fate in wrong if fate.convicted]
    yield f"convicted: {len(convicted)} of {len(wrong)} that are wrong"
    if right := [fate for fate in fates if not fate.wrong]:
        yield f"not convicted: {sum(not f.convicted for f in right)} of {len(right)} that are right"
    repeated = sum(fate.by_repetition for fate in convicted)
    yield f"convicted by facts: {len(convicted) - repeated}; by what was repeated: {repeated}"
    yield f"runs that broke a rule and did not do so again: {sum(f.not_repeated for f in fates)}"
    stressed = [fate for fate in convicted if fate.stressed is not None]
    if stressed:
        too = sum(bool(fate.stressed and fate.stressed.rules) for fate in stressed)
        yield f"free-running threads would have found {too} of {len(stressed)} in as much time"
    if asked > len(fates):
        yield f"not run, for want of time: {asked - len(fates)}"


def _write(fates: Sequence[Fate], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(as_json(fates)))
    (out / "matrix.json").write_bytes(encoded)
