"""Who gets in at the gate, and what becomes of those that do not."""

from __future__ import annotations

import resource
import time
from urllib.parse import urlsplit

import psycopg
import pytest
from tests.harness import strangers
from tests.harness.gate.scene import Scene, query

from lastseat.harness.gate import entrance, messages
from lastseat.harness.gate.events import Cancelled, Opened
from lastseat.harness.gate.messages import message, startup

EVERYBODY = [strangers.another_user, strangers.same_user]


def port(scene: Scene, client: str = "alice") -> int:
    number = urlsplit(scene.gate.admit(client)).port
    assert number is not None
    return number


def backends_here(scene: Scene) -> int:
    return len(scene.backends.here())


# Who knows the password gets in.


def test_the_password_of_the_url_admits(scene: Scene) -> None:
    raw = scene.raw()
    raw.ask_in()
    assert scene.of(Opened) == []
    raw.show(raw.password)
    greeting = raw.until("Z")
    assert greeting.startswith("R")
    assert "K" in greeting
    (opened,) = scene.of(Opened)
    assert scene.backends.alive([opened.backend_pid])


def test_encryption_is_refused_politely_and_the_connection_goes_on(scene: Scene) -> None:
    raw = scene.raw()
    raw.send(messages.untyped(messages.GSSENC_REQUEST))
    assert raw.bytes(1) == b"N"
    raw.send(messages.untyped(messages.SSL_REQUEST))
    assert raw.bytes(1) == b"N"
    raw.log_in()
    assert raw.until("Z")


def test_start_up_and_password_may_come_in_pieces(scene: Scene) -> None:
    raw = scene.raw()
    packets = startup({"user": "x", "database": "x"}) + message("p", raw.password.encode() + b"\0")
    for at in range(0, len(packets), 3):
        raw.send(packets[at : at + 3])
        scene.loop.poll(0.01)
    assert raw.until("Z").startswith("RR")


def test_what_a_client_says_at_once_behind_the_password_is_read(scene: Scene) -> None:
    raw = scene.raw()
    raw.ask_in()
    raw.send(message("p", raw.password.encode() + b"\0"), query("SELECT 1"))
    raw.until("Z")
    assert raw.until("Z") == "TDCZ"


def test_each_client_has_a_password_of_its_own(scene: Scene) -> None:
    raw, other = scene.raw("alice"), scene.raw("bob")
    raw.ask_in()
    raw.show(other.password)
    assert raw.to_the_end() == "E"
    assert scene.events == []


def test_the_password_cannot_be_guessed_from_another(scene: Scene) -> None:
    passwords = {urlsplit(scene.gate.admit(f"client {n}")).password for n in range(50)}
    assert len(passwords) == 50
    assert {len(password or "") for password in passwords} == {32}


# Who does not know it is nobody.


@pytest.mark.parametrize("uid", EVERYBODY)
def test_whatever_a_stranger_says_it_gets_no_session_and_is_no_event(
    scene: Scene, uid: int | None
) -> None:
    client = scene.raw_ready()
    before = scene.of(Opened)
    ports, here = [port(scene, "alice"), port(scene, "bob")], backends_here(scene)
    told = scene.finish(scene.talk(strangers.do, uid, ports, "talk"))
    assert len(told) >= 2 * 14
    for words in told:
        assert "got in" not in words
        assert words.replace("N", "")[:1] in {"", "R", "E"}
        # It was asked for the password, or told that it was wrong: no session was opened.
        assert "R\0\0\0\x08\0\0\0\0" not in words
    assert scene.of(Opened) == before
    assert scene.events == before
    assert backends_here(scene) == here
    client.send(query("SELECT 1"))
    assert client.until("Z") == "TDCZ"


def test_a_wrong_password_is_told_as_such(scene: Scene) -> None:
    raw = scene.raw()
    raw.ask_in()
    raw.show("wrong")
    scene.until(lambda: raw.ended)
    assert b"C28P01\0" in raw.data
    assert b"password in its URL" in raw.data
    assert scene.gate.locked_out() == ["alice"]
    scene.raw_ready()
    assert scene.gate.locked_out() == []


def test_a_driver_that_was_given_no_password_says_so(scene: Scene) -> None:
    url = scene.gate.admit("alice")
    password = urlsplit(url).password
    assert password is not None
    talk = scene.talk(psycopg.connect, url.replace(f":{password}@", "@"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        scene.finish(talk)
    scene.until(scene.gate.locked_out)
    assert scene.events == []


@pytest.mark.parametrize("uid", EVERYBODY)
def test_a_thousand_half_open_connections_keep_nobody_out(scene: Scene, uid: int | None) -> None:
    """They are more than the gate keeps; and more than the machine lets wait."""

    def connect(url: str) -> int:
        with psycopg.connect(url, connect_timeout=20) as connection:
            return connection.execute("SELECT 7").fetchone()[0]

    url = scene.gate.admit("alice")
    stranger = scene.finish(
        scene.talk(lambda: strangers.Beside(uid, [port(scene)], "half_open", 1000).__enter__())
    )
    try:
        for _ in range(3):
            assert scene.finish(scene.talk(connect, url)) == 7
    finally:
        stranger.__exit__()
    assert stranger.result == 1000


def test_there_are_never_more_visitors_than_a_share_of_the_files(scene: Scene) -> None:
    lobby = scene.gate._lobby
    assert 8 <= lobby.most <= max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8)
    lobby.most = 10
    waiting = [scene.raw() for _ in range(15)]
    scene.until(lambda: sum(raw.ended for raw in waiting) == 5)
    assert [raw.ended for raw in waiting] == [True] * 5 + [False] * 10


def test_idle_connections_make_room_before_those_that_speak(scene: Scene) -> None:
    scene.gate._lobby.most = 10
    speaking = scene.raw()
    speaking.ask_in()
    idle = [scene.raw() for _ in range(30)]
    scene.until(lambda: sum(raw.ended for raw in idle) == 21)
    speaking.show(speaking.password)
    assert speaking.until("Z")


def test_a_visitor_s_time_is_limited(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, other = scene.raw(), scene.raw()
    raw.ask_in()
    now = time.monotonic()
    monkeypatch.setattr(entrance.time, "monotonic", lambda: now + entrance.VISIT_SECONDS + 1)
    scene.gate.drain()
    monkeypatch.undo()
    assert raw.to_the_end() == other.to_the_end() == ""


def test_a_visitor_s_bytes_are_limited(scene: Scene) -> None:
    raw = scene.raw()
    raw.ask_in()
    raw.send(b"p\0\1\0\0" + b"x" * 40_000)
    assert raw.to_the_end() == ""
    assert scene.events == []


def test_strangers_are_no_news(scene: Scene) -> None:
    """Else whoever waits for news would never ask the server who waits for a lock."""
    number = port(scene)
    with strangers.Beside(None, [number], "hammer"):
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert not scene.loop.poll(0.01)


# Cancelling.


def test_a_key_that_was_handed_out_cancels(scene: Scene) -> None:
    raw = scene.raw()
    raw.log_in()
    scene.until(lambda: b"Z\0\0\0\5" in raw.data)
    at = raw.data.index(b"K\0\0\0\x0c") + 5
    key = bytes(raw.data[at : at + 8])
    asking = scene.raw()
    asking.send(messages.untyped(messages.CANCEL_REQUEST, key))
    assert asking.to_the_end() == ""
    (cancelled,) = scene.of(Cancelled)
    assert cancelled.backend_pid == int.from_bytes(key[:4], "big")
    # Nor is it good at another client's port.
    elsewhere = scene.raw("bob")
    elsewhere.send(messages.untyped(messages.CANCEL_REQUEST, key))
    assert elsewhere.to_the_end() == ""
    assert len(scene.of(Cancelled)) == 1


@pytest.mark.parametrize("uid", EVERYBODY)
def test_a_stranger_s_cancel_request_is_not_passed_on(
    scene: Scene, uid: int | None, table: psycopg.Connection
) -> None:
    raw = scene.raw_ready()
    (opened,) = scene.of(Opened)
    key = opened.backend_pid.to_bytes(4, "big") + bytes(4)
    assert scene.finish(scene.talk(strangers.do, uid, [port(scene)], "cancel", key.hex())) == [""]
    assert scene.of(Cancelled) == []
    raw.send(query("SELECT 1"))
    assert raw.until("Z") == "TDCZ"
