"""Makes a list of moves that fails short: leaves out what it fails without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

M = TypeVar("M")


def shrink(
    moves: Sequence[M],
    fails: Callable[[Sequence[M]], Sequence[M] | None],
    enough: Callable[[], bool] = lambda: False,
) -> Sequence[M]:
    """Leave out ever smaller pieces, while what is left ``fails`` and it is not ``enough``.

    ``fails`` makes the moves, passing over those that cannot be made any more; it returns those
    that it made, or None if nothing went wrong. At the end no single move can be spared.
    """
    size = max(1, len(moves) // 2)
    while not enough():
        shorter = _without_pieces(moves, size, fails, enough)
        if size == 1 and len(shorter) == len(moves):
            return moves
        moves, size = shorter, max(1, size // 2)
    return moves


def _without_pieces(
    moves: Sequence[M],
    size: int,
    fails: Callable[[Sequence[M]], Sequence[M] | None],
    enough: Callable[[], bool],
) -> Sequence[M]:
    at = len(moves)
    while at > 0 and not enough():  # from the end: what came after the failure goes first
        at = min(max(0, at - size), len(moves))
        made = fails([*moves[:at], *moves[at + size :]])
        if made is not None and len(made) < len(moves):
            moves = made
    return moves
