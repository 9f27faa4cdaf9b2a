"""Each outage on its own: clients go on before, during and after it, and the history is judged."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, field, frozen

from lastseat.harness.implementations.client import Implementation
from lastseat.harness.load.grounds import Grounds
from lastseat.harness.load.stand import Stand, stand
from lastseat.harness.load.trial import Recording, Trial, record
from lastseat.harness.outages import OUTAGES, Need, Outage, Way
from lastseat.harness.verdict import Verdict, worst

CLIENTS = ("ann", "bob", "cleo", "dan")
DEADLINE_MS = 500
AROUND = 100
"""How many attempts are made before an outage, and how many after it."""


@frozen
class Tried:
    """An outage and its trial; without one it was not available, and ``why`` says why."""

    outage: Outage
    trial: Trial | None
    why: str | None = None
    required: bool = False
    seconds: float = 0.0

    @property
    def applies(self) -> bool:
        """Did it reach this implementation at all?"""
        return self.trial is not None and all(struck.fired for struck in self.trial.strikes)

    @property
    def verdict(self) -> Verdict:
        """What is not available counts only where it was required."""
        if self.trial is None:
            return Verdict.INCONCLUSIVE if self.required else Verdict.PASS
        return self.trial.verdict

    @property
    def words(self) -> str:
        """What was seen."""
        if self.trial is None:
            return f"unavailable, needs {self.why}"
        proofs = [struck.proof or "not seen to happen" for struck in self.trial.strikes]
        return "; ".join([*proofs, *self.trial.doubts])


def server_faults(
    implementation: Implementation,
    out: Path,
    progress: Callable[[Tried], None] = lambda _: None,
    *,
    dsn: str | None = None,
    names: Sequence[str] = tuple(OUTAGES),
    required: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Tried]:
    """Have the named outages strike, one after the other; each leaves its history in ``out``.

    On servers of our own, or on the user's ``dsn``, where most of them are unavailable. Raises
    AdapterError, and what starting a server raises.
    """
    results = []
    with Grounds(dsn, settings or {}) as grounds:
        trials = _Trials(implementation, grounds, out, seed)
        try:
            for name in names:
                results.append(_try(trials, OUTAGES[name], required=name in required))
                progress(results[-1])
        finally:
            trials.close()
    return results


def _try(trials: _Trials, outage: Outage, *, required: bool) -> Tried:
    began = time.monotonic()
    missing = trials.grounds.unavailable(outage)
    trial = trials.run(outage) if missing is None else None
    return Tried(outage, trial, missing, required, time.monotonic() - began)


def verdict_of(results: Sequence[Tried]) -> Verdict:
    """The worst of them."""
    return worst(*(tried.verdict for tried in results))


@define
class _Trials:
    """Trials on the plain server share one stand, as far as it stays whole."""

    implementation: Implementation
    grounds: Grounds
    out: Path
    seed: int
    _shared: ExitStack = field(factory=ExitStack, init=False)
    _stand: Stand | None = field(default=None, init=False)

    def run(self, outage: Outage) -> Trial:
        """Clients go on before, during and after it."""
        rng = random.Random(f"{self.seed} {outage.name}")

        def drive(recording: Recording) -> None:
            recording.attempts(AROUND)
            recording.strike(outage)
            recording.attempts(recording.load.emitted + AROUND)

        path = self.out / f"{outage.name}.history.jsonl"
        with self._place(outage) as placed:
            trial = record(placed, path, 2 * AROUND, drive, rng=rng)
        if any(struck.error for struck in trial.strikes):
            self.close()
            self.grounds.lose()
        return trial

    @contextmanager
    def _place(self, outage: Outage) -> Iterator[Stand]:
        if outage.way is Way.TCP and Need.STANDBY not in outage.needs:
            if self._stand is None:
                self._stand = self._shared.enter_context(self._open(outage))
            yield self._stand
        else:
            with self._open(outage) as stood:
                yield stood

    @contextmanager
    def _open(self, outage: Outage) -> Iterator[Stand]:
        rng = random.Random(self.seed)
        with (
            self.grounds.ground(outage) as ground,
            stand(
                self.implementation,
                ground.target,
                self.out / "logs",
                CLIENTS,
                DEADLINE_MS,
                way=outage.way,
                standby=ground.standby,
                rng=rng,
            ) as stood,
        ):
            yield stood

    def close(self) -> None:
        """The next trial is on a new stand."""
        self._shared.close()
        self._stand = None
