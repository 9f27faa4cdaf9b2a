"""The ``lastseat`` command."""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lastseat.harness import commands
from lastseat.harness.check import run as check_history
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.postgres import NoPostgres, ServerError, TargetError
from lastseat.harness.postgres.identity import NoIdentity
from lastseat.harness.record import MalformedSchedule
from lastseat.harness.scenario import UnknownScenario
from lastseat.harness.verdict import INTERRUPTED, Verdict
from lastseat.harness.verify import PROFILES

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
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    verify = subs.add_parser("verify", help="the main job: a verdict on an implementation")
    _implementation(verify)
    _server(verify)
    verify.add_argument("--profile", choices=sorted(PROFILES), default="quick")
    verify.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    verify.add_argument("--seed", type=int, default=None, help="of the Hypothesis machine")
    verify.set_defaults(run=_verify)

    explore = subs.add_parser("explore", help="every interleaving of one scenario")
    explore.add_argument("scenario", nargs="?", metavar="SCENARIO")
    _implementation(explore)
    _server(explore)
    explore.add_argument("--list", action="store_true", help="list the scenarios")
    explore.add_argument(
        "--preemptions", type=int, metavar="N", help="only schedules with at most N preemptions"
    )
    explore.add_argument("--out", type=Path, metavar="DIR", help="where violations are saved")
    explore.set_defaults(run=_explore)

    replay = subs.add_parser("replay", help="run a saved schedule again, step by step")
    replay.add_argument("file", type=Path, metavar="FILE", help="a .schedule.json file")
    replay.add_argument("--adapter", metavar="COMMAND", help="its implementation, if an adapter")
    _server(replay)
    replay.set_defaults(run=_replay)

    mutants = subs.add_parser("mutants", help="are wrong implementations convicted?")
    mutants.add_argument("--list", action="store_true", help="list them")
    mutants.add_argument("names", nargs="*", metavar="NAME", help="only these")
    _server(mutants)
    mutants.set_defaults(run=_mutants)

    check = subs.add_parser("check", help="judge a recorded history, whoever recorded it")
    check.add_argument(
        "file", metavar="HISTORY", help="JSON Lines, also .gz or .zst; - reads standard input"
    )
    check.add_argument("--json", action="store_true", help="the judgement for programs")
    check.set_defaults(run=lambda args: check_history(args.file, as_json=args.json))

    vectors = subs.add_parser("vectors", help="write test vectors for other languages")
    vectors.add_argument("folder", type=Path, metavar="DIR")
    vectors.set_defaults(run=lambda args: commands.write_vectors(args.folder))

    model = subs.add_parser("model", help="search the reference model exhaustively")
    model.add_argument("--full", action="store_true", help="larger scopes: some minutes")
    model.set_defaults(run=lambda args: commands.model(full=args.full))
    return top


def _implementation(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "implementation",
        nargs="?",
        default="optimistic",
        metavar="IMPLEMENTATION",
        help="a built-in name, or a factory package.module:name (default: optimistic)",
    )
    sub.add_argument("--adapter", metavar="COMMAND", help="a command that speaks the protocol")
    sub.add_argument(
        "--in-process",
        action="store_true",
        help="threads instead of a process per client: faster, and hides what sits between them",
    )


def _server(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--dsn",
        help="work on this server, in a database of our own (default: a server of our own)",
    )


def _out(args: argparse.Namespace) -> Path:
    if args.out is not None:
        return Path(args.out)
    return Path(".lastseat", f"{args.command}-{time.strftime('%Y%m%d-%H%M%S')}")


def _verify(args: argparse.Namespace) -> Verdict:
    seed = random.SystemRandom().randrange(2**32) if args.seed is None else args.seed
    return commands.verify(
        commands.resolve(args.implementation, args.adapter),
        args.dsn,
        PROFILES[args.profile],
        _out(args),
        seed,
        in_process=args.in_process,
    )


def _explore(args: argparse.Namespace) -> Verdict:
    if args.list or args.scenario is None:
        return commands.list_scenarios()
    return commands.explore(
        args.scenario,
        commands.resolve(args.implementation, args.adapter),
        args.dsn,
        args.preemptions,
        _out(args),
        in_process=args.in_process,
    )


def _replay(args: argparse.Namespace) -> Verdict:
    return commands.replay(args.file, args.adapter, args.dsn)


def _mutants(args: argparse.Namespace) -> Verdict:
    if args.list:
        return commands.list_mutants()
    return commands.mutants(args.names, args.dsn, Path(".lastseat", "mutants"))


_MISTAKES = (
    AdapterError,
    MalformedSchedule,
    NoIdentity,
    NoPostgres,
    OSError,
    ServerError,
    TargetError,
    UnknownScenario,
    commands.UnknownMutant,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    args = parser().parse_args(argv)
    try:
        verdict: Verdict = args.run(args)
    except commands.Interrupted as interrupted:
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
