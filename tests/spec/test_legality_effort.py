"""Judging takes effort in proportion to the history, legal or not, on one contended resource.

Effort is counted in calls, not in seconds, so that a busy machine does not matter.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from lastseat.spec import large
from lastseat.spec.columns import columns_of
from lastseat.spec.events import (
    Emit,
    Event,
    Evidence,
    Final,
    Header,
    History,
    Invoke,
    Phase,
    Seen,
    What,
)
from lastseat.spec.legality import Judgement, Rule, judge
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import BOOKED, IN_DOUBT, REJECTED, Request

IN_FLIGHT = 50


def contended(attempts: int, *, capacity: int, read: bool = True) -> History:
    """Many attempts on one resource, ``IN_FLIGHT`` at a time, of which some end in doubt; the
    first third gets in, whatever the ``capacity``, and the rest is rejected."""
    rng = random.Random("contended")
    events: list[tuple[int, Event]] = []
    rows = []
    for number in range(attempts):
        name, booking_id = f"a{number}", f"b{number}"
        request = Request(booking_id, "r", 1)
        ended = number + rng.randint(1, IN_FLIGHT)
        events.append((number, Invoke(number, name, f"c{number % IN_FLIGHT}", request)))
        booked = number < attempts // 3
        if booked:
            rows.append((booking_id, 1))
        if rng.random() < 0.05:
            events.append((ended, Seen(ended, name, What.LOST, None, Phase.COMMIT)))
            events.append((ended, Emit(ended, name, IN_DOUBT)))
        else:
            events.append((ended, Emit(ended, name, BOOKED if booked else REJECTED)))
    events.sort(key=lambda entry: entry[0])
    finals = [Final("r", tuple(rows))] if read else []
    header = Header({"r": Resource(capacity)}, frozenset({Evidence.SERVER}))
    return History(header, (*(event for _, event in events), *finals))


def in_columns(history: History) -> Judgement:
    return large.judge(columns_of(history))


def effort(history: History, judge: Callable[[History], Judgement]) -> tuple[int, Judgement]:
    """The calls that judging takes, and what comes of it."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event.endswith("call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        judgement = judge(history)
    finally:
        sys.setprofile(before)
    return calls, judgement


SMALL, LARGE = 300, 1200


@pytest.mark.parametrize("judge", [judge, in_columns])
@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize(
    ("spare", "broken"), [(0, set()), (-50, {Rule.CAPACITY}), (100, {Rule.REJECTED})]
)
def test_effort_grows_with_the_history(
    spare: int, broken: set[Rule], read: bool, judge: Callable[[History], Judgement]
) -> None:
    few, _ = effort(contended(SMALL, capacity=SMALL // 3 + spare, read=read), judge)
    many, judgement = effort(contended(LARGE, capacity=LARGE // 3 + spare, read=read), judge)
    # With nothing to spare the rest is rejected rightly; fewer seats are oversold, and with more
    # of them the rejections are wrong, unless all that is in doubt may have been booked.
    assert {violation.rule for violation in judgement.violations} == broken
    assert many < few * (LARGE / SMALL) * 1.2
