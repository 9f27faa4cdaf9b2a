"""The model's own checks, as far as they run every time: it is searched before it judges."""

from __future__ import annotations

from attrs import frozen

from lastseat.spec import proof
from lastseat.spec.modelcheck import Report


@frozen
class Checked:
    """What was searched, in words, and what did not hold."""

    words: str
    failures: tuple[str, ...]


def check_model() -> Checked:
    """The quick proof, which takes about a second; ``lastseat model`` goes further."""
    made = proof.prove()
    states = sum(p.unreduced_states for p in made.parts if isinstance(p, Report) and p.ok)
    failures = tuple(f"the model is broken: {p.text()}" for p in made.parts if not p.ok)
    words = f"{len(made.parts)} proofs, {states:,} states of its lives"
    return Checked("broken" if failures else words, failures)
