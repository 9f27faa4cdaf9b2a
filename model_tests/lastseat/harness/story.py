"""A run as it is told to a reader: who did what when, side by side, and what was in the database.

Made from what is recorded: the steps of a schedule, and a history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from attrs import Factory, define, frozen

from lastseat.harness.faults import FAULTS
from lastseat.harness.judge.verdict import Finding
from lastseat.harness.record import Schedule
from lastseat.harness.schedule.decision import START, Step
from lastseat.spec.events import Audit, History
from lastseat.spec.resource import Resource


@frozen
class Said:
    """Something that a client met: an answer, a lock, an outcome."""

    words: str
    kind: str
    """``answer``, ``wait``, ``outcome`` or ``trouble``."""


@define
class Cell:
    """What one client did, and what came to it, in one step."""

    statement: str = ""
    fault: str = ""
    fault_words: str = ""
    begins: str = ""
    """What an attempt asks for that begins here."""
    said: list[Said] = Factory(list)
    running: bool = False
    """Is the client in the middle of an attempt?"""
    waiting: bool = False
    """Does it wait for a lock all the while?"""
    crossed: bool = False


@frozen
class Level:
    """What is booked of a resource."""

    resource: str
    capacity: int
    bookings: tuple[tuple[str, int], ...]
    counter: int | None = None

    @property
    def booked(self) -> int:
        return sum(units for _, units in self.bookings)

    @property
    def too_much(self) -> bool:
        return self.booked > self.capacity


@define
class Row:
    """One step: a cell for each client, and the resources where they have changed."""

    number: int
    until: int
    """The logical instant at which it was over."""
    cells: dict[str, Cell]
    levels: tuple[Level, ...] = ()


@frozen
class Crossing:
    """Two statements of one attempt between which another one's took effect."""

    victim: str
    before: Step
    after: Step
    winner: str
    between: Step


@frozen
class Story:
    """All that a page about a violation tells."""

    findings: tuple[Finding, ...]
    scenario: str
    why: str
    implementation: str
    clients: tuple[str, ...]
    start: tuple[Level, ...]
    rows: tuple[Row, ...]
    crossing: Crossing | None


def tell(schedule: Schedule, history: History, findings: Sequence[Finding]) -> Story:
    """Lay a recorded run out."""
    clients = tuple(name for name, asked in schedule.scenario.attempts.items() if asked)
    crossing = _crossing(schedule.steps, findings)
    rows = _rows(schedule, clients)
    _note_levels(rows, schedule.steps, history)
    _note_crossing(rows, crossing)
    return Story(
        tuple(findings),
        schedule.scenario.name,
        schedule.scenario.why,
        schedule.implementation,
        clients,
        tuple(_level(name, each, ()) for name, each in history.header.resources.items()),
        tuple(rows),
        crossing,
    )


def _rows(schedule: Schedule, clients: Sequence[str]) -> list[Row]:
    asked = {name: list(requests) for name, requests in schedule.scenario.attempts.items()}
    running: set[str] = set()
    waiting: set[str] = set()
    rows = []
    for step in schedule.steps:
        actor = step.decision.client
        cells = {name: Cell() for name in clients}
        cell = cells.setdefault(actor, Cell())
        if step.decision.move == START:
            running.add(actor)
            request = asked[actor].pop(0) if asked.get(actor) else None
            cell.begins = str(request) if request is not None else "an attempt"
        elif step.decision.is_fault:
            cell.fault, cell.statement = step.decision.move, step.fingerprint
            if cell.fault in FAULTS:
                cell.fault_words = FAULTS[cell.fault].words
        else:
            cell.statement = step.fingerprint
        for name in clients:
            cells[name].running = name in running
            cells[name].waiting = name in waiting
        for who, said in _said(step, clients):
            cells[who].said.append(said)
            waiting.discard(who)
            if said.kind == "wait":
                waiting.add(who)
            if said.kind == "outcome":
                running.discard(who)
        rows.append(Row(step.number, step.until, cells))
    return rows


def _said(step: Step, clients: Sequence[str]) -> Iterator[tuple[str, Said]]:
    """What was observed, for the client that it speaks of: the first that it names."""
    for words in step.observed:
        named = [word.removesuffix("'s").rstrip(":,") for word in words.split()]
        who = next((name for name in named if name in clients), None)
        if who is not None:
            yield who, _in_short(words, who)


def _in_short(words: str, who: str) -> Said:
    for opening, kind, short in (
        (f"the server answers {who}: ", "answer", ""),
        (f"{who} is answered ", "outcome", ""),
        (f"{who} gets an exception: ", "outcome", "an exception: "),
        (f"{who} waits for a lock", "wait", "waits for a lock"),
        (f"{who} hangs", "outcome", "hangs"),
    ):
        if words.startswith(opening):
            return Said(short + words.removeprefix(opening), kind)
    return Said(words, "trouble")


def _note_levels(rows: Sequence[Row], steps: Sequence[Step], history: History) -> None:
    audits = [event for event in history.events if isinstance(event, Audit)]
    resources = history.header.resources
    since = -1
    for row, step in zip(rows, steps, strict=True):
        seen = {a.resource_id: a for a in audits if since < a.at <= step.until}
        row.levels = tuple(
            _level(name, resources[name], a.bookings, a.booked) for name, a in seen.items()
        )
        since = max(since, step.until)


def _level(
    name: str, resource: Resource, rows: Sequence[tuple[str, int]], counter: int | None = None
) -> Level:
    return Level(name, resource.capacity, tuple(rows), counter)


def _note_crossing(rows: Sequence[Row], crossing: Crossing | None) -> None:
    if crossing is None:
        return
    for who, step in (
        (crossing.victim, crossing.before),
        (crossing.winner, crossing.between),
        (crossing.victim, crossing.after),
    ):
        rows[step.number - 1].cells[who].crossed = True


def _crossing(steps: Sequence[Step], findings: Sequence[Finding]) -> Crossing | None:
    """Of two attempts that a finding names: a statement of the one, then the decisive one of the
    other, then the next of the one. What the one had seen was no longer so."""
    turns = _turns(steps)
    for finding in findings:
        for victim in finding.attempts:
            for winner in finding.attempts:
                found = _between(turns.get(victim, []), turns.get(winner, []))
                if victim != winner and found is not None:
                    before, between, after = found
                    return Crossing(_client(victim), before, after, _client(winner), between)
    return None


def _between(one: Sequence[Step], other: Sequence[Step]) -> tuple[Step, Step, Step] | None:
    """The last turn of ``other``, if it comes between two of ``one``, and these."""
    if not other:
        return None
    decisive = other[-1]
    before = [step for step in one if step.number < decisive.number and not _opens(step)]
    after = [step for step in one if step.number > decisive.number]
    return (before[-1], decisive, after[0]) if before and after else None


def _opens(step: Step) -> bool:
    return step.fingerprint.upper().startswith(("BEGIN", "START TRANSACTION"))


def _turns(steps: Sequence[Step]) -> Mapping[str, list[Step]]:
    """The turns of each attempt, under the name that the judges give it."""
    count: Counter[str] = Counter()
    turns: dict[str, list[Step]] = {}
    for step in steps:
        client = step.decision.client
        if step.decision.move == START:
            count[client] += 1
        elif step.fingerprint:
            turns.setdefault(f"{client}-{count[client]}", []).append(step)
    return turns


def _client(attempt: str) -> str:
    return attempt.rpartition("-")[0]
