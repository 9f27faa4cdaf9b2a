"""A script: the moves that somebody made in a run, cut loose from it, to be made again in another.

Moves can be left out of a script. What cannot be made then is passed over: a client that never
began has no turn to release.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from attrs import evolve, frozen

from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import FINISH, START, Decision, Step
from lastseat.spec.vocabulary import Request


@frozen
class Move:
    """A decision; with a start, what the client asks for."""

    decision: Decision
    request: Request | None = None


def script_of(run: Run, steps: Sequence[Step]) -> list[Move]:
    """The moves of these first ``steps`` of a run."""
    asked = {name: deque(_requests(run, name)) for name in run.clients()}
    moves = []
    for step in steps:
        client = step.decision.client
        request = asked[client].popleft() if step.decision.move == START else None
        moves.append(Move(step.decision, request))
    return moves


def _requests(run: Run, client: str) -> list[Request]:
    return [attempt.request for attempt in run.attempts if attempt.client == client]


def without_attempts(scenario: Scenario) -> Scenario:
    """The same scene, in which nobody asks for anything yet."""
    idle: dict[str, tuple[Request, ...]] = dict.fromkeys(scenario.attempts, ())
    return evolve(scenario, attempts=idle)


def act(run: Run, script: Sequence[Move]) -> list[Move]:
    """Make the moves that can be made; returns them."""
    return [move for move in script if _made(run, move)]


def _made(run: Run, move: Move) -> bool:
    decision = move.decision
    if decision.move == START:
        if decision.client in run.running() or move.request is None:
            return False
        run.ask(decision.client, move.request)
    elif decision.is_fault:
        if not run.can_happen(decision):
            return False
    elif decision.move == FINISH:
        if decision not in run.enabled():
            return False
    elif run.at_gate(decision.client) is None:
        return False
    run.perform(decision)
    return True
