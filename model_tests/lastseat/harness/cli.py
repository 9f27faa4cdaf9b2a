"""The ``lastseat`` command."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from lastseat.harness.commands import (
    check,
    explore,
    hunt,
    model,
    mutants,
    outages,
    replay,
    smoke,
    soak,
    truth,
    vectors,
    verify,
)
from lastseat.harness.commands.examples import epilog
from lastseat.harness.commands.shared import Interrupted
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.load.soak import UnfitForSoak
from lastseat.harness.mutants.made import UnknownMutant
from lastseat.harness.postgres import NoPostgres, ServerError, TargetError
from lastseat.harness.postgres.identity import NoIdentity
from lastseat.harness.record import MalformedSchedule
from lastseat.harness.scenario import UnknownScenario
from lastseat.harness.selection import MalformedKnownFailures, UnknownCase
from lastseat.harness.verdict import INTERRUPTED, Verdict

_COMMANDS = (
    verify,
    smoke,
    explore,
    hunt,
    outages,
    soak,
    truth,
    replay,
    mutants,
    check,
    vectors,
    model,
)

_EPILOG = """exit codes: 0 pass, 1 violation, 2 inconclusive, 3 usage or adapter error,
130 interrupted without a violation"""


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage by our own exit code."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Verdict.ERROR.value, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = _Parser(
        prog="lastseat",
        description="Hold an implementation of contested booking against its model.",
        epilog=_EPILOG,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    for name, sub in commands.choices.items():
        sub.epilog = epilog(name)
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
    return top


_MISTAKES = (
    AdapterError,
    MalformedKnownFailures,
    MalformedSchedule,
    NoIdentity,
    NoPostgres,
    OSError,
    ServerError,
    TargetError,
    UnfitForSoak,
    UnknownCase,
    UnknownScenario,
    UnknownMutant,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    args = parser().parse_args(argv)
    try:
        verdict: Verdict = args.run(args)
    except Interrupted as interrupted:
        return Verdict.VIOLATION.value if interrupted.violated else INTERRUPTED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except _MISTAKES as error:
        print(f"lastseat: {error}", file=sys.stderr)
        return Verdict.ERROR.value
    except Exception:  # noqa: BLE001 - Python's own exit code for it would mean a violation
        traceback.print_exc()
        print("lastseat: this is a fault of lastseat's own, and no verdict", file=sys.stderr)
        return Verdict.ERROR.value
    return verdict.value


if __name__ == "__main__":
    sys.exit(main())
