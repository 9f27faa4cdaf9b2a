"""Outages strike while clients go on; what was recorded is judged as any other history is."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from attrs import Factory, define, frozen

from lastseat.harness.asking import Asking
from lastseat.harness.check import Checked, check
from lastseat.harness.confirmation import NOT_TO_BE_REPEATED, SeenOnce
from lastseat.harness.judge.audit import Auditor
from lastseat.harness.load.demand import Demand, Stock
from lastseat.harness.load.load import Load
from lastseat.harness.load.recorder import Recorder
from lastseat.harness.load.stand import GRACE_MS, Stand
from lastseat.harness.outages import Outage, Site
from lastseat.harness.outages.outage import until
from lastseat.harness.verdict import Verdict
from lastseat.spec.events import Evidence, Header
from lastseat.spec.resource import Resource
from lastseat.spec.rules import Violation
from lastseat.spec.vocabulary import Answer, Outcome, Request

_QUIET_CAPACITY = 10_000
_TRIES = 3
_AUDIT_EVERY = 0.25
_GONE_SECONDS = 20.0
_SOUND_SECONDS = 20.0
"""In which a server must be sound again when an outage is over."""


class StrikeFailed(Exception):
    """An outage could not do what it was to do; the trial says why."""


@frozen
class Struck:
    """An outage that struck; ``proof`` is what was seen of it, None if it was not seen."""

    outage: Outage
    proof: str | None
    seconds: float
    error: str | None = None
    """Why it could not do what it was to do."""

    @property
    def fired(self) -> bool:
        return self.proof is not None and self.error is None


@define
class Trial:
    """A recording under outages, and what became of it."""

    path: Path
    strikes: list[Struck] = Factory(list)
    checked: Checked | None = None
    reasons: list[str] = Factory(list)
    """Why it may not pass, although nothing illegal was found."""
    emitted: int = 0
    seconds: float = 0.0
    """In which clients were busy."""

    @property
    def facts(self) -> tuple[Violation, ...]:
        """The violations that committed states and answers prove. Only these count: what clients
        that run freely have come to cannot be brought about again."""
        return tuple(v for v in self._broken() if v.fact)

    @property
    def seen_once(self) -> SeenOnce | None:
        """The rules that were broken otherwise, if any were."""
        rules = tuple(dict.fromkeys(v.rule.value for v in self._broken() if not v.fact))
        if not rules:
            return None
        return SeenOnce(rules, "what was recorded", self.path, NOT_TO_BE_REPEATED)

    def _broken(self) -> Sequence[Violation]:
        return self.checked.judgement.violations if self.checked is not None else ()

    @property
    def doubts(self) -> list[str]:
        """All that stands against a pass, although nothing illegal was found."""
        undecided = self.checked.undecided if self.checked is not None else ("nothing was judged",)
        seen_once = [str(self.seen_once)] if self.seen_once is not None else []
        return [*seen_once, *undecided, *self.reasons]

    @property
    def verdict(self) -> Verdict:
        """A violation counts most."""
        if self.facts:
            return Verdict.VIOLATION
        return Verdict.INCONCLUSIVE if self.doubts else Verdict.PASS

    @property
    def rate(self) -> float:
        """Attempts per second."""
        return self.emitted / self.seconds if self.seconds else 0.0


@define
class Recording:
    """A load on a stand while its history is written; outages may strike it."""

    stand: Stand
    load: Load
    trial: Trial
    rng: random.Random
    executor: ThreadPoolExecutor
    progress: Callable[[int], None] = lambda _: None
    _audited: float = 0.0

    @property
    def site(self) -> Site:
        return self.stand.site

    def attempts(self, emitted: int) -> None:
        """Go on until so many attempts have ended in all; audits are read now and then."""
        while self.load.emitted < emitted:
            self._slice(emitted, time.monotonic() + _AUDIT_EVERY)
            self._audit()
            self.load.recorder.flush()
            self.progress(self.load.emitted)

    def _slice(self, emitted: int, ends: float) -> None:
        load = self.load
        load.run(lambda: load.emitted >= emitted or time.monotonic() > ends)

    def strike(self, outage: Outage) -> Struck:
        """Let it strike while the clients go on; returns when all is whole again.

        Raises StrikeFailed, and then nobody knows what is whole.
        """
        site = self.site
        self._require_health("before", outage)
        site.mark()
        earlier = list(self.load.in_doubt)
        disturbance = self.load.disturbed(outage.name)
        self.load.recorder.flush()
        began = time.monotonic()
        future = self.executor.submit(outage.strike, site)
        self.load.run(future.done)
        error = future.exception()
        if outage.fences and error is None:
            self.load.fenced(earlier)
            self.load.in_doubt[:] = [a for a in self.load.in_doubt if a not in set(earlier)]
        disturbance.over_at = self.load.recorder.tick()
        words = f"{type(error).__name__}: {error}" if error is not None else None
        proof = outage.proof(site) if error is None else None
        struck = Struck(outage, proof, time.monotonic() - began, words)
        self.trial.strikes.append(struck)
        if not struck.fired and (error is not None or outage.reaches_all):
            why = words or "it was not seen to happen"
            self.trial.reasons.append(f"{outage.name}: {why}")
        if error is not None:
            raise StrikeFailed
        self._require_health("after", outage)
        self.progress(self.load.emitted)
        return struck

    def _require_health(self, when: str, outage: Outage) -> None:
        if not until(lambda: _sick(self.site) is None, _SOUND_SECONDS):
            sick = _sick(self.site)
            self.trial.reasons.append(f"{when} {outage.name} the server is not sound: {sick}")

    def _audit(self) -> None:
        """One resource that clients contend for, in one snapshot."""
        resource = self.load.demand.current()
        with self._auditor() as auditor:
            (reading,) = auditor.read([resource])
            self.load.recorder.audit(resource, reading.rows, reading.booked)

    @contextlib.contextmanager
    def _auditor(self) -> Iterator[Auditor]:
        with Asking(self.stand.auditor_dsn()) as asking:
            yield Auditor(asking, self.stand.declared)

    def quiet(self, resource: str) -> None:
        """One client after the other, alone: failures must have passed."""
        for client in self.load.clients:
            request = Request(self.stand.fresh.id("quiet"), resource, 1)
            for _ in range(_TRIES):
                told = self.load.alone(client, request)
                if isinstance(told, Answer) and told.outcome is not Outcome.FAILED:
                    break

    def clear(self) -> None:
        """Every server process of the clients is gone: nothing more can take effect."""
        for name in self.load.clients:
            self.stand.connect(name)  # which lets the old connections go
        with self.site.session() as session:
            if not until(lambda: not self.site.others(session), 1.0):
                self.site.end_others(session)
            if not until(lambda: not self.site.others(session), _GONE_SECONDS):
                self.trial.reasons.append("server processes of the clients could not be ended")

    def finals(self, resources: Iterable[str]) -> None:
        """Read all bookings as they are in the end."""
        with self._auditor() as auditor:
            for resource in resources:
                (reading,) = auditor.read([resource])
                self.load.recorder.final(resource, reading.rows, reading.booked)


def record(
    stand: Stand,
    path: Path,
    attempts: int,
    drive: Callable[[Recording], None],
    *,
    rng: random.Random,
    progress: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Declare resources for so many attempts, let ``drive`` have its way, and judge the history.

    Raises AdapterError.
    """
    stock = Stock.for_attempts(attempts, stand.fresh)
    quiet = stand.fresh.id("quiet")
    capacities = {**stock.capacities, quiet: _QUIET_CAPACITY}
    stand.declare(capacities)
    header = Header(
        {name: Resource(capacity) for name, capacity in capacities.items()},
        frozenset({Evidence.FAULTS}),
        stand.declared.promises,
        float(stand.deadline_ms),
        float(GRACE_MS),
    )
    trial = Trial(path)
    deadline, limit = stand.deadline_ms / 1000, (stand.deadline_ms + GRACE_MS) / 1000
    demand = Demand(stock, stand.fresh, rng)
    with Recorder(path, header, stand.loop.now) as recorder, ThreadPoolExecutor(1) as executor:
        load = Load(stand.clients, stand.hire, stand.loop, recorder, demand, deadline, limit)
        recording = Recording(stand, load, trial, rng, executor, progress)
        began = time.monotonic()
        try:
            drive(recording)
            load.finish()
            trial.seconds = time.monotonic() - began
            recording.quiet(quiet)
            recording.clear()
            recording.finals(capacities)
            recorder.end()
        except StrikeFailed:
            pass  # what was recorded until then is judged
        finally:
            trial.emitted = load.emitted
    trial.checked = check(str(path))
    trial.reasons += [f"no attempt was answered {each}" for each in _unseen(trial.checked)]
    return trial


def _unseen(checked: Checked) -> Sequence[str]:
    return [each for each in ("BOOKED", "REJECTED") if not checked.answers.get(each)]


def _sick(site: Site) -> str | None:
    """Why the server does not serve, None if it does."""
    try:
        with site.session() as session:
            row = session.execute(
                "SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_prepared_xacts"
                " WHERE database = current_database())"
            ).fetchone()
    except psycopg.Error as error:
        return str(error)
    if row != (False, 0):
        return f"in recovery, prepared transactions: {row}"
    return None
