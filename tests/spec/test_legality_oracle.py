"""The judge against full enumeration, on random small histories.

The oracle knows nothing of the judge's reasoning. It looks for an order of all effects in which the
sequential step gives every answer, each within the time of its attempt. The histories are runs of
that same step at random moments, some of them falsified afterwards. In half of them many events
share an instant, and the order in which a file names them is drawn.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from attrs import evolve, frozen

from lastseat.spec import effects, failures, sweep
from lastseat.spec.events import (
    Audit,
    CommitSent,
    Emit,
    Event,
    Evidence,
    Fence,
    Final,
    Header,
    History,
    Invoke,
    assemble,
)
from lastseat.spec.record import fold
from lastseat.spec.resource import (
    InconsistentRequest,
    MalformedRequest,
    Resource,
    State,
    UnknownResource,
    step,
)
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Request,
)

ROUNDS = int(os.environ.get("LASTSEAT_ORACLE_ROUNDS", "3000"))
BATCHES = 4
FOREVER = 10**6


@frozen
class Run:
    """One attempt as it was generated; instants are even, audits have the odd ones, until they
    are ``squeezed``."""

    request: Request
    invoked: int
    ended: int
    answer: Answer | None
    commit: int | None = None
    fence: int | None = None


@frozen
class Snapshot:
    """One resource, as an audit saw it."""

    at: int
    resource_id: str
    rows: frozenset[tuple[str, str, int]]


@frozen
class Case:
    start: State
    runs: tuple[Run, ...]
    commits: bool
    audits: tuple[Snapshot, ...]
    final: frozenset[tuple[str, str, int]] | None


def rows(state: State) -> frozenset[tuple[str, str, int]]:
    return frozenset(
        (name, booking_id, units)
        for name, resource in state.resources.items()
        for booking_id, units in resource.bookings.items()
    )


# --- the oracle ---------------------------------------------------------------------------------


def explicable(case: Case) -> bool:
    """Whether some order of effects explains every answer, every audit and the final rows."""
    points = [(run, *window(case, run)) for run in case.runs if has_moment(run)]
    points += [(audit, audit.at, audit.at) for audit in case.audits]
    return search(case, tuple(points), case.start, -FOREVER, set())


def has_moment(run: Run) -> bool:
    return run.answer in (None, BOOKED, REJECTED, IN_DOUBT)


def window(case: Case, run: Run) -> tuple[int, int]:
    if run.answer in (BOOKED, REJECTED):
        return run.invoked, run.ended
    return run.invoked, FOREVER if run.fence is None else run.fence


def search(case: Case, points: tuple, state: State, now: int, known: set) -> bool:
    """Tries every next point; an effect in doubt may also stay out for ever."""
    key = (points, state, now)
    if key in known:
        return False
    known.add(key)
    settled = case.final is None or rows(state) == case.final
    if settled and all(may_stay_out(item) for item, _, _ in points):
        return True
    for index, (item, first, last) in enumerate(points):
        at = max(now, first)
        if at > last:
            if may_stay_out(item):
                continue
            return False
        for after, moment in outcomes(case, item, state, at, last):
            rest = points[:index] + points[index + 1 :]
            if search(case, rest, after, moment, known):
                return True
    return False


def may_stay_out(item: Run | Snapshot) -> bool:
    return isinstance(item, Run) and item.answer not in (BOOKED, REJECTED)


def outcomes(case: Case, item: Run | Snapshot, state: State, at: int, last: int):
    if isinstance(item, Snapshot):
        if {row for row in rows(state) if row[0] == item.resource_id} == item.rows:
            yield state, at
        return
    try:
        after, answer = step(state, item.request)
    except (InconsistentRequest, MalformedRequest, UnknownResource):
        return
    if after != state:
        if item.fence is not None:
            last = min(last, item.fence)
        if case.commits:
            if item.commit is None:
                return
            at = max(at, item.commit)
        if at > last:
            return
    if answer == (item.answer if item.answer in (BOOKED, REJECTED) else BOOKED):
        yield after, at


# --- the generator ------------------------------------------------------------------------------


def generate(rng: random.Random) -> Case:
    """One case of one of three kinds, each rich in what the others seldom hold."""
    case = rng.choice((mixture, mixture, doubts_of_many_sizes, ids_asked_in_many_ways))(rng)
    if rng.random() < 0.2:
        case = fenced_early(rng, case)
    if rng.random() < 0.05:
        case = asking_for_nothing(rng, case)
    return squeezed(case, rng.choice((2, 3, 4, 6))) if rng.random() < 0.5 else case


def fenced_early(rng: random.Random, case: Case) -> Case:
    """The proof that a server process is gone may come before the answer, or the commit."""
    index = rng.randrange(len(case.runs))
    run = case.runs[index]
    fenced = evolve(run, fence=run.invoked + 2 * rng.randint(0, 3))
    return evolve(case, runs=(*case.runs[:index], fenced, *case.runs[index + 1 :]))


def asking_for_nothing(rng: random.Random, case: Case) -> Case:
    """One attempt asks for no units, or for less; now and then a booking of that is read."""
    index = rng.randrange(len(case.runs))
    run = case.runs[index]
    request = evolve(run.request, requested_units=rng.choice((0, -1)))
    runs = (*case.runs[:index], evolve(run, request=request), *case.runs[index + 1 :])
    if case.final is not None and rng.random() < 0.5:
        row = (request.resource_id, request.booking_id, request.requested_units)
        return evolve(case, runs=runs, final=case.final | {row})
    return evolve(case, runs=runs)


def squeezed(case: Case, by: int) -> Case:
    """The same with a coarser clock, so that what was one after the other shares an instant."""
    runs = (
        evolve(
            run,
            invoked=run.invoked // by,
            ended=run.ended // by,
            commit=None if run.commit is None else run.commit // by,
            fence=None if run.fence is None else run.fence // by,
        )
        for run in case.runs
    )
    audits = (evolve(audit, at=audit.at // by) for audit in case.audits)
    return evolve(case, runs=tuple(runs), audits=tuple(audits))


def mixture(rng: random.Random) -> Case:
    start = beginning(rng)
    # Few ids ask in different ways: those that do are what is hardest to judge.
    requests = [
        Request(f"b{i}", rng.choice("rrs"), rng.choice((1, 1, 2))) for i in range(rng.randint(1, 4))
    ]
    if rng.random() < 0.4:
        other = rng.choice(requests)
        requests.append(Request(other.booking_id, rng.choice("rs"), rng.choice((1, 2))))
    if rng.random() < 0.15 and (prior := rows(start)):
        name, booking_id, units = rng.choice(sorted(prior))
        requests.append(Request(booking_id, name, rng.choice((units, units + 1))))
    asked = [rng.choice(requests) for _ in range(rng.randint(1, 6))]
    case = simulate(rng, start, asked)
    if rng.random() < 0.6:
        case = falsify(rng, case)
    if rng.random() < 0.35:
        case = evolve(case, final=None)
    return case


def doubts_of_many_sizes(rng: random.Random) -> Case:
    """Rejections whose truth depends on which of the bookings in doubt were made."""
    start = State({"r": Resource(rng.randint(2, 7))})
    runs = []
    for number in range(rng.randint(3, 6)):
        request = Request(f"b{number}", "r", rng.randint(1, 4))
        invoked = 2 * rng.randint(0, 6)
        answer = rng.choice((IN_DOUBT, IN_DOUBT, None, REJECTED, REJECTED, BOOKED))
        runs.append(Run(request, invoked, invoked + 2 * rng.randint(0, 3), answer))
    return Case(start, tuple(sorted(runs, key=lambda run: run.invoked)), False, (), None)


def ids_asked_in_many_ways(rng: random.Random) -> Case:
    """An id that was rejected for one request and booked for another binds in between."""
    start = State({"r": Resource(rng.randint(1, 3)), "s": Resource(rng.randint(1, 3))})
    asked = [
        Request(rng.choice(("b0", "b1", "b2")), rng.choice("rs"), rng.randint(1, 3))
        for _ in range(rng.randint(3, 6))
    ]
    case = simulate(rng, start, asked)
    if rng.random() < 0.4:
        return case
    if rng.random() < 0.4:
        return falsify(rng, case)
    runs, held = [], {}
    for request in asked:
        invoked = 2 * rng.randint(0, 4)
        answer = rng.choice((BOOKED, REJECTED, REJECTED, IN_DOUBT))
        if answer is not REJECTED and rng.random() < 0.8:
            held.setdefault(request.booking_id, request)
        runs.append(Run(request, invoked, invoked + 2 * rng.randint(0, 4), answer))
    read = frozenset((q.resource_id, q.booking_id, q.requested_units) for q in held.values())
    final = read if rng.random() < 0.7 else None
    return Case(start, tuple(sorted(runs, key=lambda run: run.invoked)), False, (), final)


def beginning(rng: random.Random) -> State:
    state = State({name: Resource(rng.randint(0, 4)) for name in "rs"})
    if rng.random() < 0.25:
        state, _ = step(state, Request("old", "r", 1))
    return state


def simulate(rng: random.Random, start: State, asked: list[Request]) -> Case:
    """A legal run: the step at a random moment of every attempt, some failing, some in doubt."""
    spans = []
    for request in asked:
        invoked = 2 * rng.randint(0, 8)
        moment = invoked + 2 * rng.randint(0, 4)
        spans.append((moment, rng.random(), invoked, request))
    commits = rng.random() < 0.4
    audits_at = {2 * rng.randint(0, 10) + 1 for _ in range(rng.choice((0, 0, 0, 1, 2, 4)))}
    state, runs, audits = start, [], []
    agenda = sorted([*spans, *((at, 0.0, None, None) for at in audits_at)], key=lambda e: e[:2])
    for moment, _, invoked, request in agenda:
        if request is None or invoked is None:
            found = rows(state)
            for name in start.resources:
                read = frozenset(row for row in found if row[0] == name)
                audits.append(Snapshot(moment, name, read))
            continue
        state, run = simulate_one(rng, state, request, invoked, moment)
        runs.append(run)
    runs.sort(key=lambda run: run.invoked)
    return Case(start, tuple(runs), commits, tuple(audits), rows(state))


def simulate_one(
    rng: random.Random, state: State, request: Request, invoked: int, moment: int
) -> tuple[State, Run]:
    ended = moment + 2 * rng.randint(0, 3)
    fate = rng.random()
    if fate < 0.2:
        return state, Run(request, invoked, ended, rng.choice((CONFLICT, INFRASTRUCTURE)))
    try:
        after, answer = step(state, request)
    except InconsistentRequest:
        return state, Run(request, invoked, ended, CONFLICT)
    commit = moment if rng.random() < 0.7 else rng.randrange(invoked, moment + 1, 2)
    if answer == REJECTED and rng.random() < 0.8:
        return state, Run(request, invoked, ended, REJECTED)
    if fate < 0.6:
        # In doubt: landed, perhaps after the emission, or lost.
        ended = rng.randrange(invoked, ended + 1, 2)
        doubt = rng.choice((IN_DOUBT, IN_DOUBT, None))
        landed = answer == BOOKED and rng.random() < 0.6
        fence = moment + 2 * rng.randint(0, 2) if rng.random() < 0.3 else None
        return (after if landed else state), Run(request, invoked, ended, doubt, commit, fence)
    return after, Run(request, invoked, ended, answer, commit if answer == BOOKED else None)


def falsify(rng: random.Random, case: Case) -> Case:
    """One small lie: an answer, a time, a row that came or went."""
    index = rng.randrange(len(case.runs))
    run = case.runs[index]
    kind = rng.randrange(6)
    if kind == 5 and case.audits:
        place = rng.randrange(len(case.audits))
        audit = case.audits[place]
        victim = rng.choice(sorted({*audit.rows, (audit.resource_id, "b0", 1)}))
        lying = evolve(audit, rows=audit.rows ^ {victim})
        return evolve(case, audits=(*case.audits[:place], lying, *case.audits[place + 1 :]))
    if kind == 0 and case.final is not None:
        victim = rng.choice(sorted({*case.final, (run.request.resource_id, "b0", 1)}))
        return evolve(case, final=case.final ^ {victim})
    if kind == 1 and run.answer is not None:
        run = evolve(run, ended=run.invoked + 2 * rng.randint(0, 3))
    elif kind == 2 and run.commit is not None:
        run = evolve(run, commit=None)
    else:
        answer = rng.choice((BOOKED, REJECTED, REJECTED, CONFLICT, IN_DOUBT, None))
        run = evolve(run, answer=answer)
    return evolve(case, runs=(*case.runs[:index], run, *case.runs[index + 1 :]))


def history_of(case: Case, rng: random.Random | None = None) -> History:
    """The case as recorded events; commits only of those that may have applied something.

    Within an instant ``rng`` draws their order, except that an attempt is invoked before all else.
    """
    observed = frozenset({Evidence.COMMITS} if case.commits else set())
    events: list[tuple[int, float, Event]] = []

    def note(at: int, place: int, event: Event) -> None:
        drawn = place if rng is None else rng.uniform(-1, 3) if place < 0 else rng.uniform(0, 3)
        events.append((at, drawn, event))

    for number, run in enumerate(case.runs):
        name = f"a{number}"
        events.append((run.invoked, -0.5, Invoke(run.invoked, name, name, run.request)))
        if run.commit is not None:
            note(run.commit, 1, CommitSent(run.commit, name))
        if run.answer is not None:
            note(run.ended, 2, Emit(run.ended, name, run.answer))
        if run.fence is not None:
            at = max(run.fence, run.invoked)
            note(at, 3, Fence(at, name))
    for audit in case.audits:
        read = tuple((b, n) for _, b, n in sorted(audit.rows))
        note(audit.at, -1, Audit(audit.at, audit.resource_id, read))
    events.sort(key=lambda entry: entry[:2])
    finals = []
    if case.final is not None:
        for name in case.start.resources:
            read = tuple((b, n) for r, b, n in sorted(case.final) if r == name)
            finals.append(Final(name, read))
    header = Header(case.start.resources, observed)
    return assemble([header, *(event for _, _, event in events), *finals])


# --- the comparison -----------------------------------------------------------------------------


def verdicts(case: Case, rng: random.Random | None = None) -> list[str]:
    record = fold(history_of(case, rng))
    rules = (
        effects.booked,
        effects.unwarranted,
        effects.one_id,
        failures.programming_error,
    )
    found = [*effects.capacity(record, effects.Holdings(record))]
    found += effects.rejected(record, sweep.shortfalls(record))
    return [str(violation) for violation in [*found, *(v for rule in rules for v in rule(record))]]


def asked_in_different_ways(case: Case) -> bool:
    requests = {run.request for run in case.runs}
    requests |= {Request(b, r, n) for r, b, n in rows(case.start)}
    return max(Counter(request.booking_id for request in requests).values()) > 1


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_judge_agrees_with_full_enumeration(batch: int) -> None:
    rng = random.Random(f"oracle {batch}")
    witnessed: Counter[str] = Counter()
    for _ in range(ROUNDS // BATCHES):
        case = generate(rng)
        legal, convicted = explicable(case), verdicts(case, rng)
        mixed, unread = asked_in_different_ways(case), case.final is None
        if legal:
            assert not convicted, (case, convicted)
        elif not (mixed and unread):
            # Which request of an id was the one booked, and which of the rest were not, is decided
            # by the final bookings alone; without them the judge may be too kind there.
            assert convicted, case
        witnessed[f"{'legal' if legal else 'illegal'}{', mixed' * mixed}{', unread' * unread}"] += 1
    assert len(witnessed) == 8, witnessed
