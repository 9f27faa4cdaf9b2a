"""Every mistake of an adapter is found, where it is made, and explained; a right one has none."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import jsonschema
import pytest

from lastseat.harness import smoke as smokes
from lastseat.harness.campaign import Campaign
from lastseat.harness.commands import smoke as command
from lastseat.harness.implementations import schema
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.implementations.protocol import AdapterError, encode, read_attempt
from lastseat.harness.postgres import Server, Target
from lastseat.harness.registry import resolve
from lastseat.harness.scenario import named
from lastseat.harness.smoke import Tried, smoke
from lastseat.harness.stage import stage
from lastseat.harness.verdict import Verdict

ADAPTERS = Path(__file__).parent / "adapters"
PARTS = [part for part, _, _ in smokes._PARTS]


def tried(implementation: Implementation, target: Target, logs: Path) -> list[Tried]:
    return [*smoke(implementation, target.dsn, target.dsn, logs)]


def crooked(mistake: str) -> Implementation:
    return Implementation("crooked", (sys.executable, str(ADAPTERS / "crooked.py"), mistake))


@pytest.mark.parametrize("name", ["minimal", "optimistic", "guarded-update"])
def test_a_right_one_is_right_in_every_part(name: str, target: Target, tmp_path: Path) -> None:
    if name == "minimal":
        by_hand = (sys.executable, str(ADAPTERS / "minimal.py"))
        found = tried(Implementation(name, by_hand), target, tmp_path)
    else:
        found = tried(resolve(name), target, tmp_path)
    assert found == [Tried(part) for part in PARTS]


@pytest.mark.parametrize(
    ("mistake", "part", "words"),
    [
        ("no audit", "start:", ["result lacks 'audit'"]),
        ("unknown promise", "start:", ['promises.0 must be one of "winner"', '"loser"']),
        ("misspelt field", "start:", ["fields that there are not: 'promise'", "promises"]),
        ("serial ids", "start:", ["result.ids must be one of", '"serial"']),
        ("audit without parameter", "start:", ["audit.bookings does not fit"]),
        ("wrong seq", "start:", ["without the seq 1", '"seq": 2', "copy its seq"]),
        ("prepare only once", "prepare again", ["an exception in the place of the result"]),
        ("audit of another table", "the audit", ['relation "bookings" does not exist']),
        ("audit of the wrong column", "the audit", ["counter 3", "counter 0"]),
        ("drops the password", "an attempt is BOOKED", ["without the password", "the whole dsn"]),
        ("around the gate", "an attempt is BOOKED", ["nothing of it passed the gate", "dsn"]),
        ("one connection around the gate", "all connections", ["2 connections", "the gate"]),
        ("lower case", "an attempt is BOOKED", ['must be one of "BOOKED"', '"booked"']),
        ("forgotten", "an attempt is BOOKED", ["must be BOOKED, and is REJECTED", "received: {"]),
        ("crash", "an attempt is BOOKED", ["ended with code 1", "the ceiling fell down"]),
        ("hang", "an attempt is BOOKED", ["no reply to attempt", "flush"]),
        ("print", "an attempt is BOOKED", ["not JSON", "'booked!'", "standard error"]),
        ("rejected in another way", "without room", ["must be REJECTED, and is FAILED(CONFLICT)"]),
        ("programming errors are outcomes", "a booked id with", ["no outcome", '"raised"']),
        ("errors are the adapter's", "a booked id with", ["the adapter says"]),
        ("unknown resources are outcomes", "an unknown resource", ["never declared"]),
        ("failed without cause", "a lost connection", ["result lacks 'cause'"]),
        ("keeps connections", "connect again", ["1 earlier connections are still open"]),
        ("goes on after stop", "stop ends", ["still runs", "answered stop"]),
        ("goes on after its input", "so does", ["still runs", "end of its standard input"]),
    ],
)
def test_a_mistake_is_found_in_its_place_and_explained(
    mistake: str,
    part: str,
    words: list[str],
    target: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AROUND", target.dsn)
    monkeypatch.setattr(smokes, "_ENDING", 1.0)
    if mistake == "hang":
        monkeypatch.setattr(smokes, "_PATIENCE", 1.0)
    found = tried(crooked(mistake), target, tmp_path)
    first = next(each for each in found if each.mistake)
    assert first.part.startswith(part), first
    for word in words:
        assert word in first.mistake, first.mistake
    assert "what to do: " in first.mistake or "its last words" in first.mistake


@pytest.mark.parametrize("when", ["one", "a later"])
def test_a_verification_finds_who_goes_around_the_gate(
    when: str, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AROUND", target.dsn)
    wrong = crooked(f"{when} connection around the gate")

    def warm_up() -> None:
        with stage(wrong, target.dsn, tmp_path, names=("alice",)) as ready:
            Campaign(ready, tmp_path).warm_up(named("in-turn"))

    with pytest.raises(AdapterError, match="did not come through the gate"):
        warm_up()


def test_a_verification_finds_a_client_without_its_password(target: Target, tmp_path: Path) -> None:
    with stage(crooked("drops the password"), target.dsn, tmp_path, names=("alice",)) as ready:
        campaign = Campaign(ready, tmp_path)
        with pytest.raises(AdapterError, match="alice did not get in"):
            campaign.warm_up(named("in-turn"))
        assert campaign.convicted == []


def test_the_command_ends_with_3_and_the_mistake(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = crooked("unknown resources are outcomes")
    assert command.try_it(wrong, server.dsn(), tmp_path) is Verdict.ERROR
    text = capsys.readouterr().out
    assert "WRONG  an unknown resource is raised" in text
    assert 'received: {"seq":' in text
    assert text.splitlines()[-1].startswith("1 mistake")


# The schema.


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.SCHEMA.read_text()))


def test_the_schema_and_the_reader_agree_on_every_outcome() -> None:
    """Whatever the three fields say."""
    outcomes = ("BOOKED", "REJECTED", "FAILED", "booked", None)
    causes = ("CONFLICT", "INFRASTRUCTURE", "LUCK", None, ...)
    doubts = (True, False, "yes", ...)
    legal = 0
    for values in product(outcomes, causes, doubts):
        fields = zip(("outcome", "cause", "in_doubt"), values, strict=True)
        result = {name: value for name, value in fields if value is not ...}
        reply = {"seq": 1, "result": result}
        fits = not schema.mistakes("reply", "attempt", reply)
        try:
            read_attempt(reply)
        except AdapterError:
            assert not fits, result
        else:
            assert fits, result
            legal += 1
    assert legal >= 5


@pytest.mark.parametrize(
    ("cmd", "fields"),
    [
        ("start", {"protocol": 1}),
        ("prepare", {"dsn": "postgresql://me@127.0.0.1/db"}),
        ("declare", {"dsn": "postgresql://x/y", "resource_id": "r-1", "capacity": 0}),
        ("connect", {"dsn": "postgresql://x/y", "deadline_ms": 5000}),
        ("attempt", {"booking_id": "b-1", "resource_id": "r-1", "requested_units": 1}),
        ("stop", {}),
    ],
)
def test_requests_fit_the_schema(cmd: str, fields: dict[str, object]) -> None:
    request = json.loads(encode(1, cmd, **fields))
    assert schema.mistakes("request", cmd, request) == ()
    assert schema.mistakes("request", cmd, {**request, "more": 1})
    if fields:
        assert schema.mistakes("request", cmd, {"seq": 1, "cmd": cmd})


@pytest.mark.parametrize("cmd", ["prepare", "declare", "connect", "stop"])
def test_what_is_done_is_an_object_or_an_error(cmd: str) -> None:
    assert schema.mistakes("reply", cmd, {"seq": 1, "result": {}}) == ()
    assert schema.mistakes("reply", cmd, {"seq": 1, "errored": {"message": "no"}}) == ()
    for wrong in ({"result": None}, {}, {"raised": {"message": "x"}}, {"errored": "no"}):
        assert schema.mistakes("reply", cmd, {"seq": 1, **wrong})
