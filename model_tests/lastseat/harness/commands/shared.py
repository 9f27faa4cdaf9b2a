"""What several commands share: their arguments, and where they write."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import evolve

from lastseat.harness import record, results, shell
from lastseat.harness.campaign import Convicted
from lastseat.harness.documents.keep import show
from lastseat.harness.dsn import VARIABLE, DsnAction, from_environment
from lastseat.harness.implementations.client import Client, Implementation, try_to_start
from lastseat.harness.plain import paragraph, plain
from lastseat.harness.registry import resolve
from lastseat.harness.terminal import Terminal
from lastseat.harness.venue import Found

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse gives it no public name


def console() -> Terminal:
    """Where commands print what they found."""
    return Terminal()


def add_implementation(sub: argparse.ArgumentParser, *, in_process: bool = True) -> None:
    """Which implementation: read again by ``implementation``."""
    sub.add_argument(
        "implementation",
        nargs="?",
        default="optimistic",
        metavar="IMPLEMENTATION",
        help="a built-in name, or a factory package.module:name (default: optimistic); A+B: two "
        "mechanisms on the same resources, each run by every second client",
    )
    sub.add_argument("--adapter", metavar="COMMAND", help="a command that speaks the protocol")
    if in_process:
        _add_in_process(sub)


def _add_in_process(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--in-process",
        action="store_true",
        help="threads instead of a process per client: faster, and hides what sits between them",
    )


def implementation(args: argparse.Namespace) -> Implementation:
    """The implementation that was asked for, which can be started; raises AdapterError.

    It is tried at once: no server is started for a factory that cannot be imported.
    """
    asked = resolve(args.implementation, args.adapter)
    try_to_start(asked, in_process=getattr(args, "in_process", False))
    return asked


def at_least(least: int) -> Callable[[str], int]:
    """Reads a number of the command line that must not be less."""

    def number(text: str) -> int:
        try:
            given = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None
        if given < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {given}")
        return given

    return number


def write(path: Path, data: bytes) -> bool:
    """Write a document; whether that could be done. If not, it is said, and changes no verdict of
    what was seen."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        print(paragraph(f"lastseat: {path} could not be written: {error}"), file=sys.stderr)
        return False
    return True


def add_server(sub: argparse.ArgumentParser) -> None:
    """Which server."""
    sub.add_argument(
        "--dsn",
        action=DsnAction,
        type=_dsn,
        default=from_environment(),
        help="work on this server, in a database of our own (default: the environment variable "
        f"{VARIABLE}, else a server of our own)",
    )


def _dsn(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("the dsn is not UTF-8") from error
    return text


def add_attach(sub: argparse.ArgumentParser) -> None:
    """Does somebody want to look on?"""
    sub.add_argument(
        "--attach",
        action="store_true",
        help="say which processes to attach a debugger to, wait for Enter, and time nothing",
    )


def attach(implementation: Implementation) -> Callable[[Mapping[str, Client]], None]:
    """Tells where these clients are to be found, and waits until the user wants to go on."""

    def wait(clients: Mapping[str, Client]) -> None:
        print(f"started by: {' '.join(map(shell.word, implementation.command))}")
        for name, client in clients.items():
            where = f"gdb -p {client.pid}, or your debugger's way"
            print(plain(f"  {name} is process {client.pid}: {where}"))
        print("nothing is timed from here on; press Enter to go on", flush=True)
        sys.stdin.readline()

    return wait


def out_folder(args: argparse.Namespace) -> Path:
    """Where the files go: where the user said, or a new folder of this command and moment.

    Raises NoFolder.
    """
    return results.folder(args.command, args.out)


def shown(convictions: Iterable[Convicted]) -> bool:
    """Write the pages of violations; whether that could be done."""
    try:
        for convicted in convictions:
            show(convicted)
    except OSError as error:
        print(paragraph(f"lastseat: a page could not be written: {error}"), file=sys.stderr)
        return False
    return True


def gather(out: Path, found: Found) -> None:
    """What workers have saved in their own folders is what the user looks for in the one above."""
    elsewhere = sorted(file for file in found.files() if file.parent != out)
    moved = {file: _moved(file, out) for file in elsewhere}
    for number, convicted in enumerate(found.convicted):
        file = moved.get(convicted.schedule, convicted.schedule)
        found.convicted[number] = evolve(convicted, schedule=file)
    for number, seen in enumerate(found.seen_once):
        found.seen_once[number] = evolve(seen, schedule=moved.get(seen.schedule, seen.schedule))


def _moved(schedule: Path, out: Path) -> Path:
    kind = record.name_of(schedule).rpartition("-")[0]
    names = (out / f"{kind}-{number}.schedule.json" for number in itertools.count(1))
    free = next(path for path in names if not path.exists())
    record.rename(schedule, free)
    return free
