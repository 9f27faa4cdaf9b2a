"""What can happen to a client and its turns, with trigger and proof, each fault by its name."""

from __future__ import annotations

from collections.abc import Mapping

from lastseat.harness.faults.broken import LOSING, OTHER_ENDS, WHILE_WAITING
from lastseat.harness.faults.connecting import CONNECTING
from lastseat.harness.faults.fault import Arrives, Constraint, Fault, Place, Tells
from lastseat.harness.faults.possible import Circumstances, Database
from lastseat.harness.faults.raised import RAISED, RAISING
from lastseat.harness.faults.silence import SILENT

__all__ = [
    "FAULTS",
    "RAISED",
    "Arrives",
    "Circumstances",
    "Constraint",
    "Database",
    "Fault",
    "Place",
    "Tells",
]

_TELLING = ("lose-request", "lose-answer", "terminate")
_ALL = {
    fault.name: fault
    for fault in (*RAISING, *LOSING, *OTHER_ENDS, *WHILE_WAITING, *SILENT, *CONNECTING)
}

FAULTS: Mapping[str, Fault] = {name: _ALL[name] for name in (*_TELLING, *_ALL)}
"""By name, as a schedule calls them. First those by which most of what is wrong shows."""
