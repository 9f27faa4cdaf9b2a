"""The ``lastseat`` command."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from lastseat.harness import interrupts, results
from lastseat.harness.commands.examples import EXAMPLES, epilog
from lastseat.harness.dsn import forget_environment
from lastseat.harness.mistakes import Interrupted, Mistake
from lastseat.harness.plain import paragraph, plain
from lastseat.harness.verdict import INTERRUPTED, Verdict

_EPILOG = """exit codes: 0 pass, 1 violation, 2 inconclusive, 3 usage or adapter error,
130 interrupted without a violation"""


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage by our own exit code."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Verdict.ERROR.value, f"{self.prog}: {plain(message)}\n")


def parser(only: Sequence[str] = tuple(EXAMPLES)) -> argparse.ArgumentParser:
    """The commands and their arguments; of these ``only``."""
    top = _Parser(
        prog="lastseat",
        description="Hold an implementation of contested booking against its model.",
        epilog=_EPILOG,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in only:
        importlib.import_module(f"lastseat.harness.commands.{name}").add(commands)
    for name, sub in commands.choices.items():
        sub.epilog = epilog(name)
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Without ``argv`` it is the program's own, and its last act."""
    if argv is not None:
        return _main(argv)
    interrupts.hear_once()
    code = _main(sys.argv[1:])
    interrupts.hear_no_more()
    try:
        sys.stdout.flush()
    except OSError:  # a full disk, a reader that went: what Python says at its end would hide it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or Verdict.ERROR.value
    return code


def _main(given: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what it has no letters for
    named = [name for name in EXAMPLES if name in given[:1]]
    # What other commands need is not loaded: it takes longer than to check a short history.
    args = parser(named or tuple(EXAMPLES)).parse_args(given)
    forget_environment()
    try:
        return _run(args)
    finally:
        results.release()


def _run(args: argparse.Namespace) -> int:
    try:
        verdict: Verdict = args.run(args)
    except Interrupted as interrupted:
        return Verdict.VIOLATION.value if interrupted.violated else INTERRUPTED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except (Mistake, OSError) as error:
        print(paragraph(f"lastseat: {error}"), file=sys.stderr)
        return Verdict.ERROR.value
    except Exception:  # noqa: BLE001 - Python's own exit code for it would mean a violation
        print(paragraph(traceback.format_exc()), file=sys.stderr)
        print("lastseat: this is a fault of lastseat's own, and no verdict", file=sys.stderr)
        return Verdict.ERROR.value
    return verdict.value


if __name__ == "__main__":
    sys.exit(main())
