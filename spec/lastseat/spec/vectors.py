"""Test vectors for implementations in any language: the model's cases as JSON.

There are three kinds. *Sequential* vectors are requests one after the other, each with the one
answer that is right. *Scripts* are attempts that meet each other and the faults of the environment,
with an explicit schedule and the set of results that are legal. *Histories* are recordings, legal
or not, for those who write a judge of their own. What must be refused is always among them.

``write`` writes them all, with their JSON Schema. How to consume them: ``docs/vectors.md``.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lastseat.spec import history, scripts
from lastseat.spec.cases import cases
from lastseat.spec.legality import judge
from lastseat.spec.resource import ProgrammingError, State, step
from lastseat.spec.rules import Rule
from lastseat.spec.statements import STATEMENTS, Statement
from lastseat.spec.stories import SEQUENCES, STORIES
from lastseat.spec.traces import Happening
from lastseat.spec.vocabulary import (
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Request,
)
from lastseat.spec.world import FAULTS, Move

FORMAT = "lastseat-vectors/1"

SCHEMA = Path(__file__).parent / "schemas" / "vectors-1.json"
"""JSON Schema of a file of vectors."""

Json = dict[str, Any]


def write(folder: Path) -> int:
    """Write every vector and the schemas to ``folder``, which is made if need be; how many.

    Raises:
        OSError: it cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {"sequential": sequential(), "scripts": scripted(), "histories": recorded()}
    number = 0
    for kind, vectors in kinds.items():
        found = list(vectors)
        number += len(found)
        text = json.dumps({"format": FORMAT, "vectors": found}, indent=1) + "\n"
        (folder / f"{kind}.json").write_text(text)
    shutil.copyfile(SCHEMA, folder / "vectors-1.schema.json")
    shutil.copyfile(history.SCHEMA, folder / "history-1.schema.json")
    return number


def _vector(kind: str, name: str, rule: Rule, fields: Json) -> Json:
    """What all vectors have in common: an id that stays, their rule, and where it comes from."""
    head = {"id": f"{kind}/{name}", "kind": kind, "rule": rule.value, "promise": rule.sentence}
    source = [{"section": s.section, "words": s.words} for s in _source(head["id"], rule)]
    return {**head, "source": source, **fields}


def _source(name: str, rule: Rule) -> list[Statement]:
    """The statements that name a vector or that its rule makes precise."""
    return [each for each in STATEMENTS if rule in each.rules or name in each.vectors]


def _slug(words: str) -> str:
    return re.sub("[^a-z0-9]+", "-", words.lower()).strip("-")


def sequential() -> Iterator[Json]:
    """Requests one after the other, with the one answer that each of them may get."""
    for sequence in SEQUENCES:
        state, steps = sequence.start, []
        for request in sequence.requests:
            told: Json = {"raises": True}
            try:
                state, answer = step(state, request)
                told = {"answer": _answer(answer)}
            except ProgrammingError as error:
                told["because"] = str(error)
            steps.append({"request": _request(request), **told, "then": _bookings(state)})
        fields = {"resources": _resources(sequence.start), "steps": steps}
        yield _vector("sequential", sequence.id, sequence.rule, fields)


def scripted() -> Iterator[Json]:
    """Attempts that meet: the stories, and for each kind of transition a run that has it."""
    for story in STORIES:
        yield _script(story.id, story.rule, scripts.follow(story.scope, story.told))
    for words, run in scripts.by_transition().items():
        yield _script(_slug(words), _rule(run), run)


def _rule(run: scripts.Run) -> Rule:
    """The rule that a run is most about."""
    moves = {happening.move for happening in run.happenings}
    answers = set(run.result.answers)
    if Move.REPEAT in moves and IN_DOUBT in answers:
        return Rule.REVELATION
    for answer, rule in (
        (IN_DOUBT, Rule.IN_DOUBT),
        (INFRASTRUCTURE, Rule.INFRASTRUCTURE),
        (CONFLICT, Rule.CONFLICT),
        (REJECTED, Rule.REJECTED),
    ):
        if answer in answers:
            return rule
    return Rule.BOOKED


def _script(name: str, rule: Rule, run: scripts.Run) -> Json:
    scope = scripts.SCOPES[run.scope]
    faulty = any(h.move in FAULTS or h.move is Move.CRASH for h in run.happenings)
    resources = {
        f"r{number}": {"capacity": capacity, "bookings": []}
        for number, capacity in enumerate(scope.capacities, start=1)
    }
    fields = {
        "faults": faulty,
        "resources": resources,
        "schedule": [_scheduled(run, happening) for happening in run.happenings],
        "model": _result(run, run.result),
        "legal": [_result(run, result) for result in scripts.legal(run)],
        "refused": [
            {**_result(run, result), "breaks": sorted(rule.value for rule in rules)}
            for result, rules in scripts.refused(run)
        ],
    }
    return _vector("script", name, rule, fields)


_ABSTRACT = {
    Move.LAND: "arbitrate",
    Move.REFUSE: "arbitrate",
    Move.REPEAT: "invoke",
}
"""Whether the database accepts a commit or refuses it is part of the result, not of the script."""


def _scheduled(run: scripts.Run, happening: Happening) -> Json:
    name = happening.move.name.lower().replace("_", "-")
    told: Json = {"step": _ABSTRACT.get(happening.move, name)}
    if happening.move is Move.CRASH:
        return told
    told["attempt"] = scripts.name(happening.claim, happening.attempt)
    if told["step"] == "invoke":
        told["request"] = _request(scripts.request(run.scope, happening.claim))
    return told


def _result(run: scripts.Run, result: scripts.Result) -> Json:
    rows: dict[str, list[list[Any]]] = {
        f"r{number}": [] for number, _ in enumerate(scripts.SCOPES[run.scope].capacities, start=1)
    }
    for claim, times in enumerate(result.rows):
        asked = scripts.request(run.scope, claim)
        rows[asked.resource_id] += [[asked.booking_id, asked.requested_units]] * times
    emitted = zip(run.emitted, result.answers, strict=True)
    return {"answers": {name: _answer(answer) for name, answer in emitted}, "final": rows}


def recorded() -> Iterator[Json]:
    """Histories that break a rule, and near misses, with what the judge says of them."""
    for case in cases():
        judgement = judge(case.history)
        lines = [json.loads(history.encode(case.history.header))]
        lines += [json.loads(history.encode(event)) for event in case.history.events]
        fields = {
            "title": case.name,
            "lines": lines,
            "legal": judgement.legal,
            "breaks": sorted({violation.rule.value for violation in judgement.violations}),
            "explanations": [str(violation) for violation in judgement.violations],
        }
        yield _vector("history", _slug(f"{case.rule.value} {case.name}"), case.rule, fields)


def _answer(answer: Answer) -> Json:
    if answer.cause is None:
        return {"outcome": answer.outcome.value}
    cause = {"cause": answer.cause.value, "in_doubt": answer.in_doubt}
    return {"outcome": answer.outcome.value, **cause}


def _request(request: Request) -> Json:
    return {
        "booking_id": request.booking_id,
        "resource_id": request.resource_id,
        "requested_units": request.requested_units,
    }


def _bookings(state: State) -> Json:
    return {
        name: [[booking_id, units] for booking_id, units in sorted(resource.bookings.items())]
        for name, resource in state.resources.items()
    }


def _resources(state: State) -> Json:
    rows = _bookings(state)
    return {
        name: {"capacity": resource.capacity, "bookings": rows[name]}
        for name, resource in state.resources.items()
    }
