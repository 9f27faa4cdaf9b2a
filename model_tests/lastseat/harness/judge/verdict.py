"""The three judges of a run, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from lastseat.harness.judge.instep import Objection
from lastseat.spec import legality, visibility
from lastseat.spec.events import Audit, History
from lastseat.spec.rules import Rule, Violation

_BOTH_SEE = frozenset({Rule.CAPACITY, Rule.COUNTER, Rule.BOOKED, Rule.REJECTED, Rule.ONE_ID})
"""What the model in step and the judge of the whole history both decide, each in its own way.

Whether a failure was justified, what doubt revealed and whether service came back can only be told
from the whole.
"""


@frozen
class Repeated:
    """In how many runs of one schedule a rule was broken, and how many there were: the run that was
    illegal first, and its repetitions."""

    illegal: int
    runs: int

    def __str__(self) -> str:
        return f"illegal in {self.illegal} of {self.runs}"


@frozen
class Finding:
    """A rule that was broken: what it promises, by whom it was broken, and the evidence."""

    rule: str
    sentence: str
    attempts: tuple[str, ...]
    words: str
    fact: bool = False
    """Whether committed states and answers prove it by themselves."""
    repeated: Repeated | None = None
    """How often it was illegal when its run was repeated; None if it was not repeated."""

    @property
    def proof(self) -> str:
        """What it rests on, in words."""
        if self.fact:
            return "a fact: committed states and answers prove it"
        return "seen once" if self.repeated is None else str(self.repeated)

    def __str__(self) -> str:
        who = f" ({', '.join(self.attempts)})" if self.attempts else ""
        return f"{self.rule}{who}: {self.words}"


@frozen
class Judged:
    """What the judges say. A disagreement is a fault of ours, and no verdict."""

    findings: tuple[Finding, ...]
    disagreement: str | None
    not_judged: tuple[str, ...]

    @property
    def rules(self) -> frozenset[str]:
        return frozenset(finding.rule for finding in self.findings)


def judge(
    history: History,
    objections: Sequence[Objection],
    attempts: Iterable[visibility.Attempt],
    exchanges: Sequence[visibility.Exchange],
) -> Judged:
    """Judge a run by its history, by the model that went with it, and by what was on the wire."""
    whole = legality.judge(history)
    findings = list(map(finding_of, whole.violations))
    for seen in visibility.judge(attempts, exchanges, _snapshots(history)):
        rule = seen.rule
        findings.append(Finding(rule.title, rule.sentence, (seen.attempt,), seen.explanation))
    return Judged(
        tuple(findings),
        _disagreement(frozenset(v.rule for v in whole.violations), objections),
        whole.not_judged,
    )


def _snapshots(history: History) -> Iterator[visibility.Snapshot]:
    for event in history.events:
        if isinstance(event, Audit):
            yield visibility.Snapshot(event.at, event.resource_id, event.bookings, event.booked)


def finding_of(violation: Violation) -> Finding:
    """What the judge of histories says, as it is reported."""
    where = f"on {violation.resource}, " if violation.resource is not None else ""
    rule = violation.rule
    words = where + violation.explanation
    return Finding(rule.value, rule.sentence, violation.attempts, words, violation.fact)


def _disagreement(whole: frozenset[Rule], objections: Sequence[Objection]) -> str | None:
    """They agree when either both or neither object to what both can see."""
    in_step = sorted({objection.rule.value for objection in objections})
    afterwards = sorted(rule.value for rule in whole & _BOTH_SEE)
    if in_step and not whole:
        words = "; ".join(objection.words for objection in objections)
        return f"in step the model objects ({words}), and the whole history is legal"
    if afterwards and not in_step:
        return f"the whole history breaks {', '.join(afterwards)}, and the model saw nothing amiss"
    return None
