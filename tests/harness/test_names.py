"""Ids are fresh in every run, and are spoken of by the scenario's names."""

import re
import uuid

import pytest

from lastseat.harness.names import Fresh, Names


@pytest.mark.parametrize("kind", ["text", "uuid", "integer"])
def test_every_run_has_ids_of_its_own_and_knows_what_they_stand_for(kind: str) -> None:
    fresh = Fresh(kind)
    one, other = Names(fresh), Names(fresh)
    ids = [names.physical(name) for names in (one, other) for name in ("r1", "b1", "b10")]
    assert len(set(ids)) == 6
    assert one.physical("b1") == ids[1]
    assert [one.logical(made) for made in ids[:3]] == ["r1", "b1", "b10"]
    assert one.logical(ids[4]) == ids[4], "another run's id stays as it is"


@pytest.mark.parametrize("kind", ["text", "uuid", "integer"])
def test_workers_side_by_side_have_different_ids(kind: str) -> None:
    mine, theirs = ({source.id("b1") for _ in range(100)} for source in (Fresh(kind), Fresh(kind)))
    assert not mine & theirs


def test_ids_have_the_form_that_was_declared() -> None:
    assert re.fullmatch("[a-z0-9-]{1,64}", Fresh("text").id("quiet-alice"))
    made = Fresh("uuid").id("b1")
    assert str(uuid.UUID(made)) == made
    assert int(Fresh("integer").id("b1")) > 0


@pytest.mark.parametrize("kind", ["text", "uuid", "integer"])
def test_a_statement_is_shown_with_the_names_of_the_scenario(kind: str) -> None:
    names = Names(Fresh(kind))
    b1, b10, r1 = (names.physical(name) for name in ("b1", "b10", "r1"))
    words = f"INSERT INTO t VALUES ($1, $2, $3) [{b10}, {r1}, 1]; x = '{b1}'"
    assert names.plain(words) == "INSERT INTO t VALUES ($1, $2, $3) [b10, r1, 1]; x = 'b1'"


def test_a_number_that_only_contains_an_id_is_no_id() -> None:
    names = Names(Fresh("integer"))
    made = names.physical("r1")
    words = f"[{made}0, 1{made}, 1, 10, {made}]"
    assert names.plain(words) == f"[{made}0, 1{made}, 1, 10, r1]"


def test_a_binary_uuid_is_shown_by_its_name_too() -> None:
    names = Names(Fresh("uuid"))
    assert names.plain(f"[{uuid.UUID(names.physical('b1')).hex}]") == "[b1]"
