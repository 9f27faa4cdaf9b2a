"""What a run leaves on disk: its history, and the schedule that runs it again.

Both are written before anything is judged, so that a judge that fails loses nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from attrs import asdict, evolve, frozen

from lastseat.harness.attempts import Attempt
from lastseat.harness.faults import FAULTS
from lastseat.harness.judge.verdict import Judged, judge
from lastseat.harness.mistakes import Mistake
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import Decision, Step
from lastseat.harness.stage import DAY_MS, DEADLINE_MS, GRACE_MS, STEWARD
from lastseat.spec import history, visibility
from lastseat.spec.events import End, Event, Evidence, Final, Header, History
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import Request

SCHEDULE_FORMAT = "lastseat-schedule/1"


Name = Annotated[str, msgspec.Meta(pattern=rf"^(?!{STEWARD}\Z)[a-z][a-z0-9-]{{0,31}}\Z")]
"""Of a client; a file is called after it."""

_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=DAY_MS)]
_Requests = Annotated[list[Request], msgspec.Meta(max_length=1000)]


class _Scenario(msgspec.Struct):
    name: str
    why: str
    capacities: Annotated[dict[str, int], msgspec.Meta(max_length=1000)]
    attempts: Annotated[dict[Name, _Requests], msgspec.Meta(max_length=16)]
    prior: _Requests
    deadlines: Annotated[dict[str, _Milliseconds], msgspec.Meta(max_length=16)] = {}


class _Decision(msgspec.Struct):
    step: int
    chosen: str
    enabled: list[str]
    fingerprint: str
    observed: list[str]
    shape: str = ""


class _Schedule(msgspec.Struct):
    """What a file may hold. The bounds are far beyond what is ever recorded."""

    format: Literal["lastseat-schedule/1"]
    scenario: _Scenario
    implementation: Annotated[str, msgspec.Meta(max_length=4096)]
    decisions: Annotated[list[_Decision], msgspec.Meta(max_length=10_000)]
    seed: int | None = None
    verdict: str = ""


_decoder = msgspec.json.Decoder(_Schedule)


class MalformedSchedule(Mistake):
    """This is no schedule that can be run again."""


@frozen
class Schedule:
    """A scenario, whose implementation it met, and the steps that were taken."""

    scenario: Scenario
    implementation: str
    steps: tuple[Step, ...]
    seed: int | None = None
    verdict: str = ""


@frozen
class Recorded:
    """A run that is over: what the judges read, and what to save."""

    history: History
    schedule: Schedule
    run: Run

    def judged(self) -> Judged:
        """What the three judges say of it."""
        sight = self.run.sight
        return judge(
            self.history,
            self.run.instep.objections,
            # The steward's way leads past the gate.
            [_seen(a, self.run) for a in self.run.attempts if a.client != STEWARD],
            sight.exchanges,
        )


def close(run: Run, *, seed: int | None = None) -> Recorded:
    """Take down a finished run."""
    declared = run.stage.declared
    header = Header(
        {name: Resource(r.capacity) for name, r in run.instep.state.resources.items()},
        frozenset(Evidence),
        declared.promises,
        None if run.stage.unhurried else float(DEADLINE_MS),
        float(GRACE_MS),
    )
    events: list[Event] = [*run.events, *run.faults.lines(), *_finals(run)]
    events.append(End(run.now))
    schedule = Schedule(_as_it_was(run), run.stage.implementation.name, tuple(run.steps), seed)
    return Recorded(History(header, tuple(events)), schedule, run)


def write(recorded: Recorded, folder: Path, name: str) -> Path:
    """Save history and schedule; the path of the schedule.

    Where that fails (a full disk) the stage remembers it: what was seen is judged all the same.
    """
    lines = [recorded.history.header, *recorded.history.events]
    text = "".join(history.encode(line) + "\n" for line in lines)
    path = folder / f"{name}.schedule.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _put(history_of(path), text.encode())
        _put(path, msgspec.json.format(msgspec.json.encode(to_json(recorded.schedule))))
    except OSError as error:
        recorded.run.stage.unsaved = f"runs could not be saved: {error}"
    return path


def _put(path: Path, data: bytes) -> None:
    """Write over what is there. A file that is emptied first is, on closing it, flushed to the disk
    by some file systems, which takes longer than the run did."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(data)
        file.truncate()


def name_of(schedule: Path) -> str:
    """The name under which a schedule and its history were saved."""
    return schedule.name.removesuffix(".schedule.json")


def history_of(schedule: Path) -> Path:
    """The file of the history that was saved with a schedule."""
    return schedule.with_name(f"{name_of(schedule)}.history.jsonl")


def rename(schedule: Path, to: Path) -> None:
    """Give a saved schedule, and its history, another name; what had that name is replaced."""
    schedule.replace(to)
    history_of(schedule).replace(history_of(to))


def remove(schedule: Path) -> None:
    """Remove a saved schedule and its history."""
    schedule.unlink()
    history_of(schedule).unlink()


def to_json(schedule: Schedule) -> dict[str, Any]:
    """The format ``lastseat-schedule/1``."""
    scenario = schedule.scenario
    return {
        "format": SCHEDULE_FORMAT,
        "scenario": {
            "name": scenario.name,
            "why": scenario.why,
            "capacities": dict(scenario.capacities),
            "attempts": {c: list(map(asdict, asked)) for c, asked in scenario.attempts.items()},
            "prior": list(map(asdict, scenario.prior)),
            "deadlines": dict(scenario.deadlines),
        },
        "implementation": schedule.implementation,
        "seed": schedule.seed,
        "decisions": [
            {
                "step": step.number,
                "enabled": list(map(str, step.enabled)),
                "chosen": str(step.decision),
                "fingerprint": step.fingerprint,
                "shape": step.shape,
                "fault": step.decision.move if step.decision.is_fault else None,
                "observed": list(step.observed),
            }
            for step in schedule.steps
        ],
        "verdict": schedule.verdict,
    }


def read_schedule(data: bytes) -> Schedule:
    """Read what ``to_json`` made; raises MalformedSchedule.

    What comes of it is data: its texts are to be shown or compared, and name nothing but clients,
    whose names can be parts of paths.
    """
    try:
        found = _decoder.decode(data)
        steps = tuple(map(_step, found.decisions))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedSchedule(f"no schedule: {error or 'it is nested too deeply'}") from error
    scenario = _scenario(found.scenario)
    named = {step.decision.client for step in steps} | scenario.deadlines.keys()
    if strange := sorted(named - scenario.attempts.keys()):
        raise MalformedSchedule(f"no schedule: it has no client {strange[0]!r}")
    return Schedule(scenario, found.implementation, steps, found.seed, found.verdict)


def _scenario(found: _Scenario) -> Scenario:
    attempts = {client: tuple(asked) for client, asked in found.attempts.items()}
    return Scenario(
        found.name,
        found.why,
        found.capacities,
        attempts,
        tuple(found.prior),
        deadlines=found.deadlines,
    )


def _step(found: _Decision) -> Step:
    decision = Decision.parse(found.chosen)
    if decision.is_fault and decision.move not in FAULTS:
        raise ValueError(f"there is no fault {decision.move!r}")
    return Step(
        found.step,
        decision,
        tuple(map(Decision.parse, found.enabled)),
        found.fingerprint,
        tuple(found.observed),
        shape=found.shape,
    )


def _as_it_was(run: Run) -> Scenario:
    """The scenario with every attempt that was asked for on the way."""
    attempts = {
        client: tuple(a.request for a in run.attempts if a.client == client)
        for client in run.clients()
    }
    capacities = {name: r.capacity for name, r in run.instep.state.resources.items()}
    return evolve(run.scenario, capacities=capacities, attempts=attempts)


def _finals(run: Run) -> Iterator[Final]:
    for resource, reading in run.final_readings().items():
        yield Final(resource, reading.rows, reading.booked)


def _seen(attempt: Attempt, run: Run) -> visibility.Attempt:
    return visibility.Attempt(
        attempt.name,
        attempt.emitted_at,
        attempt.answer,
        attempt.in_doubt,
        tuple(run.sight.lost_at.get(attempt.name, ())),
        run.left_behind.get(attempt.name),
        attempt.repeats,
    )


def timeline(recorded: Recorded) -> Iterator[str]:
    """What happened, in words that need no knowledge of the tool."""
    for group, steps in itertools.groupby(recorded.run.steps, lambda s: s.decision.client):
        for step in steps:
            move = step.decision.move
            if move == "start":
                did = f"{group} begins an attempt"
            elif move == "finish":
                did = f"{group}: others see it now: {step.fingerprint}"
            elif step.decision.is_fault:
                did = f"fault {move} meets {group}: {step.fingerprint}"
            else:
                did = f"{group}: {step.fingerprint}"
            yield f"{step.number:3}. {did}"
            for observed in step.observed:
                yield f"       → {observed}"
            if step.observed:
                yield f"         (instant {step.until})"
