"""Runs of the model as scripts that anybody can follow, with every result that is legal after them.

A script is a sequence of abstract steps, each of one attempt, or of the server when it crashes. It
fixes what a test bed can control: when attempts begin and end, when a commit is sent, what is lost
and when. What the implementation makes of it is left open. So the legal results of a script are
those that the judge of histories passes, given what an observer sees of it: any order of effects
within the attempts' times will do, and not just the one that the model took in this run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import product

from attrs import frozen

from lastseat.spec.agreement import FULL, Note, Recording, history
from lastseat.spec.events import CommitSent, Emit, Fence, Invoke, Phase, Seen, What
from lastseat.spec.legality import judge
from lastseat.spec.life import ABSTRACT
from lastseat.spec.modelcheck import Scope
from lastseat.spec.rules import Rule
from lastseat.spec.traces import Automaton, Happening
from lastseat.spec.vocabulary import ANSWERS, Answer, Request
from lastseat.spec.world import INVOCATIONS, Claim, Commit, Move

SCOPES = {
    "alone": Scope.of(1, 1, faults=1, repeats=1),
    "full": Scope.of(1, 0, faults=1),
    "two-for-one": Scope.of(2, 1, faults=1, repeats=1),
    "room-for-both": Scope.of(2, 2, faults=1),
    "one-id-twice": Scope((Claim(0, 1, callers=2),), (1,), faults=1),
    "crash": Scope.of(2, 1, crashes=1, repeats=1),
    "two-resources": Scope((Claim(0, 1), Claim(1, 2)), (1, 1)),
}
"""The small worlds that scripts are taken from. They are given as part of each vector."""

Transition = tuple[str, str | None, str | None, str | None]
"""A kind of transition of the abstract life: the move, the stage of the attempt and what had become
of its commit before it, and the answer."""


@frozen
class Result:
    """What an implementation may make of a script: its answers, and how often each id is booked."""

    answers: tuple[Answer, ...]
    """In the order of the emissions."""
    rows: tuple[int, ...]


@frozen
class Run:
    """A complete run of the abstract life in one of the scopes."""

    scope: str
    happenings: tuple[Happening, ...]
    transitions: tuple[Transition, ...]
    rows: tuple[int, ...]
    """How often each claim is booked at its end."""

    @property
    def emitted(self) -> tuple[str, ...]:
        """The attempts in the order in which they emit."""
        return tuple(name(h.claim, h.attempt) for h in self.happenings if h.move is Move.EMIT)

    @property
    def result(self) -> Result:
        """What comes of it in the model."""
        answers = (h.answer for h in self.happenings if h.move is Move.EMIT)
        return Result(tuple(answer for answer in answers if answer is not None), self.rows)


def name(claim: int, attempt: int) -> str:
    """What an attempt is called."""
    return f"b{claim + 1}.{attempt}"


@cache
def automaton(scope: str) -> Automaton:
    """The abstract life in a scope; what was found out about it is kept."""
    return Automaton(ABSTRACT, SCOPES[scope].world)


def transition(life: Automaton, node: int, happening: Happening) -> Transition:
    """Which kind of transition ``happening`` is, at a node of an automaton."""
    answer = None if happening.answer is None else str(happening.answer)
    if happening.claim < 0 or happening.commit is None:  # a crash, or an attempt that only begins
        return happening.move.name, None, None, answer
    cast = life.nodes[node][2][happening.claim]
    attempt = life.claims(node)[happening.claim].live[cast.index(happening.attempt)]
    return happening.move.name, attempt.stage.name, happening.commit.name, answer


def transitions_in(life: Automaton) -> frozenset[Transition]:
    """Every kind of transition that there is in an automaton."""
    return frozenset(_reach(life)[1])


def transitions(scope: str) -> frozenset[Transition]:
    """Every kind of transition that there is in one of the scopes."""
    return frozenset(_reached(scope)[1])


Reached = tuple[dict[int, tuple[int, Happening]], dict[Transition, tuple[int, int]]]
"""How each node is reached first, and where each kind of transition is met first: at which node,
and as which of the steps from there."""


def _reach(life: Automaton) -> Reached:
    back: dict[int, tuple[int, Happening]] = {}
    first: dict[Transition, tuple[int, int]] = {}
    todo, met = deque([0]), {0}
    while todo:
        node = todo.popleft()
        for place, (happening, after) in enumerate(life.after(node)):
            first.setdefault(transition(life, node, happening), (node, place))
            if after not in met:
                met.add(after)
                back[after] = node, happening
                todo.append(after)
    return back, first


@cache
def _reached(scope: str) -> Reached:
    return _reach(automaton(scope))


@cache
def by_transition() -> dict[str, Run]:
    """For each kind of transition of the abstract life a shortest run with it, by its name."""
    found: dict[str, Run] = {}
    for scope in SCOPES:
        for kind in sorted(transitions(scope), key=str):
            words = " ".join(part for part in kind if part is not None)
            found.setdefault(words, shortest(scope, kind))
    return found


def shortest(scope: str, wanted: Transition) -> Run:
    """A shortest run with a transition of that kind, gone on with until everything is over."""
    back, first = _reached(scope)
    node, place = first[wanted]
    path: list[tuple[int, Happening]] = []
    while node:
        node, happening = back[node]
        path.insert(0, (node, happening))
    node = first[wanted][0]
    happening, after = automaton(scope).after(node)[place]
    path.append((node, happening))
    path += _to_the_end(scope, after)
    return _run(scope, path)


def _to_the_end(scope: str, node: int) -> list[tuple[int, Happening]]:
    """A shortest way to an end at which nothing more can happen."""
    life = automaton(scope)
    todo: deque[tuple[int, tuple[tuple[int, Happening], ...]]] = deque([(node, ())])
    met = {node}
    while todo:
        node, path = todo.popleft()
        steps = life.after(node)
        if not steps:
            return list(path)
        for happening, after in steps:
            if after not in met:
                met.add(after)
                todo.append((after, (*path, (node, happening))))
    raise ValueError(f"there is no end to {scope}")


def _run(scope: str, path: list[tuple[int, Happening]]) -> Run:
    node, happening = path[-1]
    last = dict(automaton(scope).after(node))[happening]
    return Run(
        scope,
        tuple(happening for _, happening in path),
        tuple(transition(automaton(scope), node, happening) for node, happening in path),
        tuple(claim.rows for claim in automaton(scope).claims(last)),
    )


def follow(scope: str, told: str) -> Run:
    """The run that a text tells: ``b1.1 INVOKE; b2.1 INVOKE; b1.1 REFUSE CONFLICT; CRASH; ...``.

    Raises:
        ValueError: it is no complete run of the model.
    """
    node, path = 0, []
    for words in told.split(";"):
        *who, move = words.split()[:2]
        more = words.split()[2:]
        for happening, after in automaton(scope).after(node):
            names = [name(happening.claim, happening.attempt)] if happening.claim >= 0 else []
            answer = "" if happening.answer is None else str(happening.answer)
            if names == who and happening.move.name == move and all(m in answer for m in more):
                path.append((node, happening))
                node = after
                break
        else:
            raise ValueError(f"{words} cannot happen here")
    if automaton(scope).after(node):
        raise ValueError(f"{told} is not complete")
    return _run(scope, path)


def broken(run: Run, result: Result) -> frozenset[Rule]:
    """The rules that ``result`` would break after this script, as far as an observer sees it."""
    answers = iter(result.answers)
    notes: list[Note] = []
    for happening in run.happenings:
        notes += _seen(run, happening, answers)
    recording = Recording(tuple(notes), result.rows)
    judgement = judge(history(recording, SCOPES[run.scope], FULL))
    return frozenset(violation.rule for violation in judgement.violations)


def _seen(run: Run, happening: Happening, answers: Iterator[Answer]) -> Iterator[Note]:
    """What an observer writes down of a step, whatever the implementation makes of it."""
    who = name(happening.claim, happening.attempt)
    sent = happening.commit is not Commit.UNSENT
    phase = Phase.COMMIT if sent else Phase.STATEMENT
    match happening.move:
        case move if move in INVOCATIONS:
            yield Invoke(0, who, who, request(run.scope, happening.claim))
        case Move.PERSIST:
            yield CommitSent(0, who)
        case Move.LOSE_REQUEST | Move.LOSE_ANSWER:
            yield Seen(0, who, What.LOST, phase=phase)
        case Move.TIME_OUT:
            yield Seen(0, who, What.DEADLINE, phase=phase)
        case Move.REPORT:
            yield Seen(0, who, What.ERROR, "40001", phase)
        case Move.CRASH:
            for claim, attempt in happening.struck:
                yield Seen(0, name(claim, attempt), What.LOST, phase=Phase.STATEMENT)
        case Move.FENCE:
            yield Fence(0, who)
        case Move.EMIT:
            yield Emit(0, who, next(answers))


def request(scope: str, claim: int) -> Request:
    """What the attempts of a claim ask for."""
    made = SCOPES[scope].claims[claim]
    return Request(f"b{claim + 1}", f"r{made.resource + 1}", made.units)


def legal(run: Run) -> tuple[Result, ...]:
    """Every result that is legal after this script; the model's own is among them."""
    results = (
        Result(answers, rows)
        for answers in product(ANSWERS, repeat=len(run.emitted))
        for rows in product((0, 1), repeat=len(run.rows))
    )
    return tuple(result for result in results if not broken(run, result))


def refused(run: Run) -> tuple[tuple[Result, frozenset[Rule]], ...]:
    """What differs from the model's result in one place and is wrong, with the rules it breaks."""
    result = run.result
    others = [
        Result((*result.answers[:place], answer, *result.answers[place + 1 :]), result.rows)
        for place in range(len(result.answers))
        for answer in ANSWERS
    ]
    others += [
        Result(result.answers, (*result.rows[:place], rows, *result.rows[place + 1 :]))
        for place in range(len(result.rows))
        for rows in (0, 1, 2)
    ]
    judged = ((other, broken(run, other)) for other in others)
    return tuple((other, rules) for other, rules in judged if rules)
