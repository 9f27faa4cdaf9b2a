"""The model's own checks, as far as they run every time: it is searched before it judges."""

from __future__ import annotations

from attrs import frozen

from lastseat.spec import modelcheck


@frozen
class Checked:
    """What was searched, in words, and what did not hold."""

    words: str
    failures: tuple[str, ...]


SCOPE = modelcheck.Scope.of(attempts=3, capacity=1, faults=1, repeats=1)
"""Searched in a fraction of a second; ``lastseat model`` goes further."""


def check_model() -> Checked:
    """Search the life of an attempt exhaustively in a small scope."""
    report = modelcheck.search(SCOPE)
    failures = []
    if report.violation is not None:
        failures.append(f"the model is broken: {report.violation.sentence}")
    failures += [f"the model never reached «{name}»" for name in report.missed]
    words = f"{report.unreduced_states:,} states of its life: all properties hold"
    return Checked(words if not failures else "broken", tuple(failures))


def search_model() -> tuple[str, bool]:
    """Search the life and its refinements in larger scopes; the report, and whether all is well."""
    scopes = (
        SCOPE,
        modelcheck.Scope.of(attempts=3, capacity=2, faults=2, repeats=1),
        modelcheck.Scope.of(attempts=4, capacity=2, faults=1, crashes=1, repeats=1),
    )
    reports = [modelcheck.search(scope) for scope in scopes]
    return "\n".join(report.text() for report in reports), all(report.ok for report in reports)
