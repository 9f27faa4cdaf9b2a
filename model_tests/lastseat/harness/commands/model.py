"""``lastseat model``: the reference model is searched, and held against its judge."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lastseat.harness.verdict import Verdict
from lastseat.spec import proof, statements

if TYPE_CHECKING:
    from lastseat.harness.commands import shared


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("model", help="search the reference model exhaustively")
    sub.add_argument("--full", action="store_true", help="larger scopes: some minutes")
    sub.add_argument("--trace", action="store_true", help="print where each statement is met")
    sub.set_defaults(run=lambda args: trace() if args.trace else model(full=args.full))


def model(*, full: bool) -> Verdict:
    """Search the model, let it and the judge hold each other; prints each part when it is done."""
    good = True
    for part in proof.parts(full):
        print(part.text(), flush=True)
        good = good and part.ok
    print("the model holds" if good else "THE MODEL DOES NOT HOLD")
    return Verdict.PASS if good else Verdict.VIOLATION


def trace() -> Verdict:
    """Print the failure modes, statement by statement, and what meets and shows them."""
    print(statements.table())
    return Verdict.PASS
