"""What a run leaves on disk: its history, and the schedule that runs it again.

Both are written before anything is judged, so that a judge that fails loses nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from attrs import asdict, evolve, frozen

from lastseat.harness.attempts import Attempt
from lastseat.harness.judge.verdict import Judged, judge
from lastseat.harness.mistakes import Mistake
from lastseat.harness.run import Run
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import Decision, Step
from lastseat.harness.stage import DEADLINE_MS, GRACE_MS, STEWARD
from lastseat.spec import history, visibility
from lastseat.spec.events import End, Event, Evidence, Final, Header, History
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import Request

SCHEDULE_FORMAT = "lastseat-schedule/1"


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
    """Save history and schedule; the path of the schedule."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [recorded.history.header, *recorded.history.events]
    text = "".join(history.encode(line) + "\n" for line in lines)
    _put(folder / f"{name}.history.jsonl", text.encode())
    path = folder / f"{name}.schedule.json"
    _put(path, msgspec.json.format(msgspec.json.encode(to_json(recorded.schedule))))
    return path


def _put(path: Path, data: bytes) -> None:
    """Write over what is there. A file that is emptied first is, on closing it, flushed to the disk
    by some file systems, which takes longer than the run did."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(data)
        file.truncate()


def history_of(schedule: Path) -> Path:
    """The file of the history that was saved with a schedule."""
    return schedule.with_name(schedule.name.removesuffix(".schedule.json") + ".history.jsonl")


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
    """Read what ``to_json`` made; raises MalformedSchedule."""
    try:
        found = msgspec.json.decode(data)
        if found["format"] != SCHEDULE_FORMAT:
            raise MalformedSchedule(f"format {found['format']!r} is not {SCHEDULE_FORMAT}")
        return Schedule(
            _scenario(found["scenario"]),
            found["implementation"],
            tuple(_step(decision) for decision in found["decisions"]),
            found.get("seed"),
            found.get("verdict", ""),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise MalformedSchedule(f"no schedule: {error!r}") from error


def _scenario(found: Mapping[str, Any]) -> Scenario:
    attempts = {
        client: tuple(Request(**request) for request in asked)
        for client, asked in found["attempts"].items()
    }
    prior = tuple(Request(**request) for request in found["prior"])
    return Scenario(
        found["name"],
        found["why"],
        found["capacities"],
        attempts,
        prior,
        deadlines=found.get("deadlines", {}),
    )


def _step(found: Mapping[str, Any]) -> Step:
    return Step(
        found["step"],
        Decision.parse(found["chosen"]),
        tuple(map(Decision.parse, found["enabled"])),
        found["fingerprint"],
        tuple(found["observed"]),
        shape=found.get("shape", ""),
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
