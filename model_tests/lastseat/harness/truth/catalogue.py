"""The catalogue of faults, in Markdown, as the documentation has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lastseat.harness.faults import FAULTS, Arrives
from lastseat.harness.faults.possible import ANSWERS, EXCLUSIONS, Exclusion, Stmt


def markdown() -> str:
    """A line for each fault: what it is, what it stands for, and the proof that it fired."""
    return _table(
        ("fault", "what happens", "what it stands for", "its turn reaches the server", "proof"),
        (
            (f"`{f.name}`", f.words, f.stands_for, _arrives(f.arrives), f.proof_words)
            for f in FAULTS.values()
        ),
    )


def answers() -> str:
    """A line for each kind of statement: the errors that can come, or the exclusion's number."""
    return _table(
        ("statement", *(f"`{sqlstate}`" for sqlstate in ANSWERS)),
        ((s.value, *(_answer(sqlstate, s) for sqlstate in ANSWERS)) for s in Stmt),
    )


def exclusions() -> str:
    """A line for each exclusion, by its number in the table of answers."""
    return _table(
        ("", "why not", "but possible where", "source"),
        (
            (str(number), e.why, e.unless.words if e.unless else "-", e.source)
            for number, e in enumerate(EXCLUSIONS, 1)
        ),
    )


def _answer(sqlstate: str, statement: Stmt) -> str:
    """Possible; impossible, by an exclusion of this number; or possible under its condition."""
    for number, exclusion in enumerate(EXCLUSIONS, 1):
        if exclusion.excludes(sqlstate, statement):
            return _numbered(number, exclusion)
    return "yes"


def _numbered(number: int, exclusion: Exclusion) -> str:
    return f"if ({number})" if exclusion.unless else f"no ({number})"


def _arrives(arrives: Arrives) -> str:
    return "-" if arrives is Arrives.NO_TURN else arrives.value


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)
