"""The truth table for people: on a terminal, and in Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from lastseat.harness.truth.implied import NoAnswer, Row
from lastseat.harness.truth.table import CONNECTING, Cell, Table
from lastseat.spec.vocabulary import BOOKED, CONFLICT, IN_DOUBT, INFRASTRUCTURE, REJECTED

_SHORT = {
    BOOKED: "booked",
    REJECTED: "rejected",
    CONFLICT: "conflict",
    INFRASTRUCTURE: "failed",
    IN_DOUBT: "in doubt",
    NoAnswer.EXCEPTION: "exception",
    NoAnswer.NONE: "hangs",
}
LEGEND = (
    "failed: FAILED(INFRASTRUCTURE), not in doubt; in doubt: the same, in doubt; conflict:"
    " FAILED(CONFLICT); +: the booking exists in the end; !: not what the contract implies;"
    " -: no such turn, or nothing of the kind can strike there"
)


def short(row: Row) -> str:
    """One cell, in a word or two."""
    return _SHORT[row.answer] + (" +" if row.exists else "")


def _marked(cell: Cell) -> str:
    unseen = "" if cell.seen else " (not seen to fire)"
    return short(cell.row) + ("" if cell.right else " !") + unseen


def lines(table: Table) -> Iterator[tuple[str, ...]]:
    """A line for each fault: its name, and what came of it at each turn."""
    found = {(cell.fault, cell.turn): _marked(cell) for cell in table.cells}
    for fault in table.faults:
        yield fault, *(found.get((fault, turn), "-") for turn in table.turns)


def text(table: Table) -> str:
    """For a terminal, or for something that searches it: as wide as it is."""
    rows = [("fault", *table.turns), *lines(table)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    laid_out = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in laid_out)


def markdown(table: Table) -> str:
    """For the documentation."""
    head = ("fault", *(turn if turn == CONNECTING else f"`{turn}`" for turn in table.turns))
    rows = [head, ("---",) * len(head), *(_code(line) for line in lines(table))]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _code(line: tuple[str, ...]) -> tuple[str, ...]:
    name, *cells = line
    return (", then ".join(f"`{part}`" for part in name.split(", then ")), *cells)
