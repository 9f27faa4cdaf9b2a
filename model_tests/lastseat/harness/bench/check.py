"""Seconds and memory that ``lastseat check`` takes for large histories of one contended resource.

Fifty clients, one attempt in a hundred in doubt and asked again, conflicts repeated with the same
id; ids of nine characters. Each history is written to a file and checked by a process of its own.
On a busy machine only the seconds of processor time say something; they are those of all processes
together. ``--write FILE`` only writes one.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

CLIENTS = 50
SIZES = (10_000, 100_000, 1_000_000)
KINDS = ("legal", "oversold", "rejected")


@define
class _Load:
    """A run of ``attempts`` on the resource ``r``, of which about a third is booked.

    ``wrong`` says what is false: ``oversold`` has one booking too many, ``rejected`` one rejection
    while there was room, ``legal`` nothing. Evidence is recorded in full where ``told``.
    """

    attempts: int
    wrong: str = "legal"
    told: bool = True
    read: bool = True
    rng: random.Random = field(factory=lambda: random.Random("check"))
    booked: dict[str, int] = field(factory=dict)
    total: int = 0
    at: int = 0

    @property
    def capacity(self) -> int:
        return self.attempts // 3

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line of the history."""
        yield {
            "type": "header",
            "format": "lastseat-history/1",
            "resources": {"r": {"capacity": self.capacity}},
            "observed": ["server", "commits"] if self.told else ["faults"],
            "promises": ["winner"],
        }
        yield from self._attempts()
        if self.read:
            rows = [[booking_id, units] for booking_id, units in self.booked.items()]
            yield {"type": "final", "resource_id": "r", "bookings": rows, "booked": self.total}
        yield {"type": "end", "at": self.at}

    def _attempts(self) -> Iterator[dict[str, Any]]:
        """Each client always has one attempt under way; whose goes on is drawn."""
        if not self.told:
            yield {"type": "fault", "kind": "flaky", "from": 0}
        repeats: dict[int, tuple[str, int]] = {}
        active: dict[int, Iterator[dict[str, Any]]] = {}
        begun = 0
        while begun < self.attempts or active:
            client = self.rng.randrange(CLIENTS)
            self.at += 1
            if client in active:
                line = next(active[client], None)
                if line is not None:
                    yield {**line, "at": self.at}
                else:
                    del active[client]
            elif begun < self.attempts:
                booking_id, units = repeats.pop(client, (f"b{begun:08}", 1 + begun % 3))
                name = f"a{begun:08}"
                begun += 1
                yield {
                    "type": "invoke",
                    "at": self.at,
                    "attempt": name,
                    "client": f"c{client}",
                    "booking_id": booking_id,
                    "resource_id": "r",
                    "requested_units": units,
                }
                fate = self.rng.random()
                active[client] = self._attempt(name, booking_id, units, fate)
                if fate < 0.21:
                    repeats[client] = booking_id, units

    def _attempt(
        self, name: str, booking_id: str, units: int, fate: float
    ) -> Iterator[dict[str, Any]]:
        of = {"attempt": name}
        failed = {"type": "emit", **of, "outcome": "FAILED"}
        if fate < 0.2:
            if self.told:
                yield {"type": "seen", **of, "what": "error", "sqlstate": "40001"}
            yield {**failed, "cause": "CONFLICT", "in_doubt": False}
        elif fate < 0.21:
            if self.told:
                yield {"type": "commit-sent", **of}
                yield {"type": "seen", **of, "what": "lost", "phase": "commit"}
            if self.rng.random() < 0.5:
                self._book(booking_id, units)
            yield {**failed, "cause": "INFRASTRUCTURE", "in_doubt": True}
        elif self._book(booking_id, units):
            if self.told:
                yield {"type": "commit-sent", **of}
            yield {"type": "emit", **of, "outcome": "BOOKED"}
        else:
            yield {"type": "emit", **of, "outcome": "REJECTED"}

    def _book(self, booking_id: str, units: int) -> bool:
        if booking_id in self.booked:
            return True
        if self.wrong == "rejected" and self.total > self.capacity // 2:
            self.wrong = ""
            return False
        spare = 3 if self.wrong == "oversold" else 0
        if self.total + units > self.capacity + spare:
            return False
        self.booked[booking_id] = units
        self.total += units
        return True


def write(path: Path, attempts: int, wrong: str, *, told: bool = True, read: bool = True) -> None:
    """Write such a history to a file."""
    encode: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":")).encode
    with path.open("w") as file:
        for line in _Load(attempts, wrong, told=told, read=read).lines():
            file.write(encode(line) + "\n")


def measure(path: Path) -> str:
    """Check a file in a process of its own; its seconds, its memory, and what it said."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "lastseat.harness.check", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    peak = used.ru_maxrss / 2**20
    told = json.loads(done.stdout)
    seconds = told["seconds"]
    return (
        f"{took:6.2f} s in all, reading {seconds['reading']:.2f} s, judging "
        f"{seconds['judging']:.2f} s, {busy:.2f} s of processor time, at most {peak:.2f} GB: "
        f"{told['verdict']}, {len(told['violations'])} violations"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, nargs="+", default=SIZES)
    parser.add_argument("--wrong", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--bare", action="store_true", help="faults only, instead of all evidence")
    parser.add_argument("--unread", action="store_true", help="without the final bookings")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the first, and stop")
    args = parser.parse_args()
    for wrong in args.wrong:
        for attempts in args.attempts:
            with tempfile.TemporaryDirectory() as folder:
                path = args.write or Path(folder, "history.jsonl")
                write(path, attempts, wrong, told=not args.bare, read=not args.unread)
                if args.write:
                    return
                print(f"{wrong:9}{attempts:10,}: {measure(path)}", flush=True)


if __name__ == "__main__":
    main()
