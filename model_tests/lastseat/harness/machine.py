"""A Hypothesis state machine that drives a real implementation through the gate.

Every rule is one decision. After every decision the database is compared with the model, and every
answer must be legal; when the steps are over, the clients finish, doubt is resolved and the whole
history is judged. What fails shrinks to few steps, and is recorded like any other run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lastseat.harness.aftermath import aftermath
from lastseat.harness.faults import RAISED
from lastseat.harness.run import Run
from lastseat.harness.scenario import CLIENTS, Scenario
from lastseat.harness.schedule.decision import RELEASE, START, Decision
from lastseat.harness.stage import Stage
from lastseat.spec.vocabulary import Request

Judge = Callable[[Run], bool]
"""Takes a finished run down and judges it; is it legal?"""

RESOURCES = ("r1", "r2")
_IDS = tuple(f"b{number}" for number in range(1, 6))
_STEPS = 30


class Illegal(AssertionError):
    """The judges object to this example."""


class _ShortEnough(BaseException):
    """Shrinking has had its time. Not an Exception: Hypothesis would take it for a failure."""


class BookingMachine(RuleBasedStateMachine):
    """Two to four clients, two resources, five booking ids; faults at will."""

    stage: Stage
    judge: Judge
    shrink_until: Callable[[], bool]
    """Asked at each failing example: has shrinking had its time?"""
    run: Run

    def __init__(self) -> None:
        super().__init__()
        self._over = False
        self._clients: tuple[str, ...] = ()
        self._requests: dict[str, Request] = {}

    @initialize(
        clients=st.integers(2, 4),
        capacities=st.tuples(*(st.integers(0, 5) for _ in RESOURCES)),
        wants=st.tuples(*(st.tuples(st.sampled_from(RESOURCES), st.integers(1, 3)) for _ in _IDS)),
    )
    def scene(
        self,
        clients: int,
        capacities: tuple[int, ...],
        wants: tuple[tuple[str, int], ...],
    ) -> None:
        """How many clients there are, how much there is, and what each id stands for."""
        self._clients = CLIENTS[:clients]
        self._requests = {
            booking: Request(booking, resource, units)
            for booking, (resource, units) in zip(_IDS, wants, strict=True)
        }
        scenario = Scenario(
            "machine",
            "drawn by Hypothesis",
            dict(zip(RESOURCES, capacities, strict=True)),
            dict.fromkeys(self._clients, ()),
        )
        self.run = Run(self.stage, scenario)

    def _idle(self) -> list[str]:
        return [client for client in self._clients if client not in self.run.running()]

    def _at_gate(self) -> list[str]:
        return [client for client in self._clients if self.run.at_gate(client) is not None]

    def _meet(self, data: st.DataObject, fault: str) -> None:
        able = [c for c in self._clients if fault in self.run.available(c)]
        if able:
            self.run.perform(Decision(fault, data.draw(st.sampled_from(able))))

    @precondition(lambda self: self._idle())
    @rule(data=st.data(), booking=st.sampled_from(_IDS))
    def start_an_attempt(self, data: st.DataObject, booking: str) -> None:
        """An idle client asks; the same id may have been asked for before."""
        self._begin(data.draw(st.sampled_from(self._idle())), self._requests[booking])

    @precondition(lambda self: self._idle() and self._tried())
    @rule(data=st.data())
    def try_the_same_id_again(self, data: st.DataObject) -> None:
        """An idle client repeats a request that did not end in a booking."""
        request = data.draw(st.sampled_from(self._tried()))
        self._begin(data.draw(st.sampled_from(self._idle())), request)

    def _tried(self) -> list[Request]:
        failed = (a.request for a in self.run.attempts if a.answer and a.answer.cause)
        return list(dict.fromkeys(failed))

    def _begin(self, client: str, request: Request) -> None:
        self.run.ask(client, request)
        self.run.perform(Decision(START, client))

    @precondition(lambda self: self._at_gate())
    @rule(data=st.data())
    def release_the_next_turn(self, data: st.DataObject) -> None:
        """A client's held turn goes to the server."""
        self.run.perform(Decision(RELEASE, data.draw(st.sampled_from(self._at_gate()))))

    @precondition(lambda self: self._at_gate())
    @rule(data=st.data())
    def go_on_for_several_turns(self, data: st.DataObject) -> None:
        """A client goes on while it can, so that attempts end within the steps there are."""
        client = data.draw(st.sampled_from(self._at_gate()))
        for _ in range(data.draw(st.integers(2, 5))):
            if self.run.at_gate(client) is None:
                return
            self.run.perform(Decision(RELEASE, client))

    @precondition(lambda self: self._at_gate())
    @rule(data=st.data())
    def lose_a_request(self, data: st.DataObject) -> None:
        """The turn never arrives."""
        self._meet(data, "lose-request")

    @precondition(lambda self: self._at_gate())
    @rule(data=st.data())
    def lose_an_answer(self, data: st.DataObject) -> None:
        """The turn is executed, and the client never learns what came of it."""
        self._meet(data, "lose-answer")

    @precondition(lambda self: self.run.running())
    @rule(data=st.data())
    def terminate_a_backend(self, data: st.DataObject) -> None:
        """An administrator ends the server process of a client, waiting for a lock or not."""
        self._meet(data, "terminate")

    @precondition(lambda self: self._at_gate())
    @rule(data=st.data(), sqlstate=st.sampled_from(sorted(RAISED)))
    def answer_with_an_error(self, data: st.DataObject, sqlstate: str) -> None:
        """The server raises an error in the turn's place."""
        self._meet(data, f"raise-{sqlstate}")

    @invariant()
    def database_is_where_the_model_can_be(self) -> None:
        """In step: after every rule."""
        if hasattr(self, "run") and self.run.instep.objections:
            self._conclude()

    def teardown(self) -> None:
        """Bring everything to an end and judge the whole."""
        if hasattr(self, "run") and not self._over:
            self._conclude()

    def _conclude(self) -> None:
        self._over = True
        aftermath(self.run)
        self.run.finish()
        if type(self).judge(self.run):
            return
        if type(self).shrink_until():
            raise _ShortEnough
        raise Illegal("the judges object; the recorded schedule tells the steps")


def drive(
    stage: Stage, judge: Judge, *, examples: int, seed: int, shrink_seconds: float = 10.0
) -> None:
    """Run so many examples. An illegal one is shrunk for some seconds; the judge sees them all."""
    body: dict[str, Any] = {
        "stage": stage,
        "judge": staticmethod(judge),
        "shrink_until": staticmethod(_stopwatch(shrink_seconds)),
    }
    machine: Any = type("Machine", (BookingMachine,), body)
    try:
        hypothesis.seed(seed)(run_state_machine_as_test)(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=_STEPS,
                deadline=None,
                database=None,
                verbosity=Verbosity.quiet,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except (Illegal, Flaky, _ShortEnough):
        # Flaky: an example that failed did not fail again, because the server chose otherwise.
        # Either way the judge has recorded what it objected to.
        return


def _stopwatch(seconds: float) -> Callable[[], bool]:
    """True so many seconds after it was asked first."""
    end: list[float] = []

    def over() -> bool:
        end.append(time.monotonic() + seconds)
        return time.monotonic() > end[0]

    return over
