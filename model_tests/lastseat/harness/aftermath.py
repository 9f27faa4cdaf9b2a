"""What follows a fault: doubt is resolved by asking again, and service must come back."""

from __future__ import annotations

from lastseat.harness.attempts import Attempt
from lastseat.harness.run import Run
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.spec.vocabulary import Outcome, Request

_TRIES = 4
_SPARE = "spare"
_SPARE_CAPACITY = 100


def aftermath(run: Run) -> None:
    """Let all attempts end, repeat those in doubt, and see that every disturbed client is served.

    The repetitions use the same id and are made by the same client; the last attempts ask for
    something that nobody contends for.
    """
    to_the_end(run)
    for attempt in [attempt for attempt in run.attempts if attempt.in_doubt]:
        _until_definite(run, attempt.client, attempt.request)
    disturbed = dict.fromkeys(fired.client for fired in run.fault_report())
    for client in disturbed:
        run.declare(_SPARE, _SPARE_CAPACITY)
        _until_definite(run, client, Request(f"quiet-{client}", _SPARE, 1))


def _until_definite(run: Run, client: str, request: Request) -> None:
    for _ in range(_TRIES):
        run.ask(client, request)
        to_the_end(run, client)
        if _definite(run.attempts[-1]):
            return


def _definite(attempt: Attempt) -> bool:
    return attempt.answer is None or attempt.answer.outcome is not Outcome.FAILED
