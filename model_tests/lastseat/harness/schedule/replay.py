"""A recorded schedule is run again, or it is said at which step it was not."""

from __future__ import annotations

from collections.abc import Sequence

from lastseat.harness.schedule.decision import Diverged, Step, World


def replay_strictly(world: World, steps: Sequence[Step]) -> None:
    """Make the recorded moves; what is enabled and what each meets must be as it was.

    Raises Diverged at the first difference.
    """
    for step in steps:
        enabled = tuple(world.enabled())
        if enabled != step.enabled:
            then, now = (", ".join(map(str, moves)) for moves in (step.enabled, enabled))
            raise Diverged(f"at step {step.number} there could follow: {now}; recorded: {then}")
        made = world.perform(step.decision)
        if made.fingerprint != step.fingerprint:
            raise Diverged(
                f"step {step.number} met «{made.fingerprint}»; recorded: «{step.fingerprint}»"
            )
