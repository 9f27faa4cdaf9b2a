"""``lastseat check``: a recorded history is judged, whoever recorded it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lastseat.harness import check

if TYPE_CHECKING:
    from lastseat.harness.commands import shared


def add(commands: shared.Commands[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    sub = commands.add_parser("check", help="judge a recorded history, whoever recorded it")
    check.add_arguments(sub)
    sub.set_defaults(run=check.run_with)
