"""A schedule as a string: nothing that a strict replay looks at is lost, nothing else is read."""

import base64
import zlib

import pytest
from attrs import evolve

from lastseat.harness.paste import PREFIX, pack, unpack
from lastseat.harness.record import MalformedSchedule, Schedule
from lastseat.harness.scenario import SCENARIOS
from lastseat.harness.schedule.decision import RELEASE, START, Decision, Step

ALICE, BOB = Decision(START, "alice"), Decision(START, "bob")
STEPS = (
    Step(1, ALICE, (ALICE, BOB), "", ("seen by nobody",)),
    Step(
        2,
        Decision("lose-answer", "alice"),
        (Decision(RELEASE, "alice"), BOB),
        "SAVEPOINT a",
        (),
        shape="SAVEPOINT name-1",
    ),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_what_a_replay_compares_comes_back(scenario: object) -> None:
    schedule = Schedule(scenario, "optimistic", STEPS, 7, "capacity")  # type: ignore[arg-type]
    back = unpack(pack(schedule))
    assert [(s.number, s.decision, s.enabled, s.fingerprint, s.shape) for s in back.steps] == [
        (s.number, s.decision, s.enabled, s.fingerprint, s.shape) for s in STEPS
    ]
    assert (back.implementation, back.seed, back.verdict) == ("optimistic", 7, "capacity")
    for name in ("capacities", "attempts", "prior", "deadlines"):
        assert getattr(back.scenario, name) == getattr(scenario, name)


def test_it_can_be_pasted() -> None:
    text = pack(Schedule(SCENARIOS[0], "optimistic", STEPS))
    assert text.startswith(PREFIX)
    assert text.isascii()
    assert not set(text) & set(" \n'\"$`\\!*?&;|<>(){}[]#~=")
    assert unpack(f"  {text}\n").steps[1].decision == STEPS[1].decision


def test_a_string_that_was_cut_or_changed_is_refused() -> None:
    text = pack(Schedule(SCENARIOS[0], "optimistic", STEPS))
    changed = text[:40] + ("B" if text[40] == "A" else "A") + text[41:]
    for wrong in (text[:-9], text[:30], PREFIX, f"{PREFIX}!!!", changed):
        with pytest.raises(MalformedSchedule):
            unpack(wrong)
    other = base64.urlsafe_b64encode(zlib.compress(b'{"format":"lastseat-schedule/2"}')).decode()
    with pytest.raises(MalformedSchedule, match="lastseat-schedule/2"):
        unpack(PREFIX + other)


def test_what_was_only_observed_makes_no_difference_to_the_string() -> None:
    one = Schedule(SCENARIOS[0], "optimistic", STEPS)
    other = evolve(one, steps=tuple(evolve(s, observed=()) for s in STEPS))
    assert pack(one) == pack(other)
