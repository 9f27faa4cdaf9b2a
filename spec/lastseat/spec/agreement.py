"""Model and judge prove each other: what the one can do is what the other lets pass.

The rules about whole histories (is a conflict justified, did a rejection have a moment, is a winner
named) look back over an attempt's life, which no single transition shows. So every complete run of
a small scope is recorded as an observer would record it, and given to the judge of histories:

* every history of a right life is legal, with all evidence recorded and with the faults only;
* every history that the judge calls legal is one of the abstract life, among all that can be
  written down for the attempts of a scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations, product

from attrs import evolve, frozen

from lastseat.spec.events import (
    CommitSent,
    Emit,
    End,
    Event,
    Evidence,
    Fault,
    Fence,
    Final,
    Header,
    History,
    Invoke,
    Phase,
    Seen,
    What,
)
from lastseat.spec.legality import judge
from lastseat.spec.life import Life
from lastseat.spec.modelcheck import Scope
from lastseat.spec.resource import Resource
from lastseat.spec.rules import Violation
from lastseat.spec.traces import Automaton, Happening
from lastseat.spec.vocabulary import (
    ANSWERS,
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Request,
)
from lastseat.spec.world import FAULTS, INVOCATIONS, Claim, Commit, Moment, Move, Step

Note = Invoke | Emit | Seen | CommitSent | Fence | Fault
"""An event of one attempt. Here ``at`` is 0; the place in the history becomes the time."""

FULL = frozenset({Evidence.SERVER, Evidence.COMMITS})
"""All that can reach an attempt, and every commit that it sends."""

FAULTS_ONLY = frozenset({Evidence.FAULTS})
"""The disturbances only, as a black-box test of a system would record them."""

NOTHING: frozenset[Evidence] = frozenset()
"""Invocations and emissions only."""

_REFUSALS = {BOOKED: "23505", REJECTED: "23514", CONFLICT: "40001"}
"""How the server words it when it refuses a commit: the key, the capacity, a serialization."""


@frozen
class Recorder:
    """Turns the happenings of a run into the notes that an observer would take."""

    claims: tuple[Claim, ...]
    observed: frozenset[Evidence]

    def notes(self, happening: Happening) -> tuple[Note, ...]:
        """What is written down of a happening."""
        if self.observed == FULL:
            return (*self._reached(happening), *self._own(happening))
        seen = tuple(note for note in self._own(happening) if isinstance(note, Invoke | Emit))
        return (*self._faults(happening), *seen) if self.observed == FAULTS_ONLY else seen

    def _own(self, happening: Happening) -> Iterator[Note]:
        """What the attempt does, and what becomes of its server process."""
        name = _name(happening.claim, happening.attempt)
        match happening.move:
            case move if move in INVOCATIONS:
                yield Invoke(0, name, name, self.request(happening.claim))
            case Move.PERSIST:
                yield CommitSent(0, name)
            case Move.FENCE:
                yield Fence(0, name)
            case Move.EMIT if happening.answer is not None:
                # A commit's refusal has reached the attempt only once it acts on it.
                if happening.commit is Commit.NEVER and happening.answer in _REFUSALS:
                    yield Seen(0, name, What.ERROR, _REFUSALS[happening.answer], Phase.COMMIT)
                yield Emit(0, name, happening.answer)

    def _reached(self, happening: Happening) -> Iterator[Note]:
        """What reaches an attempt of what the environment does."""
        name = _name(happening.claim, happening.attempt)
        phase = Phase.STATEMENT if happening.commit is Commit.UNSENT else Phase.COMMIT
        match happening.move:
            case Move.LOSE_REQUEST | Move.LOSE_ANSWER:
                yield Seen(0, name, What.LOST, phase=phase)
            case Move.TIME_OUT:
                yield Seen(0, name, What.DEADLINE, phase=phase)
            case Move.REPORT if happening.commit is Commit.UNSENT:
                yield Seen(0, name, What.ERROR, "40001", phase)
            case Move.CRASH:
                for who in happening.struck:
                    yield Seen(0, _name(*who), What.LOST, phase=Phase.STATEMENT)

    def _faults(self, happening: Happening) -> Iterator[Note]:
        """The disturbances, each for the attempts that it hits."""
        kind = happening.move.name.lower()
        if happening.move in FAULTS:
            yield Fault(kind, 0, client=_name(happening.claim, happening.attempt))
        for who in happening.struck:
            yield Fault(kind, 0, client=_name(*who))

    def request(self, claim: int) -> Request:
        """What the attempts of a claim ask for."""
        made = self.claims[claim]
        return Request(f"b{claim + 1}", f"r{made.resource + 1}", made.units)


def _name(claim: int, attempt: int) -> str:
    return f"b{claim + 1}.{attempt}"


@frozen
class Recording:
    """The notes of a complete run, and how often each claim is booked at its end."""

    notes: tuple[Note, ...]
    rows: tuple[int, ...]


def recordings(
    life: Life, scope: Scope, observed: frozenset[Evidence] = FULL
) -> frozenset[Recording]:
    """Every complete run of ``life`` in ``scope``, as it is recorded."""
    automaton = Automaton(life, scope.world)
    recorder = Recorder(scope.claims, observed)
    notes: list[tuple[Note, ...]] = [()]  # interned: runs that are told alike so far go on as one
    numbers: dict[tuple[int, tuple[Note, ...]], int] = {}
    taken: dict[Happening, tuple[Note, ...]] = {}
    todo = [(0, 0)]
    met = set(todo)
    complete = set()
    while todo:
        node, told = todo.pop()
        steps = automaton.after(node)
        if not steps:
            rows = tuple(claim.rows for claim in automaton.claims(node))
            complete.add(Recording(notes[told], rows))
        for happening, after in steps:
            if happening not in taken:
                taken[happening] = recorder.notes(happening)
            more = told
            if taken[happening]:
                more = numbers.setdefault((told, taken[happening]), len(notes))
                if more == len(notes):
                    notes.append(notes[told] + taken[happening])
            if (after, more) not in met:
                met.add((after, more))
                todo.append((after, more))
    return frozenset(complete)


def history(
    recording: Recording,
    scope: Scope,
    observed: frozenset[Evidence] = FULL,
    promises: frozenset[str] = frozenset(),
) -> History:
    """The recording as a history: one instant for each note, and the final bookings."""
    resources = {f"r{n}": Resource(capacity) for n, capacity in enumerate(scope.capacities, 1)}
    events: list[Event] = [_timed(note, at) for at, note in enumerate(recording.notes)]
    for number in range(len(scope.capacities)):
        rows = tuple(
            (f"b{index}", claim.units)
            for index, (claim, times) in enumerate(
                zip(scope.claims, recording.rows, strict=True), start=1
            )
            if claim.resource == number
            for _ in range(times)
        )
        events.append(Final(f"r{number + 1}", rows))
    events.append(End(len(events)))
    return History(Header(resources, observed, promises), tuple(events))


def _timed(note: Note, at: int) -> Event:
    return evolve(note, at=at, start=at) if isinstance(note, Fault) else evolve(note, at=at)


@frozen
class Agreement:
    """What the judge said of every run of a life."""

    life: str
    scope: Scope
    histories: int
    convicted: int
    first: tuple[Recording, tuple[Violation, ...]] | None
    """The shortest history that was called illegal, and why."""

    @property
    def ok(self) -> bool:
        """Every history is legal."""
        return self.first is None

    def text(self) -> str:
        """For a terminal."""
        lines = [f"{self.life}: {self.scope}", f"  {self.histories:,} histories judged"]
        if self.first is None:
            return "\n".join([*lines[:1], lines[1] + ", all legal"])
        lines.append(f"  {self.convicted:,} ILLEGAL, for instance")
        lines += [f"    {note}" for note in self.first[0].notes]
        return "\n".join([*lines, *(f"    {violation}" for violation in self.first[1])])


def agree(life: Life, scope: Scope, observed: frozenset[Evidence] = FULL) -> Agreement:
    """Give every history of ``life`` in ``scope`` to the judge."""
    runs = sorted(recordings(life, scope, observed), key=lambda run: (len(run.notes), str(run)))
    convicted = 0
    first = None
    for run in runs:
        judgement = judge(history(run, scope, observed, life.promises))
        if not judgement.legal:
            convicted += 1
            first = first or (run, judgement.violations)
    return Agreement(life.name, scope, len(runs), convicted, first)


def conceivable(scope: Scope) -> Iterator[Recording]:
    """Everything that can be written down for the first attempts of a scope, true or not.

    Every order of invocations and emissions, every answer to each, every set of final bookings.
    """
    recorder = Recorder(scope.claims, FULL)
    attempts = [
        (claim, number)
        for claim, made in enumerate(scope.claims)
        for number in range(1, made.callers + 1)
    ]
    finals = list(product((0, 1), repeat=len(scope.claims)))
    for order in _orders(attempts):
        for answers in product(ANSWERS, repeat=len(attempts)):
            answer = dict(zip(attempts, answers, strict=True))
            notes = tuple(
                Emit(0, _name(*who), answer[who])
                if ends
                else Invoke(0, _name(*who), _name(*who), recorder.request(who[0]))
                for who, ends in order
            )
            for rows in finals:
                yield Recording(notes, rows)


def _orders(
    attempts: list[tuple[int, int]],
) -> Iterator[tuple[tuple[tuple[int, int], bool], ...]]:
    """Every order of beginnings and ends in which each ends after it has begun.

    Attempts of one claim begin in the order of their numbers.
    """
    marks = [(who, ends) for who in attempts for ends in (False, True)]
    before = [((who, False), (who, True)) for who in attempts]
    before += [
        ((one, False), (other, False)) for one, other in combinations(attempts, 2)
        if one[0] == other[0]
    ]  # fmt: skip
    for order in permutations(marks):
        place = {mark: index for index, mark in enumerate(order)}
        if all(place[one] < place[other] for one, other in before):
            yield order


def with_evidence(run: Recording) -> Recording:
    """A loss for each infrastructure failure, right before it is emitted."""
    notes: list[Note] = []
    for note in run.notes:
        if isinstance(note, Emit) and note.answer in (INFRASTRUCTURE, IN_DOUBT):
            notes.append(Seen(0, note.attempt, What.LOST))
        notes.append(note)
    return Recording(tuple(notes), run.rows)


@frozen
class Completeness:
    """How the abstract life compares with everything that can be written down."""

    scope: Scope
    conceivable: int
    legal: int
    only_judge: tuple[Recording, ...]
    """Legal, but no behaviour of the model."""
    only_model: tuple[Recording, ...]
    """Behaviour of the model, but illegal."""

    @property
    def ok(self) -> bool:
        """The judge calls legal exactly what the model can do."""
        return not self.only_judge and not self.only_model

    def text(self) -> str:
        """For a terminal."""
        counts = f"{self.conceivable:,} conceivable histories, {self.legal:,} legal"
        if self.ok:
            return f"{self.scope}\n  {counts}: exactly those of the model"
        only = f"{len(self.only_judge):,} only legal, {len(self.only_model):,} only in the model"
        return f"{self.scope}\n  {counts}; DISAGREE: {only}"


class Unreported(Life):
    """The abstract life under a server that never reports a conflict by itself."""

    def suffer(self, at: Moment) -> Iterator[Step]:
        """Every fault but the report."""
        return (step for step in super().suffer(at) if step.move is not Move.REPORT)


def complete(scope: Scope) -> Completeness:
    """Judge everything conceivable, and compare with what the abstract life can do.

    Conflicts that the server reported are left to :func:`agree`: here nobody reports anything but
    losses. The scope should have a fault for each attempt, or the model is blamed for its budget.
    """
    possible = recordings(Unreported(), scope, NOTHING)
    legal = set()
    number = 0
    for run in conceivable(scope):
        number += 1
        if judge(history(with_evidence(run), scope, frozenset({Evidence.SERVER}))).legal:
            legal.add(run)
    key = str
    return Completeness(
        scope,
        number,
        len(legal),
        tuple(sorted(legal - possible, key=key)),
        tuple(sorted(possible - legal, key=key)),
    )
