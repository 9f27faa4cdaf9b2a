"""One run of a scenario on a stage: decisions in, a recorded history out.

After every decision the run waits until nothing more follows from it: every client that runs an
attempt has a turn at the gate, or waits for a lock that only another decision can free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from attrs import define, field

from lastseat.harness.attempts import Attempt
from lastseat.harness.constraints import violated
from lastseat.harness.faults import FAULTS, Circumstances, Place
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import Answered, Broken, Garbled, GateEvent
from lastseat.harness.implementations.client import Moment
from lastseat.harness.implementations.protocol import AdapterError, Raised, read_attempt
from lastseat.harness.judge.audit import Reading
from lastseat.harness.judge.behind import left_behind, left_open
from lastseat.harness.judge.instep import InStep
from lastseat.harness.judge.sight import Sight
from lastseat.harness.meetings import Meetings
from lastseat.harness.names import Names
from lastseat.harness.scenario import Scenario
from lastseat.harness.schedule.decision import FINISH, RELEASE, START, Decision, Diverged, Step
from lastseat.harness.schedule.footprint import NOTHING, Footprint
from lastseat.harness.schedule.shape import Shapes
from lastseat.harness.stage import DAY_MS, DEADLINE_MS, GRACE_MS, STEWARD, Stage
from lastseat.harness.stillness import Stillness
from lastseat.spec import events as history
from lastseat.spec.resource import State
from lastseat.spec.vocabulary import Answer, Cause, Request

_REST = 0.5  # seconds in which a connection must come to rest after an answer
_GLANCE = 0.002

STOOD_STILL = 1.0
"""Seconds of a run in which nothing ran, up to which its timing can be judged: well within the
grace of an attempt."""


@define
class Run:
    """The world that a strategy moves in; at the end, what the judges read."""

    stage: Stage
    scenario: Scenario
    notes_faults: bool = False
    """Is it noted at every step which faults could have happened?"""
    names: Names = field(init=False)
    events: list[history.Event] = field(factory=list, init=False)
    steps: list[Step] = field(factory=list, init=False)
    attempts: list[Attempt] = field(factory=list, init=False)
    sight: Sight = field(init=False)
    instep: InStep = field(init=False)
    overlaps: int = field(default=0, init=False)
    """How often a turn went to the server in the middle of another attempt on its resource."""
    contention: int = field(default=0, init=False)
    """How often a client waited for another one's lock."""
    left_behind: dict[str, str] = field(factory=dict, init=False)
    """What attempts left open on connections at rest, in words."""
    faults: Meetings = field(init=False)
    """Those that have met a client."""
    now: int = field(default=0, init=False)
    """The logical instant of the last event."""
    disturbed: str | None = field(default=None, init=False)
    """Why the timing of this run is the harness's own doing, so that the run has to be repeated;
    None if it is not. Known when the run is finished."""
    _queues: dict[str, deque[Request]] = field(init=False)
    _busy: dict[str, Attempt] = field(factory=dict, init=False)
    _declared: set[str] = field(factory=set, init=False)
    _stale: bool = field(default=False, init=False)
    """Can the database have changed since it was last compared with the model?"""
    _stillness: Stillness = field(init=False)
    _news: list[str] = field(factory=list, init=False)
    _enabled: tuple[Decision, ...] | None = field(default=None, init=False)
    """The moves that can be made now, if they have been looked for."""
    _readings: dict[str, Reading] = field(factory=dict, init=False)
    _touched: Footprint = field(default=NOTHING, init=False)
    """What the turns have touched since the last decision."""
    _waiting: frozenset[str] = field(default=frozenset(), init=False)
    """The clients that waited for a lock after the last decision."""
    _ended: int = field(default=0, init=False)
    """How many attempts have ended."""
    _shapes: Shapes = field(init=False)
    _deadlines: Mapping[str, int] = field(factory=dict, init=False)
    """In milliseconds, of the clients that have less time than others."""
    _lost: float = field(default=0.0, init=False)
    """What the loop had lost when the run began."""

    def __attrs_post_init__(self) -> None:
        self.stage.loop.excuse()  # nobody was to be served between two runs
        self._lost = self.stage.loop.lost
        self.names = Names(self.stage.fresh)
        self._shapes = Shapes(self.names.in_order)
        self.sight = self._observer()
        self.instep = InStep(State())
        staged = self.stage
        self.faults = Meetings(self._tick, staged.gate.left)
        self._stillness = Stillness(
            staged.gate,
            staged.backends,
            staged.loop,
            staged.pace,
            self._busy.keys(),
            self.faults.ending,
            self._waits,
            staged.commits_wait,
        )
        self._queues = {name: deque(asked) for name, asked in self.scenario.attempts.items()}
        self.stage.ready(list(self.scenario.attempts))
        self._deadlines = self.scenario.deadlines
        self.stage.give_time(self._deadlines)
        self._read_gate()  # what has happened since the last run
        for resource, capacity in self.scenario.capacities.items():
            self.declare(resource, capacity)
        for request in self.scenario.prior:
            self._book_beforehand(request)

    def _observer(self) -> Sight:
        """One that knows what the last run's knew of the connections."""
        stage = self.stage
        made = Sight(self._tick, stage.backends.has_written, stage.known, stage.readers)
        if stage.observer is not None:
            made.inherit(stage.observer)
        stage.observer = made
        return made

    # What a strategy sees.

    def enabled(self) -> tuple[Decision, ...]:
        """The moves without a fault: a start where nothing runs, a release where a turn waits."""
        if self._enabled is None:
            self._enabled = tuple(self._moves())
        return self._enabled

    def _moves(self) -> Iterator[Decision]:
        for name, queue in self._queues.items():
            if name not in self._busy:
                if queue:
                    yield Decision(START, name)
            elif self.at_gate(name) is not None:
                yield Decision(RELEASE, name)
            elif self._stillness.committing(name) is not None:
                yield Decision(FINISH, name)

    def perform(self, decision: Decision) -> Step:
        """Make a move, wait for what follows, and compare the database with the model.

        Raises Diverged if it cannot be made.
        """
        enabled, self._news = self.enabled(), []
        self._touched, waited, ended = NOTHING, self._waiting, self._ended
        turn, shape = self._turn_of(decision.client, decision.move)
        faults = self.available(decision.client) if self.notes_faults else ()
        if decision.move == START:
            self._invoke(decision.client, self._queues[decision.client].popleft())
        elif decision.move == RELEASE:
            waiting = self.at_gate(decision.client)
            if waiting is None:
                raise Diverged(f"«{decision}», and no turn of {decision.client} waits")
            self._note_overlap(decision.client)
            waiting.release()
        elif decision.move == FINISH:
            done = self._stillness.committing(decision.client)
            if done is None:
                raise Diverged(f"«{decision}», and no commit of {decision.client} waits")
            self._stillness.finish(done)
        else:
            if not self.can_happen(decision):
                could = ", ".join(self.available(decision.client))
                raise Diverged(f"«{decision}» cannot happen here; what can: {could}")
            self.faults.trigger(FAULTS[decision.move], self._place(decision.client), turn)
        self.settle()
        self.observe()
        self._waiting = self._who_waits()
        step = Step(
            len(self.steps) + 1,
            decision,
            enabled,
            turn,
            tuple(self._news),
            self.now,
            faults,
            tuple(self._faults_of_waiting()) if self.notes_faults else (),
            self._touched | Footprint(ends=self._ended > ended),
            waited - self._waiting,
            shape,
        )
        self.steps.append(step)
        return step

    def _who_waits(self) -> frozenset[str]:
        able = (self.at_gate, self._stillness.committing)
        return frozenset(c for c in self._busy if not any(where(c) for where in able))

    def _faults_of_waiting(self) -> Iterator[Decision]:
        for client in self._waiting:
            yield from (Decision(fault, client) for fault in self.available(client))

    def foreseen(self, decision: Decision) -> Footprint:
        """What this move is going to touch, as far as its turn tells."""
        connection = self._connection(decision.client)
        if decision.move == START or connection is None:
            return NOTHING
        turn = connection.in_flight or next(iter(connection.held), None)
        if turn is None:
            return NOTHING
        return self.stage.sessions.foreseen(connection.number, turn, self.names.mentioned)

    def will_ask(self, client: str) -> bool:
        """Has this client more to ask for?"""
        return bool(self._queues.get(client))

    def ask(self, client: str, request: Request) -> None:
        """Let the client attempt this when it has done the rest."""
        self.stage.ready([client])  # who is new is started before the time counts
        self._queues.setdefault(client, deque()).append(request)
        self._enabled = None

    def available(self, client: str) -> tuple[str, ...]:
        """The faults that can meet this client now."""
        place = self._place(client)
        return tuple(name for name, fault in FAULTS.items() if fault.available(place))

    def can_happen(self, fault: Decision) -> bool:
        """Can this fault meet this client now?"""
        return FAULTS[fault.move].available(self._place(fault.client))

    def stuck(self, client: str) -> bool:
        """Is a turn of this client's withheld from the server?"""
        return any(connection.withheld for connection in self.stage.gate.of(client))

    def running(self) -> tuple[str, ...]:
        """The clients that run an attempt."""
        return tuple(self._busy)

    def at_gate(self, client: str) -> Connection | None:
        """The client's connection on which a turn waits for a decision."""
        return self._stillness.at_gate(client)

    # The moves.

    def declare(self, resource: str, capacity: int) -> None:
        """Create a resource, if it is new; the model learns of it, too."""
        if resource in self._declared:
            return
        self._declared.add(resource)
        self.stage.declare(self.names.physical(resource), capacity)
        self.instep.declare(resource, capacity)

    def _book_beforehand(self, request: Request) -> None:
        """A prior booking: an attempt past the gate, judged like any other by its effect."""
        attempt = self._begin(STEWARD, request)
        self._note(history.CommitSent(self._tick(), attempt.name))
        steward = self.stage.steward()
        steward.call("attempt", **self._asked(request))
        assert steward.reply is not None
        self._stale = True
        self._end(attempt, read_attempt(steward.reply), steward.read_at)

    def _invoke(self, client: str, request: Request) -> None:
        # What the next attempt may clean up, or stumble over, is the last one's all the same.
        self._come_to_rest(lambda: any(left_open(self.sight, client)))
        self.left_behind.update(left_open(self.sight, client))
        attempt = self._begin(client, request)
        self._busy[client] = attempt
        booking = self.names.physical(request.booking_id)
        self._note(*self.sight.invoked(client, attempt.name, booking))
        self.stage.gate.hold(client)
        self.stage.client(client).send("attempt", **self._asked(request))

    def _begin(self, client: str, request: Request) -> Attempt:
        number = 1 + len(self._of(client))
        began = Moment.of(self.stage.loop)
        name, given = f"{client}-{number}", self._given(client)
        attempt = Attempt(name, client, request, began, given)
        self.attempts.append(attempt)
        self.events.append(
            history.Invoke(self._tick(), attempt.name, client, request, _ms(began.running))
        )
        self.instep.invoked(attempt.name, request)
        return attempt

    def _of(self, client: str) -> list[Attempt]:
        """This client's attempts."""
        return [attempt for attempt in self.attempts if attempt.client == client]

    def _asked(self, request: Request) -> dict[str, Any]:
        return {
            "booking_id": self.names.physical(request.booking_id),
            "resource_id": self.names.physical(request.resource_id),
            "requested_units": request.requested_units,
        }

    def _place(self, client: str) -> Place:
        connection = self._connection(client)
        return Place(
            client,
            self.stage.gate,
            self.stage.backends,
            connection,
            client in self._busy,
            bool(self._queues.get(client)),
            client in self.scenario.deadlines,
            lambda sqlstate: violated(
                self.stage.constraints, self.instep.state, self._busy[client].request, sqlstate
            ),
            self._circumstances(connection),
        )

    def _circumstances(self, connection: Connection | None) -> Circumstances:
        if connection is None or not connection.held:
            return Circumstances(self.stage.database)
        level = self.stage.sessions.level(connection.number, connection.held[0])
        pid, backends = connection.backend_pid, self.stage.backends
        return Circumstances(
            self.stage.database,
            level,
            cache(lambda: bool(backends.has_written(pid))),
            cache(lambda: backends.has_transaction_id(pid)),
        )

    def _connection(self, client: str) -> Connection | None:
        """The one on which its turn waits, or the server works, or any."""
        mine = self.stage.gate.of(client)
        at_work = (c for c in mine if c.in_flight is not None or c.withheld)
        return self.at_gate(client) or next(at_work, next(iter(mine), None))

    def _turn_of(self, client: str, move: str) -> tuple[str, str]:
        """What waits at the gate, or is with the server, or in the network; and its shape."""
        connection = self._connection(client) if move != START else None
        turn = connection and (connection.in_flight or next(iter(connection.held), None))
        if not turn:
            return "", ""
        return self.names.plain(str(turn)), self._shapes.of(client, turn)

    # What follows.

    def settle(self) -> None:
        """Wait until nothing more follows. A client that hangs is ended."""
        self._enabled = None
        if not self._stillness.reached(self._take_news, self._patience):
            self._give_up()

    def _patience(self) -> float:
        """For how many seconds somebody may still move."""
        grace = GRACE_MS / 1000
        ends = (attempt.invoked.running + attempt.given + grace for attempt in self._busy.values())
        return max(grace, max(ends, default=0) - self.stage.loop.now())

    def _given(self, client: str) -> float:
        """How many seconds the client has for an attempt."""
        if self.stage.unhurried:
            return DAY_MS / 1000
        return self._deadlines.get(client, DEADLINE_MS) / 1000

    def give_time(self) -> None:
        """From now on nobody is in a hurry; who was makes a new connection."""
        self._deadlines = {}
        self.stage.give_time({}, in_a_run=True)

    def _note_overlap(self, client: str) -> None:
        mine = self._busy[client]
        mine.under_way = True
        self.overlaps += any(
            other.under_way and other.request.resource_id == mine.request.resource_id
            for other in self._busy.values()
            if other is not mine
        )

    def _waits(self, who: str) -> None:
        self.contention += 1
        self._news.append(f"{who} waits for a lock")

    def _take_news(self) -> None:
        self._read_gate()
        for name in tuple(self._busy):
            reply = self._reply(name)
            if reply is not None:
                # Whatever the client had sent before it replied has arrived by now.
                while self.stage.loop.poll(0):
                    pass
                self._read_gate()
                self._emit(name, read_attempt(reply))
        self._fence()

    def _reply(self, client: str) -> dict[str, Any] | None:
        """What the client has replied; None if it has not, or never will.

        A client that dies owes its outcome if a fault has met it; else its adapter is to blame.
        """
        try:
            return self.stage.client(client).reply
        except AdapterError as error:
            if not self.faults.any_of(client):
                raise
            self._lose(client, f"dies: {error}")
            return None

    def _lose(self, client: str, how: str) -> None:
        """The client will never answer; the next run gets another one."""
        self._busy.pop(client).hung = True
        self._news.append(f"{client} {how}")
        self.sight.emitted(client)
        self.stage.gate.let_pass(client)
        self.stage.restart(client)

    def _read_gate(self) -> None:
        events = self.stage.gate.drain()
        if events:
            self._touched |= self.stage.sessions.touched(events, self.names.mentioned)
        for event in events:
            if isinstance(event, Garbled):
                raise AdapterError(f"{event.client} speaks no PostgreSQL: {event.reason}")
            if isinstance(event, Broken):
                self._stillness.dying[event.backend_pid] = event.client
                self._stale = True
            elif isinstance(event, Answered):
                # In a transaction, open or failed, nothing is committed.
                self._stale = self._stale or event.answer.status not in {"T", "E"}
            self._note(*self.sight.see(event))
            self._news.extend(_in_words(event))
        self.faults.look(events)

    def _note(self, *events: history.Seen | history.CommitSent) -> None:
        """What an attempt has sent, and what has reached it."""
        for event in events:
            self.events.append(event)
            self.instep.noted(event)

    def _emit(self, client: str, told: Answer | Raised) -> None:
        attempt, answered = self._busy.pop(client), self.stage.client(client).read_at
        if isinstance(told, Raised) or told.cause is Cause.INFRASTRUCTURE:
            self.stage.gate.forsake(client)
            self._read_gate()
            self._note(*self.sight.gave_up(client))
            if answered.monotonic >= attempt.invoked.monotonic + attempt.given:
                # It need not have waited for anything: on a busy machine all takes its time.
                seen = history.Seen(
                    self._tick(), attempt.name, history.What.DEADLINE, None, history.Phase.CLEANUP
                )
                self._note(seen)
        self._end(attempt, told, answered)
        self.sight.emitted(client)
        self.stage.gate.let_pass(client)

    def _end(self, attempt: Attempt, told: Answer | Raised, answered: Moment) -> None:
        # A client that is about to connect can be met by silence before its attempt begins.
        since = max((a.emitted_at or 0 for a in self._of(attempt.client)), default=0)
        attempt.silenced = self.faults.silence(attempt.client, since)
        attempt.took = answered.monotonic - attempt.invoked.monotonic
        attempt.emitted_at = self._tick()
        self._ended += 1
        ms = _ms(answered.running)
        if isinstance(told, Raised):
            attempt.raised = told
            self._news.append(f"{attempt.client} gets an exception: {told.message}")
            self.events.append(
                history.Raise(attempt.emitted_at, attempt.name, told.message, told.in_doubt, ms)
            )
            self.observe()
            self.instep.raised(attempt.name, in_doubt=told.in_doubt)
            return
        attempt.answer = told
        self._news.append(f"{attempt.client} is answered {told}")
        self.events.append(history.Emit(attempt.emitted_at, attempt.name, told, ms))
        self.observe()  # what is committed at this moment decides whether it is right
        self._note_repetition(attempt)
        self.instep.emitted(attempt.name, told)

    def observe(self) -> None:
        """Compare every resource with the model, if anything can have been committed."""
        if self._stale or self._stillness.dying:
            self._stale = False
            resources = self.instep.resources()
            asked = [self.names.physical(resource) for resource in resources]
            for resource, found in zip(resources, self.stage.auditor.read(asked), strict=True):
                self._compare(resource, found)
        for attempt in self._busy.values():
            self._note_repetition(attempt)

    def _note_repetition(self, attempt: Attempt) -> None:
        """Is its request booked, by another attempt? Its own commit is not sent, or refused."""
        if attempt.name not in self.sight.commit_sent - self.sight.commit_refused:
            booked = self.instep.state.booking(attempt.request.booking_id)
            attempt.repeats = attempt.repeats or booked == attempt.request

    def _compare(self, resource: str, found: Reading) -> None:
        rows = tuple(sorted((self.names.logical(b), units) for b, units in found.rows))
        reading = Reading(rows, found.booked)
        if self._readings.get(resource) != reading:
            self._readings[resource] = reading
            self.events.append(history.Audit(self._tick(), resource, reading.rows, reading.booked))
            self.instep.observed(resource, reading.rows, reading.booked)

    def _fence(self) -> None:
        """A failed attempt is over for good when its client's connections are gone or at rest."""
        over = [
            attempt
            for attempt in self.attempts
            if attempt.failed and not attempt.fenced and self._stillness.at_rest(attempt.client)
        ]
        if over:
            self.observe()  # what it did before is its own still
        for attempt in over:
            attempt.fenced = True
            self.events.append(history.Fence(self._tick(), attempt.name))
            self.instep.fenced(attempt.name)

    def _give_up(self) -> None:
        """Nobody moves any more: end the clients that hang."""
        for name in list(self._busy):
            if not self._stillness.moves_not(name):
                self._lose(name, "hangs")
        for pid in self._stillness.dying:
            self.stage.backends.terminate(pid)

    def _tick(self) -> int:
        self.now += 1
        return self.now

    # The end.

    def clients(self) -> tuple[str, ...]:
        """The clients that have attempts in this run."""
        return tuple(self._queues)

    def final_readings(self) -> Mapping[str, Reading]:
        """Every resource as it was read last."""
        return self._readings

    def finish(self) -> None:
        """Fence what broke, and wait until no connection is left in the middle of anything."""
        self.stage.gate.receive_as_usual()
        for connection in list(self.stage.gate.open_connections()):
            if connection.withheld:
                connection.drop()
        self.settle()
        self._outlast()
        self._come_to_rest(lambda: any(self.sight.at_rest()))
        self.left_behind.update(left_behind(self.stage.gate, self.stage.backends, self.sight))
        self._stale = True
        self.observe()
        lost = self.stage.loop.lost - self._lost
        if lost > STOOD_STILL and not self.stage.unhurried:
            self.disturbed = f"lastseat was not run for {lost:.1f} s: the machine stood still"
        elif not self.faults.silent:
            self.stage.lately.append(max((a.took or 0 for a in self.attempts), default=0))

    def _outlast(self) -> None:
        """Who waits still, with nobody left who could free the lock, has only its own deadline."""
        loop = self.stage.loop
        end = loop.now() + self._patience()
        while self._busy and loop.now() < end:
            loop.poll(_GLANCE)
            self._take_news()
        for name in list(self._busy):
            self._lose(name, "hangs")

    def _come_to_rest(self, restless: Callable[[], bool]) -> None:
        """Connections have a moment to let go of what their attempts left on them."""
        loop = self.stage.loop
        end = loop.now() + _REST
        while restless() and loop.now() < end:
            loop.poll(_GLANCE)
            self._take_news()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _in_words(event: GateEvent) -> Iterator[str]:
    match event:
        case Answered(client=client, answer=answer, delivered=delivered):
            yield f"the server answers {client}: {answer}" + ("" if delivered else " (lost)")
        case Broken(client=client, by="server", error=error):
            yield f"the server ends {client}'s connection" + (f": {error}" if error else "")
        case Broken(client=client, by="gate"):
            yield f"{client}'s connection is lost"
