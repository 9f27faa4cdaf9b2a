"""A recorded schedule is run again, or it is said at which step it was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lastseat.harness.schedule.decision import START, Decision, Diverged, Step, World


def replay_strictly(world: World, steps: Sequence[Step]) -> None:
    """Make the recorded moves; whose turns wait and what each move meets must be as it was.

    Raises Diverged at the first difference. Who may *start* is not compared: when the schedule was
    recorded, what an idle client would ask for next may not have been decided yet.
    """
    for step in steps:
        enabled = world.enabled()
        if _waiting(enabled) != _waiting(step.enabled) or _impossible(step.decision, enabled):
            raise Diverged(
                f"at step {step.number} («{step.decision}») there could follow {_words(enabled)};"
                f" recorded: {_words(step.enabled)}"
            )
        made = world.perform(step.decision)
        if made.fingerprint != step.fingerprint:
            raise Diverged(
                f"step {step.number} met «{made.fingerprint}»; recorded: «{step.fingerprint}»"
            )


def _waiting(moves: Iterable[Decision]) -> frozenset[Decision]:
    return frozenset(move for move in moves if move.move != START)


def _impossible(decision: Decision, enabled: Sequence[Decision]) -> bool:
    return not decision.is_fault and decision not in enabled


def _words(moves: Iterable[Decision]) -> str:
    return ", ".join(map(str, moves)) or "nothing"
