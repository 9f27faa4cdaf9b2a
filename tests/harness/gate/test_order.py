"""What reaches a client is on the gate's record before the client can read it.

A driver may react within microseconds, and hang up at once. So at each moment at which something is
recorded it is looked at what the client could read by then.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple

import psycopg
import pytest
from tests.harness.gate.scene import FLUSH, Raw, Scene, parse, query

from lastseat.harness.gate.events import (
    Answered,
    Broken,
    Cancelled,
    Garbled,
    GateEvent,
    Opened,
    Passed,
    Refused,
    Sent,
)
from lastseat.harness.gate.messages import CANCEL_REQUEST, cut, untyped
from lastseat.harness.gate.treatment import Reception, Then, Treatment, all_but_the_last, fatal


class Recorded(list[GateEvent]):
    """The gate's list of events, which notes for each how much its client could read by then."""

    def __init__(self) -> None:
        super().__init__()
        self.readable: list[tuple[GateEvent, int]] = []
        self.raw: Raw | None = None

    def append(self, event: GateEvent) -> None:
        super().append(event)
        if self.raw is not None:
            self.readable.append((event, len(self.raw.data) + _unread(self.raw)))


def _unread(raw: Raw) -> int:
    try:
        return len(raw.sock.recv(1 << 16, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except (BlockingIOError, ConnectionError):
        return 0


@pytest.fixture
def recorded(scene: Scene) -> Recorded:
    record = Recorded()
    scene.gate._events = record
    return record


def offset(data: bytearray, kind: str) -> int:
    """Where the last message of this kind begins."""
    rest, found, at = bytearray(data), -1, 0
    for message in cut(rest):
        found = at if message.kind == kind else found
        at += len(message.raw)
    assert found >= 0, f"no {kind} in {data!r}"
    return found


class Place(NamedTuple):
    """A place where something leaves for the client: how it is brought about, which message the
    client reads then, and the event that must come before it."""

    act: Callable[[Scene, Raw], object]
    kind: str
    is_recorded: Callable[[GateEvent], bool]
    ready: bool = True
    """Is the client's session open before?"""


def _hold(scene: Scene, raw: Raw) -> None:
    scene.gate.hold("alice")
    raw.send(query("SELECT 1"))
    scene.held()


def _terminate_held(scene: Scene, raw: Raw) -> None:
    _hold(scene, raw)
    (opened,) = scene.of(Opened)
    scene.backends.terminate(opened.backend_pid)


def _terminate_at_work(scene: Scene, raw: Raw) -> None:
    raw.send(query("SELECT pg_sleep(60)"))
    scene.until(lambda: scene.of(Sent))
    (opened,) = scene.of(Opened)
    scene.backends.terminate(opened.backend_pid)


def _last_words(scene: Scene, raw: Raw) -> None:
    _hold(scene, raw)
    scene.held().cut(says=fatal("57P01", "going"))


def _treat(treatment: Treatment) -> Callable[[Scene, Raw], None]:
    def act(scene: Scene, raw: Raw) -> None:
        _hold(scene, raw)
        scene.held().release(treatment)

    return act


def _refuse(scene: Scene, raw: Raw) -> None:
    scene.gate.receive("alice", Reception(fatal("53300", "sorry, too many clients already")))
    raw.log_in()


def _notify(scene: Scene, raw: Raw) -> None:
    raw.send(query("LISTEN news"))
    scene.until(lambda: scene.of(Answered))
    with psycopg.connect(scene.dsn, autocommit=True) as other:
        other.execute("NOTIFY news")


def _answered(*, delivered: bool) -> Callable[[GateEvent], bool]:
    return lambda event: isinstance(event, Answered) and event.delivered is delivered


def _broken(by: str, sqlstate: str | None = None) -> Callable[[GateEvent], bool]:
    def proof(event: GateEvent) -> bool:
        told = event.error.sqlstate if isinstance(event, Broken) and event.error else None
        return isinstance(event, Broken) and event.by == by and told == sqlstate

    return proof


PLACES = {
    "the greeting": Place(
        lambda _, raw: raw.log_in(), "Z", lambda e: isinstance(e, Opened), ready=False
    ),
    "the server refuses": Place(
        lambda _, raw: raw.log_in(no_such_setting="1"),
        "E",
        lambda e: isinstance(e, Refused) and e.error is not None,
        ready=False,
    ),
    "nobody is let in": Place(_refuse, "E", lambda e: isinstance(e, Refused), ready=False),
    "an answer": Place(lambda _, raw: raw.send(query("SELECT 1")), "Z", _answered(delivered=True)),
    "an error": Place(lambda _, raw: raw.send(query("SELECT 1/0")), "E", _answered(delivered=True)),
    "the answer to a flush": Place(
        lambda _, raw: raw.send(parse("SELECT 1"), FLUSH), "1", _answered(delivered=True)
    ),
    "an answer that is cut": Place(
        _treat(Treatment(all_but_the_last)), "C", _answered(delivered=False)
    ),
    "an answer that is cut, and its end": Place(
        _treat(Treatment(all_but_the_last)), "C", _broken("gate")
    ),
    "an answer, and silence": Place(
        _treat(Treatment(all_but_the_last, Then.SILENCE)), "C", _answered(delivered=False)
    ),
    "readiness for rows": Place(
        lambda _, raw: raw.send(query("COPY booking FROM STDIN")),
        "G",
        lambda e: isinstance(e, Passed),
    ),
    "a notification": Place(_notify, "A", lambda e: isinstance(e, Passed)),
    "FATAL between two turns": Place(_terminate_held, "E", _broken("server", "57P01")),
    "FATAL in an answer's place": Place(_terminate_at_work, "E", _broken("server", "57P01")),
    "last words of the gate's": Place(_last_words, "E", _broken("gate", "57P01")),
    "noise, which ends the session": Place(
        lambda _, raw: raw.send(b"?\0\0\0\x04"), "E", _broken("gate", "08P01")
    ),
    "noise, and what it was": Place(
        lambda _, raw: raw.send(b"?\0\0\0\x04"), "E", lambda e: isinstance(e, Garbled)
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_reaches_a_client_is_recorded_before(
    scene: Scene, recorded: Recorded, name: str
) -> None:
    place = PLACES[name]
    raw = scene.raw_ready() if place.ready else scene.raw()
    recorded.raw = raw
    place.act(scene, raw)
    scene.until(lambda: f"{place.kind}\0".encode() in raw.data)
    at = offset(raw.data, place.kind)
    before = [event for event, readable in recorded.readable if readable <= at]
    assert any(map(place.is_recorded, before)), recorded.readable


def test_a_client_hears_of_the_end_only_when_it_is_recorded(
    scene: Scene, recorded: Recorded
) -> None:
    """No byte is left to come by which the record could still learn of the end."""
    raw = scene.raw_ready()
    recorded.raw = raw
    _terminate_held(scene, raw)
    scene.until(lambda: raw.data)
    assert [type(event) for event in scene.events][-1] is Broken


def test_a_cancellation_is_recorded_before_the_server_hears_of_it(scene: Scene) -> None:
    raw = scene.raw()
    raw.log_in()
    scene.until(lambda: b"Z\0\0\0\5" in raw.data)
    at = raw.data.index(b"K\0\0\0\x0c") + 5
    key = bytes(raw.data[at : at + 8])
    (opened,) = scene.of(Opened)
    lock = "SELECT pg_advisory_lock(1)"
    with psycopg.connect(scene.dsn) as holder:
        holder.execute(lock)
        raw.send(query(lock))
        # Sooner than that, the server may not have begun: it would take no notice of the request.
        scene.until(lambda: scene.backends.blockers({opened.backend_pid}))
        asking = scene.raw()
        asking.send(untyped(CANCEL_REQUEST, key))
        scene.until(lambda: scene.of(Answered))
    kinds = [type(event) for event in scene.events]
    assert kinds.index(Cancelled) < kinds.index(Answered)
    (cancelled,) = scene.of(Cancelled)
    assert cancelled.connection == opened.connection
