"""The attempts of a run."""

from __future__ import annotations

from attrs import define

from lastseat.harness.implementations.client import Moment
from lastseat.harness.implementations.protocol import Raised
from lastseat.spec.vocabulary import Answer, Outcome, Request


@define
class Attempt:
    """One attempt of this run."""

    name: str
    client: str
    request: Request
    invoked: Moment
    """When it began."""
    given: float
    """Its deadline, in seconds."""
    took: float | None = None
    """Seconds from its invocation to its end, by the monotonic clock."""
    silenced: bool = False
    """Whether a fault met it that its client learns of only by its own deadline."""
    answer: Answer | None = None
    raised: Raised | None = None
    emitted_at: int | None = None
    under_way: bool = False
    """Has one of its turns been released?"""
    repeats: bool = False
    """Whether its request was booked before it had sent a commit of its own."""
    hung: bool = False
    fenced: bool = False

    @property
    def out_of_time(self) -> bool:
        """Whether its deadline had expired when it ended."""
        return self.took is not None and self.took >= self.given

    @property
    def running(self) -> bool:
        return self.emitted_at is None and not self.hung

    @property
    def failed(self) -> bool:
        """Did it end in anything but a definite answer of the database's?"""
        if self.raised is not None:
            return True
        return self.answer is not None and self.answer.outcome is Outcome.FAILED

    @property
    def in_doubt(self) -> bool:
        if self.raised is not None:
            return self.raised.in_doubt
        return self.answer is not None and self.answer.in_doubt
