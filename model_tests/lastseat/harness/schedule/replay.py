"""A recorded schedule is run again, or it is said at which step it was not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lastseat.harness.schedule.decision import START, Decision, Diverged, Step, World
from lastseat.harness.schedule.shape import difference


def replay_strictly(world: World, steps: Sequence[Step]) -> None:
    """Make the recorded moves; whose turns wait and what each move meets must be as it was, but for
    the values that an implementation makes up.

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
        if (met := _unlike(step, made)) is not None:
            raise Diverged(f"step {step.number} met {met}")


def _unlike(recorded: Step, made: Step) -> str | None:
    """What a move met, and what differs in it from what was recorded; None if it is the same.

    Values that the implementation makes up may differ. Schedules that were saved before shapes were
    are compared by all that stands in them.
    """
    words = f"«{made.fingerprint}»; recorded: «{recorded.fingerprint}»"
    if not recorded.shape:
        return None if made.fingerprint == recorded.fingerprint else words
    if made.shape == recorded.shape:
        return None
    return f"{words}; it says {difference(recorded.shape, made.shape)}"


def _waiting(moves: Iterable[Decision]) -> frozenset[Decision]:
    return frozenset(move for move in moves if move.move != START)


def _impossible(decision: Decision, enabled: Sequence[Decision]) -> bool:
    return not decision.is_fault and decision not in enabled


def _words(moves: Iterable[Decision]) -> str:
    return ", ".join(map(str, moves)) or "nothing"
