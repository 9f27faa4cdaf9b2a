"""Every fault is proved to have fired, whichever way its client leaves the connection."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tests.harness.gate.scene import (
    SYNC,
    TERMINATE,
    Raw,
    Scene,
    bind,
    describe,
    execute,
    parse,
    query,
)

from lastseat.harness.faults import FAULTS, Circumstances, Constraint
from lastseat.harness.gate import messages
from lastseat.harness.gate.connection import Connection
from lastseat.harness.gate.events import Cancelled
from lastseat.harness.gate.isolation import Level
from lastseat.harness.meetings import Meetings

UPDATE = "UPDATE seat SET taken = taken + 1 WHERE id = 1"
CHANGE = parse(UPDATE) + bind() + describe() + execute() + SYNC
VIOLATED = {
    "23505": Constraint("23505", "duplicate key", "public", "seat", "seat_pkey"),
    "23514": Constraint("23514", "new row violates", "public", "seat", "seat_check"),
}
WAITING = ("lose-waiting", "reset-waiting", "cancel-waiting", "outwait")
CONNECTING = tuple(name for name in FAULTS if name.endswith("-connecting") or "refuse-" in name)
LATER = ("arrive-late", "vanish")
IN_TURN = tuple(name for name in FAULTS if name not in {*WAITING, *CONNECTING, *LATER})


class Client:
    """A raw client that knows its cancellation key."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.raw = scene.raw()
        self.raw.log_in()
        self._key = b""

    def start(self) -> None:
        """Read the greeting."""
        while True:
            found = self.scene.until(lambda: messages.cut_first(self.raw.data))
            if found.kind == "K":
                self._key = found.payload
            if found.kind == "Z":
                return

    def cancels(self) -> None:
        """Ask the server to cancel, wait until it has been asked, then leave politely."""
        request = self.scene.raw()
        request.send(messages.untyped(messages.CANCEL_REQUEST, self._key))
        self.scene.until(lambda: request.ended)
        self.says_goodbye()

    def hangs_up(self) -> None:
        """Close the socket without a word."""
        self.raw.close()

    def resets(self) -> None:
        """Close the socket with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.raw.close()

    def says_goodbye(self) -> None:
        """Send Terminate, and close the socket."""
        if not self.raw.ended:
            self.raw.send(TERMINATE)
        self.raw.close()


Leave = Callable[[Client], None]
LEAVING: tuple[Leave, ...] = (
    Client.cancels,
    Client.hangs_up,
    Client.resets,
    Client.says_goodbye,
)


@pytest.fixture(params=LEAVING, ids=lambda leave: leave.__name__)
def leave(request: pytest.FixtureRequest) -> Leave:
    found: Leave = request.param
    return found


@pytest.fixture
def client(scene: Scene) -> Client:
    made = Client(scene)
    made.start()
    return made


@contextmanager
def locked(scene: Scene) -> Iterator[None]:
    """Another session holds the row."""
    with psycopg.connect(scene.dsn) as holder:
        holder.execute(UPDATE)
        yield


def waits_for_lock(scene: Scene, raw: Raw) -> Connection:
    """The client's connection, whose statement waits for the row."""
    raw.send(query(UPDATE))
    (connection,) = scene.gate.of("alice")
    pid = connection.backend_pid
    scene.until(lambda: scene.backends.blockers([pid])[pid])
    return connection


def strike(scene: Scene, fault: str, connection: Connection) -> None:
    where = Circumstances(level=Level.SERIALIZABLE)
    place = scene.place(connection, violated=VIOLATED.get, where=where)
    assert FAULTS[fault].available(place)
    FAULTS[fault].trigger(place)


def assert_fires(scene: Scene, fault: str, connection: Connection | None) -> None:
    scene.until(lambda: fired(scene, fault, connection))


def fired(scene: Scene, fault: str, connection: Connection | None, since: int = 0) -> bool:
    number = connection.number if connection is not None else None
    return FAULTS[fault].fired(number, "alice", scene.events[since:]) is not None


@pytest.mark.parametrize("fault", IN_TURN)
def test_a_fault_at_a_turn(scene: Scene, client: Client, leave: Leave, fault: str) -> None:
    if fault not in {"fatal-53300", "fatal-57P03"}:
        client.raw.send(query("BEGIN"))
        client.raw.until("Z")
    scene.gate.hold("alice")
    # The longest answer that there is, so that it can be cut anywhere.
    client.raw.send(query("COMMIT") if fault == "rolled-back" else CHANGE)
    connection = scene.held()
    strike(scene, fault, connection)
    if not FAULTS[fault].waits:
        scene.until(lambda: client.raw.data or client.raw.ended)
    leave(client)
    assert_fires(scene, fault, connection)


@pytest.mark.parametrize("fault", WAITING)
def test_a_fault_in_a_wait_for_a_lock(
    scene: Scene, client: Client, leave: Leave, fault: str
) -> None:
    with locked(scene):
        connection = waits_for_lock(scene, client.raw)
        strike(scene, fault, connection)
        if fault != "outwait":
            scene.until(lambda: client.raw.data or client.raw.ended)
        leave(client)
        assert_fires(scene, fault, connection)


@pytest.mark.parametrize("fault", CONNECTING)
def test_a_fault_while_it_connects(scene: Scene, client: Client, leave: Leave, fault: str) -> None:
    (connection,) = scene.gate.of("alice")
    FAULTS[fault].trigger(scene.place(connection))
    again = Client(scene)
    if not FAULTS[fault].waits:
        scene.until(lambda: again.raw.data or again.raw.ended)
    leave(again)
    assert_fires(scene, fault, None)


@pytest.mark.parametrize("fault", LATER)
def test_a_fault_to_a_turn_that_is_stuck(
    scene: Scene, client: Client, leave: Leave, fault: str
) -> None:
    scene.gate.hold("alice")
    client.raw.send(query(UPDATE))
    connection = scene.held()
    strike(scene, "stall-request", connection)
    leave(client)
    scene.until(lambda: connection.closed)
    seen = len(scene.events)
    strike(scene, fault, connection)
    scene.until(lambda: fired(scene, fault, None, since=seen))


def test_a_wait_that_the_server_ends_by_a_limit_of_the_clients_is_outwaited(
    scene: Scene, client: Client
) -> None:
    client.raw.send(query("SET lock_timeout = '1s'"))
    client.raw.until("Z")
    with locked(scene):
        connection = waits_for_lock(scene, client.raw)
        strike(scene, "outwait", connection)
        assert_fires(scene, "outwait", connection)


def test_a_wait_that_ends_with_the_lock_is_not_outwaited(scene: Scene, client: Client) -> None:
    with locked(scene):
        connection = waits_for_lock(scene, client.raw)
        strike(scene, "outwait", connection)
    client.raw.until("Z")
    assert not fired(scene, "outwait", connection)


def test_a_cancellation_of_another_connection_proves_nothing(scene: Scene, client: Client) -> None:
    with locked(scene):
        connection = waits_for_lock(scene, client.raw)
        strike(scene, "outwait", connection)
        other = Client(scene)
        other.start()
        other.cancels()
        scene.until(lambda: scene.of(Cancelled))
        assert not fired(scene, "outwait", connection)


def test_who_cancels_and_keeps_its_connection_is_outwaited_once(
    scene: Scene, client: Client
) -> None:
    """The fault is over with the wait, and the next wait on that connection is an ordinary one."""
    meetings = Meetings(iter(range(100)).__next__, scene.gate.left)
    with locked(scene):
        connection = waits_for_lock(scene, client.raw)
        meetings.trigger(FAULTS["outwait"], scene.place(connection), UPDATE)
        scene.backends.cancel(connection.backend_pid)
        client.raw.until("Z")
    meetings.look(scene.events)
    assert [fault.end for fault in meetings.lines()] == [1]
    assert not connection.outwaited
