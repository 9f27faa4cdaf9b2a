"""Outages are seen to happen, or they did not happen; some of them here."""

import json
import random

import pytest
from attrs import evolve

from lastseat.harness.load.outage_trials import CLIENTS, server_faults
from lastseat.harness.outages import LOSSES, OUTAGES, Need
from lastseat.harness.outages.outage import Site, stopped
from lastseat.harness.postgres import open_target
from lastseat.harness.registry import resolve
from lastseat.harness.verdict import Verdict

# What a machine may not grant, and what any machine does.
_NEEDY = ("read-only-standby", "half-open", "disk-full")
SOME = ("starting-up", "freeze-server", "lock-table-full", *_NEEDY)


@pytest.fixture
def site(target):
    with open_target(server=target.server) as own:
        name = own.dsn.partition("dbname=")[2].split()[0]
        yield Site(own.server, name, own.dsn, list, random.Random(0))


def test_some_outages_strike_and_nothing_illegal_follows(tmp_path):
    results = server_faults(resolve("optimistic"), tmp_path, names=SOME)
    available = [tried for tried in results if tried.trial is not None]
    assert {tried.outage.name for tried in available} >= set(SOME) - set(_NEEDY)
    assert all(tried.verdict is Verdict.PASS for tried in results), [t.words for t in results]
    assert all(tried.applies for tried in available), [t.words for t in results]
    for tried in available:
        assert {"FAILED(INFRASTRUCTURE)", "FAILED(INFRASTRUCTURE, in doubt)"} & set(
            tried.trial.checked.answers
        )


def test_a_default_time_out_meets_who_sets_none_and_spares_who_does(tmp_path):
    names = ("lock-timeout", "statement-timeout")
    for name, meets in (("guarded-update", True), ("optimistic", False)):
        results = server_faults(resolve(name), tmp_path / name, names=names)
        words = [tried.words for tried in results]
        assert [tried.applies for tried in results] == [meets, meets], words
        assert {tried.verdict for tried in results} == {Verdict.PASS}, words


def test_on_the_users_server_only_our_own_sessions_are_touched(server, tmp_path):
    names = ("terminate", "crash-restart")
    pid = server.pid
    first, second = server_faults(
        resolve("optimistic"), tmp_path, dsn=server.dsn(), names=names, required=names
    )
    assert (first.verdict, first.applies) == (Verdict.PASS, True), first.words
    assert (second.verdict, second.trial) == (Verdict.INCONCLUSIVE, None)
    assert second.words == f"unavailable, needs {Need.SERVER.value}"
    assert server.pid == pid
    assert {client for kind, client in _faults(first.trial.path) if kind == "terminate"} == set(
        CLIENTS
    ), "an outage meets every client, and the history says so of each"


def _faults(history):
    lines = map(json.loads, history.read_text().splitlines())
    return [(line["kind"], line["client"]) for line in lines if line["type"] == "fault"]


def test_what_was_not_seen_to_happen_makes_it_inconclusive(tmp_path, monkeypatch):
    idle = evolve(OUTAGES["terminate"], strike=lambda _: None)
    broken = evolve(OUTAGES["cancel"], strike=lambda _: "x".index("y"))
    monkeypatch.setattr(
        "lastseat.harness.load.outage_trials.OUTAGES", {"idle": idle, "broken": broken}
    )
    first, second = server_faults(resolve("optimistic"), tmp_path, names=("idle", "broken"))
    assert first.verdict is second.verdict is Verdict.INCONCLUSIVE
    assert "it was not seen to happen" in first.words
    assert "ValueError" in second.words


def test_the_log_tells_errors_of_others_from_our_own(site):
    site.mark()
    with site.session() as session:
        with pytest.raises(Exception, match="division"):
            session.execute("SELECT 1 / 0")
        assert site.logged("22012") == 0
        with open_target(server=site.own) as other, pytest.raises(Exception, match="division"):
            _ask(other.dsn)
        assert site.logged("22012") == 1
        assert site.logged("57014") == 0
    site.mark()
    assert site.logged("22012") == 0


def _ask(dsn):
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1 / 0")


def test_every_outage_says_what_it_is():
    for outage in (*OUTAGES.values(), *LOSSES.values()):
        assert outage.words
        assert outage.stands_for
        assert (outage.synchronous is not None) == (Need.STANDBY in outage.needs)
    assert not stopped(1)
