"""A Hypothesis state machine that drives a real implementation through the gate.

Every rule is one decision. After every decision the database is compared with the model, and every
answer must be legal; when the steps are over, the clients finish, doubt is resolved and the whole
history is judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import hypothesis
from attrs import define, frozen
from hypothesis import HealthCheck, Phase, Verbosity, settings
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
from lastseat.harness.repetition import undisturbed
from lastseat.harness.run import Run
from lastseat.harness.scenario import CLIENTS, Scenario
from lastseat.harness.schedule.decision import START, Decision, Step
from lastseat.harness.script import act, script_of, without_attempts
from lastseat.harness.stage import Stage
from lastseat.spec.vocabulary import Request

Judge = Callable[[Run], frozenset[str]]
"""Takes a finished run down and judges it; the rules that it breaks."""

RESOURCES = ("r1", "r2")
_IDS = tuple(f"b{number}" for number in range(1, 6))
_STEPS = 30


class _Stop(BaseException):
    """Ends the search at once. Not an Exception: Hypothesis would run the example once more."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@frozen
class Illegal:
    """A run that the judges object to, and how many of its first steps were drawn."""

    run: Run
    steps: int


class _Found(BaseException):
    """Ends the search: the judges object to a run."""

    def __init__(self, illegal: Illegal) -> None:
        super().__init__()
        self.illegal = illegal


@contextlib.contextmanager
def _no_verdict() -> Iterator[None]:
    """An error of an adapter, or of ours, is not what Hypothesis looks for: it is passed on."""
    try:
        yield
    except Exception as error:
        raise _Stop(error) from error


class BookingMachine(RuleBasedStateMachine):
    """Two to four clients, two resources, five booking ids; up to three faults."""

    stage: Stage
    judge: Judge
    run: Run

    def __init__(self) -> None:
        super().__init__()
        self._over = False
        self._clients: tuple[str, ...] = ()
        self._requests: dict[str, Request] = {}
        self._faults_left = 0

    @initialize(
        clients=st.integers(2, 4),
        capacities=st.tuples(*(st.integers(0, 5) for _ in RESOURCES)),
        wants=st.tuples(*(st.tuples(st.sampled_from(RESOURCES), st.integers(1, 3)) for _ in _IDS)),
        faults=st.integers(0, 3),
    )
    def scene(
        self,
        clients: int,
        capacities: tuple[int, ...],
        wants: tuple[tuple[str, int], ...],
        faults: int,
    ) -> None:
        """How many clients there are, how much there is, what each id stands for.

        Faults are few: where every attempt meets one, none gets far enough to meet another.
        """
        self._faults_left = faults
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
        with _no_verdict():
            self.run = Run(self.stage, scenario)

    def _idle(self) -> list[str]:
        return [client for client in self._clients if client not in self.run.running()]

    def _at_gate(self) -> list[str]:
        return [client for client in self._clients if self.run.at_gate(client) is not None]

    def _steps(self) -> list[Decision]:
        """What can happen next in attempts that run: a turn goes on, or others see a commit."""
        return [decision for decision in self.run.enabled() if decision.client in self._clients]

    def _meet(self, data: st.DataObject, fault: str) -> None:
        """The client goes on for some turns first: else most faults would meet its first one."""
        able = [c for c in self._clients if self.run.can_happen(Decision(fault, c))]
        if not able:
            return
        client = data.draw(st.sampled_from(able))
        self._go_on(client, data.draw(st.integers(0, 5)))
        if self.run.can_happen(Decision(fault, client)):
            self._perform(Decision(fault, client))
            self._faults_left -= 1

    def _go_on(self, client: str, turns: int) -> None:
        for _ in range(turns):
            step = next((each for each in self._steps() if each.client == client), None)
            if step is None:
                return
            self._perform(step)

    def _perform(self, decision: Decision) -> None:
        self._over = True  # unless it returns: what is broken cannot be brought to an end
        with _no_verdict():
            self.run.perform(decision)
        self._over = False

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
        self._perform(Decision(START, client))

    @precondition(lambda self: self._steps())
    @rule(data=st.data())
    def go_one_step(self, data: st.DataObject) -> None:
        """A client's held turn goes to the server, or others see what it has committed."""
        self._perform(data.draw(st.sampled_from(self._steps())))

    @precondition(lambda self: self._steps())
    @rule(data=st.data())
    def go_on_for_several_steps(self, data: st.DataObject) -> None:
        """A client goes on while it can, so that attempts end within the steps there are."""
        client = data.draw(st.sampled_from(self._steps())).client
        self._go_on(client, data.draw(st.integers(2, 6)))

    @precondition(lambda self: self._faults_left and self._at_gate())
    @rule(data=st.data())
    def lose_a_request(self, data: st.DataObject) -> None:
        """The turn never arrives."""
        self._meet(data, "lose-request")

    @precondition(lambda self: self._faults_left and self._at_gate())
    @rule(data=st.data())
    def lose_an_answer(self, data: st.DataObject) -> None:
        """The turn is executed, and the client never learns what came of it."""
        self._meet(data, "lose-answer")

    @precondition(lambda self: self._faults_left and self.run.running())
    @rule(data=st.data())
    def terminate_a_backend(self, data: st.DataObject) -> None:
        """An administrator ends the server process of a client, waiting for a lock or not."""
        self._meet(data, "terminate")

    @precondition(lambda self: self._faults_left and self._at_gate())
    @rule(data=st.data())
    def answer_with_an_error(self, data: st.DataObject) -> None:
        """The server raises an error in the turn's place: one of those that it can answer it by."""
        client = data.draw(st.sampled_from(self._at_gate()))
        self._go_on(client, data.draw(st.integers(0, 5)))
        errors = [Decision(f"raise-{sqlstate}", client) for sqlstate in sorted(RAISED)]
        able = [error for error in errors if self.run.can_happen(error)]
        if able:
            self._perform(data.draw(st.sampled_from(able)))
            self._faults_left -= 1

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
        steps = len(self.run.steps)
        with _no_verdict():
            aftermath(self.run)
            self.run.finish()
            if self.run.disturbed is not None:
                steps = self._make_again(self.run.steps[:steps])
            rules = type(self).judge(self.run)
        if rules:
            raise _Found(Illegal(self.run, steps))

    def _make_again(self, steps: Sequence[Step]) -> int:
        """Put an undisturbed run of the same moves in the run's place; how many were made."""
        scene, script = without_attempts(self.run.scenario), script_of(self.run, steps)
        for run in undisturbed(lambda: Run(self.stage, scene)):
            act(run, script)
            made = len(run.steps)
            aftermath(run)
            run.finish()
        self.run = run
        return made


def drive(stage: Stage, judge: Judge, *, examples: int, seed: int) -> Illegal | None:
    """Run so many examples, or until one is illegal, which is returned.

    Of several clients that wait for one lock the server chooses who is next. Where it chose
    otherwise than in an earlier example that began alike, Hypothesis can no longer use what it has
    learned, and begins anew.
    """
    count = _Count(judge)
    try:
        for restart in range(examples):
            with contextlib.suppress(Flaky):
                _search(stage, count, examples - count.judged, seed + restart)
                break
            if count.judged >= examples:
                break
    except _Found as found:
        return found.illegal
    except _Stop as stop:
        raise stop.error from None
    return None


@define
class _Count:
    """Counts what the judge is given."""

    judge: Judge
    judged: int = 0

    def __call__(self, run: Run) -> frozenset[str]:
        self.judged += 1
        return self.judge(run)


def _search(stage: Stage, judge: Judge, examples: int, seed: int) -> None:
    body: dict[str, Any] = {"stage": stage, "judge": staticmethod(judge)}
    machine: Any = type("Machine", (BookingMachine,), body)
    run_state_machine_as_test(
        hypothesis.seed(seed)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=_STEPS,
            deadline=None,
            database=None,
            verbosity=Verbosity.quiet,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
