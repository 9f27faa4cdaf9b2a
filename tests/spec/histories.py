"""Random histories with all kinds of evidence, mostly ordinary, to compare judges on.

They are runs of a crude booking system that now and then does, or reports, something wrong.
"""

from __future__ import annotations

import random

from attrs import define, evolve, field

from lastseat.spec.events import (
    Audit,
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
    Raise,
    Seen,
    What,
    assemble,
)
from lastseat.spec.resource import Resource
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Request,
)

ERRORS = ("40001", "40P01", "55P03", "23505", "23514", "23P01", "08006", "22003", "0A000", "99999")


@define
class _Writer:
    """Notes events down at random moments, and what is booked meanwhile."""

    rng: random.Random
    capacity: dict[str, int]
    oddity: float
    """How often something unusual happens."""
    booked: dict[str, dict[str, int]] = field(factory=dict)
    events: list[Event] = field(factory=list)
    at: int = 0

    def odd(self) -> bool:
        return self.rng.random() < self.oddity

    def tick(self) -> int:
        self.at += self.rng.choice((0, 1, 1, 2))
        return self.at

    def decide(self, request: Request) -> Answer:
        held = self.booked[request.resource_id]
        if request.booking_id in held:
            return BOOKED
        if sum(held.values()) + request.requested_units > self.capacity[request.resource_id]:
            return REJECTED
        held[request.booking_id] = request.requested_units
        return BOOKED

    def attempt(self, name: str, request: Request) -> list[Event]:
        """What is written down of one attempt after its invocation; times are set later."""
        draw = self.rng.random()
        if request.resource_id not in self.booked or request.requested_units < 1 or self.odd():
            return [Raise(0, name, "no", in_doubt=self.odd())]
        if draw < 0.25:
            told = [Seen(0, name, What.ERROR, self.rng.choice(ERRORS[:4]), self.phase())]
            return [*(told if self.rng.random() < 0.7 else []), Emit(0, name, CONFLICT)]
        if draw < 0.3:
            lost = [Seen(0, name, What.LOST, None, Phase.STATEMENT)]
            return [*(lost if self.rng.random() < 0.7 else []), Emit(0, name, INFRASTRUCTURE)]
        answer = self.decide(request)
        if draw < 0.37:
            if answer is BOOKED and self.rng.random() < 0.5:
                self.booked[request.resource_id].pop(request.booking_id, None)
            seen = Seen(0, name, What.LOST, None, Phase.COMMIT)
            return [CommitSent(0, name), seen, Emit(0, name, IN_DOUBT)]
        if answer is BOOKED:
            return [CommitSent(0, name), Emit(0, name, BOOKED)]
        told = [
            Seen(0, name, What.ERROR, self.rng.choice(("23514", "23514", *ERRORS)), self.phase())
        ]
        return [*(told if self.rng.random() < 0.5 else []), Emit(0, name, REJECTED)]

    def phase(self) -> Phase | None:
        return self.rng.choice((None, *Phase)) if self.odd() else Phase.STATEMENT


def generate(rng: random.Random, most: int = 30) -> History:
    """One history of at most ``most`` attempts."""
    names = ["r"] if rng.random() < 0.5 else ["r", "s", "t"]
    writer = _Writer(
        rng, {name: rng.randint(0, most // 2) for name in names}, rng.choice((0, 0, 0.04))
    )
    prior = {"old": 1} if writer.capacity["r"] and rng.random() < 0.2 else {}
    writer.booked = {name: dict(prior) if name == "r" else {} for name in names}
    _run(writer, rng.randint(0, most), names)
    events = writer.events
    if rng.random() < 0.7:
        events += [_final(rng, writer, name) for name in names if not writer.odd()]
    if rng.random() < 0.6:
        events.append(End(writer.at, ms=float(writer.at)))
    deadline = rng.choice((None, 8.0, 30.0))
    header = Header(
        {n: Resource(c, prior if n == "r" else {}) for n, c in writer.capacity.items()},
        frozenset(e for e in Evidence if rng.random() < 0.6),
        frozenset({"winner"} if rng.random() < 0.3 else ()),
        deadline,
        deadline and 2.0,
    )
    return assemble([header, *_lie(rng, events)])


def _run(writer: _Writer, attempts: int, names: list[str]) -> None:
    rng, active = writer.rng, dict[str, list[Event]]()
    width = rng.choice((1, 1, 3, 6))
    asked: list[Request] = []
    begun = 0
    while begun < attempts or active:
        if begun < attempts and len(active) < width and rng.random() < 0.6:
            name = f"a{begun}"
            begun += 1
            request = _request(writer, asked, names)
            asked.append(request)
            invoke = Invoke(writer.tick(), name, f"c{rng.randrange(4)}", request, float(writer.at))
            writer.events.append(invoke)
            active[name] = writer.attempt(name, request)
        elif active:
            _go_on(writer, active)
        if rng.random() < max(writer.oddity, 0.02):
            start = max(0, writer.at - rng.randint(0, 5))
            client = rng.choice((None, "c0", "c1"))
            end = rng.choice((None, start + rng.randint(0, 9)))
            writer.events.append(Fault("cut", start, end, client))
        if rng.random() < writer.oddity / 3:
            name = rng.choice(names)
            rows = tuple(writer.booked[name].items())
            writer.events.append(Audit(writer.tick(), name, rows, sum(dict(rows).values())))


def _go_on(writer: _Writer, active: dict[str, list[Event]]) -> None:
    """The next event of one of the attempts under way."""
    name = writer.rng.choice(sorted(active))
    event = active[name].pop(0)
    if not active[name]:
        del active[name]
        if writer.odd():  # it hangs
            return
    ends = isinstance(event, Emit | Raise)
    at = writer.tick()
    writer.events.append(evolve(event, at=at, ms=float(at)) if ends else evolve(event, at=at))
    if ends and writer.rng.random() < 0.15:
        writer.events.append(Fence(writer.tick(), name))


def _request(writer: _Writer, asked: list[Request], names: list[str]) -> Request:
    rng = writer.rng
    if asked and rng.random() < 0.3:
        again = rng.choice(asked[-4:])
        return evolve(again, requested_units=rng.randint(0, 3)) if writer.odd() else again
    if writer.odd():
        return Request("old", rng.choice((*names, "nowhere")), 1)
    return Request(f"b{len(asked)}", rng.choice(names), rng.choice((1, 1, 2)))


def _final(rng: random.Random, writer: _Writer, name: str) -> Final:
    rows = list(writer.booked[name].items())
    rng.shuffle(rows)
    if rng.random() < 0.1 and rows:
        rows.pop()
    if rng.random() < 0.1:
        rows.append((f"b{rng.randrange(30)}", rng.randint(1, 2)))
    total = sum(units for _, units in rows)
    return Final(name, tuple(rows), rng.choice((None, total, total, total + writer.odd())))


def _lie(rng: random.Random, events: list[Event]) -> list[Event]:
    """Half of the histories tell of one or two answers that were others."""
    if rng.random() < 0.5:
        return events
    events = list(events)
    for _ in range(rng.choice((1, 2))):
        ends = [i for i, event in enumerate(events) if isinstance(event, Emit)]
        if ends:
            place = rng.choice(ends)
            event = events[place]
            assert isinstance(event, Emit)
            events[place] = evolve(event, answer=rng.choice((BOOKED, REJECTED, REJECTED, CONFLICT)))
    return events
