"""``lastseat vectors``: the language-neutral vectors and their schema."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lastseat.harness.verdict import Verdict
from lastseat.spec import vectors

if TYPE_CHECKING:
    from lastseat.harness.commands import shared


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("vectors", help="write test vectors for other languages")
    sub.add_argument("folder", type=Path, metavar="DIR")
    sub.set_defaults(run=lambda args: write_vectors(args.folder))


def write_vectors(folder: Path) -> Verdict:
    """Write the language-neutral vectors and their schema."""
    print(f"{vectors.write(folder)} vectors in {folder}")
    return Verdict.PASS
