"""The order of the lines of one instant convicts nothing: however it is drawn, the judges say the
same. A coarser clock, by which more events share an instant, convicts nobody who was right."""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import groupby

import pytest
from attrs import evolve
from tests.spec.histories import generate

from lastseat.spec.columns import columns_of
from lastseat.spec.events import End, Event, Fault, Final, History, Invoke, Order
from lastseat.spec.large import judge as judge_large
from lastseat.spec.legality import judge
from lastseat.spec.rules import Judgement, Rule

ROUNDS = int(os.environ.get("LASTSEAT_INSTANTS_ROUNDS", "1500"))
BATCHES = 3


def said(judgement: Judgement) -> set[Rule]:
    """Which rules are broken. Which of several that broke one is named may depend on the order."""
    return {violation.rule for violation in judgement.violations}


def coarse(history: History, by: int) -> History:
    """The same events by a clock that ticks more seldom."""

    def later(event: Event) -> Event:
        match event:
            case Final():
                return event
            case Fault(start=start, end=end, at=at):
                end = None if end is None else end // by
                return evolve(
                    event, start=start // by, end=end, at=None if at is None else at // by
                )
        return evolve(event, at=event.at // by)

    return evolve(history, events=tuple(map(later, history.events)))


def shuffled(rng: random.Random, history: History) -> History:
    """The events of each instant in another order, in which each attempt is invoked first."""

    def at(event: Event) -> tuple[int, float]:
        return (1, 0) if isinstance(event, Final) else (0, 0 if event.at is None else event.at)

    first = [event for event in history.events if isinstance(event, Fault) and event.at is None]
    rest = [event for event in history.events if event not in first]
    events: list[Event] = [*first]
    last = rest.pop() if rest and isinstance(rest[-1], End) else None
    for _, of_instant in groupby(rest, at):
        some = list(of_instant)
        rng.shuffle(some)
        some.sort(key=lambda event: not isinstance(event, Invoke))
        events += some
    events += [last] if last is not None else []
    order = Order()
    order.open(history.header)
    for event in events:
        order.accept(event)
    return evolve(history, events=tuple(events))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_order_of_lines_means_nothing_within_an_instant(batch: int) -> None:
    rng = random.Random(f"instants {batch}")
    met: Counter[str] = Counter()
    for _ in range(ROUNDS // BATCHES):
        history = coarse(generate(rng), rng.choice((1, 2, 4)))
        once, other = judge(history), shuffled(rng, history)
        assert said(judge(other)) == said(once), (history, other)
        assert said(judge_large(columns_of(other))) == said(once), other
        met.update({violation.rule.value for violation in once.violations} or {"legal"})
        met["another order"] += other != history
    assert met["legal"] > 20, met
    assert met["another order"] > ROUNDS / BATCHES / 2, met


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_coarse_clock_is_never_harder_on_what_was_right(batch: int) -> None:
    rng = random.Random(f"coarse {batch}")
    right = 0
    for _ in range(ROUNDS // BATCHES):
        history = generate(rng)
        if judge(history).legal:
            right += 1
            blurred = shuffled(rng, coarse(history, rng.choice((2, 3, 5))))
            assert judge(blurred).legal, blurred
    assert right > 20
