"""What follows a fault: doubt is resolved by asking again, and service must come back."""

from __future__ import annotations

from lastseat.harness.attempts import Attempt
from lastseat.harness.run import Run
from lastseat.harness.schedule.decision import Decision
from lastseat.harness.schedule.interleavings import to_the_end
from lastseat.spec.vocabulary import Outcome, Request

LATE = "arrive-late"
NEVER = "vanish"
ECHO = "echo"
"""A client that is disturbed by nothing, and asks again at once what is in doubt."""

_TRIES = 4
SPARE = "spare"
"""A resource that nobody contends for."""
SPARE_CAPACITY = 100


def aftermath(run: Run, fate: str = LATE) -> None:
    """Let all attempts end, repeat those in doubt, and see that every disturbed client is served.

    What is stuck in the network meets its ``fate``. The repetitions use the same id. While the
    commit is stuck another client makes one, which may have to wait for it; when nothing is under
    way any more, the client that was left in doubt makes its own. The last attempts ask for
    something that nobody contends for.
    """
    to_the_end(run)
    for client in [client for client in run.clients() if run.stuck(client)]:
        _while_stuck(run, client, fate)
    for attempt in [attempt for attempt in run.attempts if attempt.in_doubt]:
        _until_definite(run, attempt.client, attempt.request)
    disturbed = dict.fromkeys(fired.client for fired in run.faults.report())
    for client in disturbed:
        run.declare(SPARE, SPARE_CAPACITY)
        _until_definite(run, client, Request(f"quiet-{client}", SPARE, 1))


def _while_stuck(run: Run, client: str, fate: str) -> None:
    for attempt in [a for a in run.attempts if a.client == client and a.in_doubt]:
        run.ask(ECHO, attempt.request)
        to_the_end(run, ECHO)
    if run.stuck(client):
        run.perform(Decision(fate, client))
    to_the_end(run)


def _until_definite(run: Run, client: str, request: Request) -> None:
    for _ in range(_TRIES):
        run.ask(client, request)
        to_the_end(run, client)
        if _definite(run.attempts[-1]):
            return
        run.give_time()  # lest its own haste be what it fails by


def _definite(attempt: Attempt) -> bool:
    return attempt.answer is None or attempt.answer.outcome is not Outcome.FAILED
