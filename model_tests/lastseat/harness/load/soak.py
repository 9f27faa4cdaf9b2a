"""A soak: very many attempts by clients that run freely, while the server fails again and again."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define

from lastseat.harness.implementations.client import Implementation
from lastseat.harness.load.grounds import Grounds
from lastseat.harness.load.stand import stand
from lastseat.harness.load.trial import Recording, Trial, record
from lastseat.harness.mistakes import Mistake
from lastseat.harness.outages import LOSSES, OUTAGES, Need, Outage, Way

DEADLINE_MS = 2_000
HISTORY = "history.jsonl"

USUAL = (
    "terminate",
    "kill-backend",
    "immediate-restart",
    "crash-restart",
    "fast-restart",
    "freeze-backends",
)
"""What strikes if nobody says otherwise."""

EVERYTHING: Mapping[str, Outage] = {**OUTAGES, **LOSSES}


class UnfitForSoak(Mistake):
    """This outage cannot strike in a soak, or not together with the others."""


@define
class Soak:
    """How long, by how many, and what strikes: the outages in turn, ``strikes`` in all."""

    attempts: int = 100_000
    clients: int = 8
    outages: Sequence[str] = USUAL
    strikes: int = 24
    settings: Mapping[str, str] | None = None
    dsn: str | None = None
    seed: int = 0

    def chosen(self) -> list[Outage]:
        """The outages; raises UnfitForSoak."""
        unknown = [name for name in self.outages if name not in EVERYTHING]
        if unknown:
            known = ", ".join(EVERYTHING)
            raise UnfitForSoak(f"there is no outage {unknown[0]!r}; there are {known}")
        found = [EVERYTHING[name] for name in self.outages]
        elsewhere = [outage.name for outage in found if outage.way is not Way.TCP]
        if elsewhere:
            raise UnfitForSoak(f"clients of a soak do not come that way: {', '.join(elsewhere)}")
        if len({o.synchronous for o in found if o.synchronous is not None}) > 1:
            raise UnfitForSoak("synchronous and asynchronous standbys do not go together")
        return found


def soak(
    implementation: Implementation,
    plan: Soak,
    out: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Run it; its history is ``HISTORY`` in the folder ``out``, written as it goes.

    Raises UnfitForSoak, AdapterError, and what starting a server raises.
    """
    outages = plan.chosen()
    rng = random.Random(plan.seed)
    with Grounds(plan.dsn, plan.settings or {}) as grounds:
        for outage in outages:
            missing = grounds.unavailable(outage)
            if missing is not None:
                raise UnfitForSoak(f"{outage.name} is unavailable, it needs {missing}")
        special = next((o for o in outages if Need.STANDBY in o.needs), None)
        with (
            grounds.ground(special) as ground,
            stand(
                implementation,
                ground.target,
                out / "logs",
                [f"client-{n}" for n in range(1, plan.clients + 1)],
                DEADLINE_MS,
                standby=ground.standby,
                rng=rng,
            ) as placed,
        ):
            return record(
                placed,
                out / HISTORY,
                plan.attempts,
                lambda recording: _drive(recording, plan, outages),
                rng=rng,
                progress=progress,
            )


def _drive(recording: Recording, plan: Soak, outages: Sequence[Outage]) -> None:
    """Outages are spread evenly over the attempts; which of them comes when is drawn."""
    strikes = plan.strikes if outages else 0
    for number in range(strikes):
        recording.attempts(plan.attempts * (number + 1) // (strikes + 1))
        # Each of them once before any comes again.
        if number % len(outages) == 0:
            turn = list(outages)
            recording.rng.shuffle(turn)
        recording.strike(turn.pop())
    recording.attempts(plan.attempts)
