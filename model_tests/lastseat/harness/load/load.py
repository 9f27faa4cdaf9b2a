"""Keeps clients busy: as soon as one has its answer, it is given the next request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from attrs import Factory, define, frozen

from lastseat.harness.implementations.client import Client, Moment
from lastseat.harness.implementations.protocol import AdapterError, Raised, read_attempt
from lastseat.harness.load.demand import Demand
from lastseat.harness.load.recorder import Recorder
from lastseat.harness.loop import Loop
from lastseat.spec.vocabulary import Answer, Cause, Request

PATIENCE = 5.0
"""Seconds after deadline and grace in which an attempt may end before its client is ended."""

_GLANCE = 0.05
STOOD_STILL = "stood-still"
"""What the history calls it when nothing ran for a while: the machine stood still, or lastseat."""
_STILL = 1.0
"""Seconds of it that clients may feel."""


@frozen
class _Running:
    name: str
    request: Request
    invoked: Moment
    at: int


@define
class Disturbance:
    """An outage as the clients feel it: until each has made an attempt when it was over."""

    kind: str
    starts: dict[str, int]
    """For each client that may still suffer from it, since when."""
    over_at: int | None = None
    """The instant at which what was broken was whole again."""


@define
class Load:
    """``hire`` makes a new client in the place of one that hangs or has died."""

    clients: dict[str, Client]
    hire: Callable[[str], Client]
    loop: Loop
    recorder: Recorder
    demand: Demand
    deadline: float
    """Seconds that an attempt is given."""
    limit: float
    """Seconds that it may take: its deadline and its grace."""
    emitted: int = 0
    lost: list[str] = Factory(list)
    """Clients that hung or died, in words."""
    in_doubt: list[str] = Factory(list)
    """Attempts in doubt whose server process is not known to have ended."""
    _busy: dict[str, _Running] = Factory(dict)
    _numbers: Counter[str] = Factory(Counter)
    _disturbances: list[Disturbance] = Factory(list)
    _seen_lost: float = Factory(lambda self: self.loop.lost, takes_self=True)
    """What the loop had lost when that was last looked at."""

    def run(self, until: Callable[[], bool]) -> None:
        """Have every client make one attempt after the other until it is so."""
        self._come_back()
        while not until():
            for name in self.clients:
                if name not in self._busy:
                    self.begin(name, self.demand.next())
            self._take(_GLANCE)

    def finish(self) -> None:
        """Let everybody come to an end."""
        self._come_back()
        while self._busy:
            self._take(_GLANCE)

    def alone(self, client: str, request: Request) -> Answer | Raised | None:
        """One attempt while nobody else makes one; None if its client hung or died."""
        self.finish()
        self.begin(client, request)
        told: list[Answer | Raised] = []
        while self._busy:
            self._take(_GLANCE, told)
        return told[0] if told else None

    def begin(self, client: str, request: Request) -> None:
        self._numbers[client] += 1
        name = f"{client}-{self._numbers[client]}"
        self.recorder.invoke(name, client, request)
        self._busy[client] = _Running(name, request, Moment.of(self.loop), self.recorder.now)
        try:
            self.clients[client].send(
                "attempt",
                booking_id=request.booking_id,
                resource_id=request.resource_id,
                requested_units=request.requested_units,
            )
        except AdapterError as error:
            self._lose(client, str(error))

    def disturbed(self, kind: str) -> Disturbance:
        """Something begins that concerns all clients; to be told before it does."""
        starts = {name: self.recorder.fault_begins(kind, name) for name in self.clients}
        self._disturbances.append(Disturbance(kind, starts))
        return self._disturbances[-1]

    def _come_back(self) -> None:
        """What the loop has lost by now was lost elsewhere: somebody looked at the server."""
        self.loop.now()
        self._seen_lost = self.loop.lost

    def _note_standstill(self) -> None:
        """A machine that stood still is a disturbance as an outage is: deadlines have passed."""
        if self.loop.lost - self._seen_lost > _STILL:
            self.disturbed(STOOD_STILL).over_at = self.recorder.tick()
        self._seen_lost = self.loop.lost

    def fenced(self, attempts: Iterable[str]) -> None:
        """The server processes of these attempts have ended."""
        for name in attempts:
            self.recorder.fence(name)

    def _take(self, seconds: float, told: list[Answer | Raised] | None = None) -> None:
        self.loop.poll(seconds)
        self._note_standstill()
        for client in list(self._busy):
            try:
                reply = self.clients[client].reply
            except AdapterError as error:
                self._lose(client, str(error))
                continue
            if reply is not None:
                answer = read_attempt(reply)
                self._end(client, answer)
                if told is not None:
                    told.append(answer)
            elif self.loop.now() - self._busy[client].invoked.running > self.limit + PATIENCE:
                self._lose(client, "hangs")

    def _end(self, client: str, told: Answer | Raised) -> None:
        running, answered = self._busy.pop(client), self.clients[client].read_at
        if _failed(told) and answered.monotonic - running.invoked.monotonic >= self.deadline:
            self.recorder.deadline_expired(running.name)
        self.recorder.emit(running.name, told, answered.running)
        self.emitted += 1
        answer = None if isinstance(told, Raised) else told
        if told.in_doubt:
            self.in_doubt.append(running.name)
        self.demand.answered(running.request, answer)
        self._settle(client, running)

    def _settle(self, client: str, running: _Running) -> None:
        """Whoever has made an attempt after an outage has met what it had broken."""
        for disturbance in self._disturbances:
            over = disturbance.over_at
            if over is not None and running.at > over and client in disturbance.starts:
                start = disturbance.starts.pop(client)
                self.recorder.fault_ends(disturbance.kind, start, client)
        self._disturbances = [d for d in self._disturbances if d.starts]

    def _lose(self, client: str, how: str) -> None:
        """It owes its outcome for ever: what is missing from the history is judged."""
        if not self._disturbances:
            raise AdapterError(f"{client}: {how}, and nothing had happened to it")
        running = self._busy.pop(client)
        self.lost.append(f"{running.name}: {how}")
        self.clients[client].kill()
        self.clients[client] = self.hire(client)


def _failed(told: Answer | Raised) -> bool:
    return isinstance(told, Answer) and told.cause is Cause.INFRASTRUCTURE
