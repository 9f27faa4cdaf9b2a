"""A certificate of coverage: what an exploration has looked at, what came of it, and what not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import asdict, frozen

from lastseat.harness.plain import plain
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.venue import UNAVAILABLE, Found
from lastseat.harness.verdict import Verdict

FORMAT = "lastseat-certificate/1"

NOT_COVERED = (
    "what interleaves inside one statement of the server",
    "faults: see lastseat verify",
)


@frozen
class Certificate:
    """``scope`` says of which schedules it speaks."""

    scenario: Scenario
    scope: str
    coverage: Coverage
    found: Found

    @property
    def verdict(self) -> Verdict:
        """What was not run to the end cannot pass."""
        if self.found.convicted:
            return Verdict.VIOLATION
        return Verdict.INCONCLUSIVE if any(self.reasons()) else Verdict.PASS

    def reasons(self) -> Iterator[str]:
        """Why it does not pass, though nothing illegal was found."""
        seen = self.coverage
        if seen.interrupted:
            yield "it was interrupted"
        if seen.remaining:
            yield f"{seen.remaining} prefixes were not run"
        yield from dict.fromkeys(self.found.doubts)

    def not_covered(self) -> Iterator[str]:
        """What nobody may conclude from it."""
        yield from NOT_COVERED
        if self.coverage.commits == UNAVAILABLE:
            yield UNAVAILABLE

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "format": FORMAT,
            "scenario": self.scenario.name,
            "scope": self.scope,
            "verdict": str(self.verdict),
            "reasons": list(self.reasons()),
            "coverage": {**asdict(self.coverage), "outcomes": dict(self.coverage.outcomes)},
            "lock_waits": self.found.witness.contention,
            "not_covered": list(self.not_covered()),
        }

    def text(self) -> str:
        """For people."""
        seen = self.coverage
        lines = [
            f"scenario    {self.scenario.name}: {self.scenario.why}",
            f"scope       {self.scope}",
            *([f"classes     {seen.classes} run to their end"] if seen.classes else []),
            f"schedules   {seen.schedules} run, {seen.remaining} remaining",
            f"broken off  {seen.blocked}, for what could follow was run elsewhere",
            f"diverged    {seen.diverged}; not the same when repeated: {seen.not_repeated}",
            f"races       {seen.edges} pairs of turns that came in both orders",
            f"waits       {self.found.witness.contention} for another client's lock",
            *([f"commits     {seen.commits}"] if seen.commits != UNAVAILABLE else []),
            f"wake-ups    {seen.forks} that went now this way, now that",
            *(f"ended       {count:>5} times: {words}" for words, count in seen.outcomes.items()),
            *(f"not covered {words}" for words in self.not_covered()),
            *(f"but         {reason}" for reason in self.reasons()),
            f"verdict     {self.verdict}",
        ]
        return "\n".join(map(plain, lines)) + "\n"
