"""The three judges of a run, and whether they agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from lastseat.harness.judge.instep import Objection
from lastseat.spec import legality, visibility
from lastseat.spec.events import Audit, History
from lastseat.spec.rules import Rule, Violation

_SHOWN_BY = {
    Rule.CAPACITY: frozenset({Rule.CAPACITY}),
    Rule.COUNTER: frozenset({Rule.COUNTER}),
    Rule.BOOKED: frozenset({Rule.BOOKED, Rule.ONE_ID}),
    Rule.REJECTED: frozenset({Rule.REJECTED, Rule.CAPACITY}),
    Rule.ONE_ID: frozenset({Rule.ONE_ID, Rule.BOOKED, Rule.REJECTED, Rule.CAPACITY}),
}
"""What the judge of the whole history and the model in step both decide, each in its own way; and
by which objections the latter shows it. A row that no attempt made may break one rule for the one,
and another for the other.

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
    """What the judges say.

    A disagreement is a fault of ours, and no verdict: the rule in dispute is not among the
    findings. Those on which the judges agree stand.
    """

    findings: tuple[Finding, ...]
    disagreement: str | None
    """In words, the findings in dispute among them."""
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
    broken = frozenset(violation.rule for violation in whole.violations)
    disputed = _disputed(broken, objections)
    findings = [finding_of(v) for v in whole.violations if v.rule not in disputed]
    for seen in visibility.judge(attempts, exchanges, _snapshots(history)):
        rule = seen.rule
        findings.append(Finding(rule.title, rule.sentence, (seen.attempt,), seen.explanation))
    in_dispute = [finding_of(v) for v in whole.violations if v.rule in disputed]
    return Judged(tuple(findings), _disagreement(broken, objections, in_dispute), whole.not_judged)


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


def _disputed(whole: frozenset[Rule], objections: Sequence[Objection]) -> frozenset[Rule]:
    """The rules that the whole history breaks and that the model in step saw kept."""
    in_step = {objection.rule for objection in objections}
    return frozenset(
        rule for rule, shown_by in _SHOWN_BY.items() if rule in whole and not shown_by & in_step
    )


def _disagreement(
    whole: frozenset[Rule], objections: Sequence[Objection], in_dispute: Sequence[Finding]
) -> str | None:
    """What the judges disagree about, in words; None if they agree."""
    if objections and not whole:
        words = "; ".join(objection.words for objection in objections)
        return f"in step the model objects ({words}), and the whole history is legal"
    if in_dispute:
        rules = ", ".join(sorted({finding.rule for finding in in_dispute}))
        words = "; ".join(map(str, in_dispute))
        return f"the whole history breaks {rules}, and the model saw nothing of it ({words})"
    return None
