"""An example or two of every command, shown at the end of its help."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "verify": (
        "lastseat verify my.package:factory --out report",
        "lastseat verify --adapter './my-adapter --flag' --profile full",
        "lastseat verify locking --select explore --deselect 'explore/same-id-*'",
    ),
    "smoke": ("lastseat smoke --adapter './my-adapter --flag'", "lastseat smoke optimistic"),
    "explore": ("lastseat explore last-seat", "lastseat explore last-seat X03"),
    "hunt": ("lastseat hunt my.package:factory --minutes 5 --seed 7",),
    "outages": (
        "lastseat outages my.package:factory --require disk-full --require half-open",
        "lastseat outages locking --only crash-restart",
    ),
    "soak": (
        "lastseat soak locking --attempts 5000 --clients 8",
        "lastseat soak --server synchronous_commit=off --faults crash-restart",
    ),
    "truth": ("lastseat truth optimistic",),
    "replay": (
        "lastseat replay report/explore/last-seat/violation-1.schedule.json",
        "lastseat replay report/explore/last-seat/violation-1.schedule.json --attach",
    ),
    "mutants": ("lastseat mutants --list", "lastseat mutants X03"),
    "check": ("lastseat check recording.jsonl.zst", "lastseat check --json recording.jsonl"),
    "vectors": ("lastseat vectors vectors",),
    "model": ("lastseat model", "lastseat model --full"),
}


def epilog(command: str) -> str:
    """The end of the command's help."""
    first, *others = EXAMPLES[command]
    return "\n".join([f"example: {first}", *(f"         {other}" for other in others)])
