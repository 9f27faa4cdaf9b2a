"""The catalogue of faults, in Markdown, as the documentation has it."""

from __future__ import annotations

from lastseat.harness.faults import FAULTS, Arrives


def markdown() -> str:
    """A line for each fault: what it is, what it stands for, and the proof that it fired."""
    rows = [
        ("fault", "what happens", "what it stands for", "its turn reaches the server", "proof"),
        ("---",) * 5,
        *(
            (f"`{f.name}`", f.words, f.stands_for, _arrives(f.arrives), f.proof_words)
            for f in FAULTS.values()
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _arrives(arrives: Arrives) -> str:
    return "-" if arrives is Arrives.NO_TURN else arrives.value
