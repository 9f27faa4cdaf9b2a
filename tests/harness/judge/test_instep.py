"""The model in step: what it objects to, and beside it what comes close and is right."""

from collections.abc import Callable

import pytest

from lastseat.harness.judge.instep import InStep
from lastseat.spec.events import CommitSent, Phase, Seen, What
from lastseat.spec.resource import State
from lastseat.spec.rules import Rule
from lastseat.spec.vocabulary import (
    BOOKED,
    CONFLICT,
    IN_DOUBT,
    INFRASTRUCTURE,
    REJECTED,
    Answer,
    Request,
)

Story = Callable[["Told"], None]


class Told:
    """Tells a model of one resource what happens, in few words."""

    def __init__(self, capacity: int = 1) -> None:
        self.model = InStep(State())
        self.model.declare("r1", capacity)

    def invoke(self, *names: str, booking: str = "", units: int = 1) -> "Told":
        for name in names:
            self.model.invoked(name, Request(booking or f"b-{name}", "r1", units))
        return self

    def see(self, *rows: tuple[str, int], booked: int | None = None) -> "Told":
        self.model.observed("r1", rows, booked)
        return self

    def emit(self, name: str, answer: Answer) -> "Told":
        self.model.emitted(name, answer)
        return self

    def commit(self, name: str, reply: What | None = None) -> "Told":
        """It sends its commit; what comes back, if not success."""
        self.model.noted(CommitSent(0, name))
        if reply is not None:
            self.model.noted(Seen(0, name, reply, None, Phase.COMMIT))
        return self

    def fence(self, name: str) -> "Told":
        self.model.fenced(name)
        return self

    @property
    def rules(self) -> set[Rule]:
        return {objection.rule for objection in self.model.objections}


A, B = ("b-a", 1), ("b-b", 1)

CONVICTED: dict[str, tuple[Rule, Story]] = {
    "booked, and no row": (Rule.BOOKED, lambda t: t.invoke("a").emit("a", BOOKED)),
    "booked, with other units": (
        Rule.BOOKED,
        lambda t: t.invoke("a").see(("b-a", 2)).emit("a", BOOKED),
    ),
    "a row is lost": (
        Rule.BOOKED,
        lambda t: t.invoke("a").see(A).emit("a", BOOKED).see(),
    ),
    "a row changes its units": (
        Rule.BOOKED,
        lambda t: t.invoke("a").see(A).emit("a", BOOKED).see(("b-a", 0)),
    ),
    "more than there is": (Rule.CAPACITY, lambda t: t.invoke("a", "b").see(A, B)),
    "one after the other, and no room for the second": (
        Rule.CAPACITY,
        lambda t: t.invoke("a", "b").see(A).see(A, B),
    ),
    "one id, two rows": (Rule.ONE_ID, lambda t: t.invoke("a").see(A, A)),
    "a row that nobody asked for": (Rule.ONE_ID, lambda t: t.see(A)),
    "the counter is ahead of the rows": (Rule.COUNTER, lambda t: t.invoke("a").see(booked=1)),
    "the counter is behind the rows": (Rule.COUNTER, lambda t: t.invoke("a").see(A, booked=0)),
    "rejected with room": (Rule.REJECTED, lambda t: t.invoke("a").emit("a", REJECTED)),
    "rejected before it was full": (
        Rule.REJECTED,
        lambda t: t.invoke("a", "b").emit("b", REJECTED).see(A),
    ),
    "rejected, and booked": (
        Rule.REJECTED,
        lambda t: t.invoke("a").see(A).emit("a", REJECTED),
    ),
    "rejected, and booked afterwards": (
        Rule.REJECTED,
        lambda t: t.invoke("a", "b").see(B).emit("a", REJECTED).see(A),
    ),
    "a conflict, and booked": (Rule.CONFLICT, lambda t: t.invoke("a").see(A).emit("a", CONFLICT)),
    "a conflict, and booked afterwards": (
        Rule.CONFLICT,
        lambda t: t.invoke("a").emit("a", CONFLICT).see(A),
    ),
    "failed without doubt, and booked": (
        Rule.INFRASTRUCTURE,
        lambda t: t.invoke("a").see(A).emit("a", INFRASTRUCTURE),
    ),
    "failed without doubt, and booked afterwards": (
        Rule.INFRASTRUCTURE,
        lambda t: t.invoke("a").emit("a", INFRASTRUCTURE).see(A),
    ),
    "doubt denied": (
        Rule.INFRASTRUCTURE,
        lambda t: t.invoke("a").commit("a", What.LOST).emit("a", INFRASTRUCTURE),
    ),
    "rejected while its commit is on the way": (
        Rule.REJECTED,
        lambda t: (
            t.invoke("a", "b")
            .commit("b", What.DEADLINE)
            .see(A)
            .emit("a", BOOKED)
            .emit("b", REJECTED)
        ),
    ),
    "its commit was refused, and booked afterwards": (
        Rule.INFRASTRUCTURE,
        lambda t: t.invoke("a").commit("a", What.ERROR).emit("a", INFRASTRUCTURE).see(A),
    ),
    "its commit was confirmed, and it says that it failed": (
        Rule.INFRASTRUCTURE,
        lambda t: t.invoke("a").commit("a").see(A).emit("a", INFRASTRUCTURE),
    ),
    "in doubt, and booked after its fence": (
        Rule.ONE_ID,
        lambda t: t.invoke("a").emit("a", IN_DOUBT).fence("a").see(A),
    ),
}

RIGHT: dict[str, Story] = {
    "booked, and the row is there": lambda t: t.invoke("a").see(A, booked=1).emit("a", BOOKED),
    "booked again": lambda t: (
        t.invoke("a").see(A).emit("a", BOOKED).invoke("c", booking="b-a").emit("c", BOOKED)
    ),
    "booked by whoever was faster": lambda t: (
        t.invoke("a", "c", booking="b-x").see(("b-x", 1)).emit("a", BOOKED).emit("c", BOOKED)
    ),
    "rejected once it was full": lambda t: t.invoke("a", "b").see(A).emit("b", REJECTED),
    "rejected although there is room again no more": lambda t: (
        t.invoke("a").see(A).emit("a", BOOKED).invoke("b").emit("b", REJECTED)
    ),
    "a conflict without an effect": lambda t: t.invoke("a", "b").see(A).emit("b", CONFLICT),
    "a conflict while another attempt books the same id": lambda t: (
        t.invoke("a", "c", booking="b-x").see(("b-x", 1)).emit("a", CONFLICT).emit("c", BOOKED)
    ),
    "failed without doubt and without an effect": lambda t: t.invoke("a").emit("a", INFRASTRUCTURE),
    "in doubt, and booked": lambda t: t.invoke("a").see(A).emit("a", IN_DOUBT),
    "in doubt, and booked later": lambda t: t.invoke("a").emit("a", IN_DOUBT).see(A),
    "in doubt, and never booked": lambda t: t.invoke("a").emit("a", IN_DOUBT).fence("a").see(),
    "its commit was refused, and it failed": lambda t: (
        t.invoke("a").commit("a", What.ERROR).emit("a", INFRASTRUCTURE)
    ),
    "it committed something else, and was rejected": lambda t: (
        t.invoke("a", "b").see(A).emit("a", BOOKED).commit("b").emit("b", REJECTED)
    ),
    "no counter beside the rows": lambda t: t.invoke("a").see(A, booked=None).emit("a", BOOKED),
}


@pytest.mark.parametrize("case", CONVICTED)
def test_it_objects_to_what_cannot_be(case: str) -> None:
    rule, story = CONVICTED[case]
    told = Told()
    story(told)
    assert rule in told.rules


@pytest.mark.parametrize("case", RIGHT)
def test_it_has_nothing_against_what_can_be(case: str) -> None:
    told = Told()
    RIGHT[case](told)
    assert told.model.objections == []


def test_doubt_that_is_denied_is_not_held_against_the_next_attempt_of_its_id() -> None:
    """The commit lands while, or before, the same id is asked again: that BOOKED is right."""
    denied = Told().invoke("a", booking="b-x").commit("a", What.LOST).emit("a", INFRASTRUCTURE)
    denied.invoke("c", booking="b-x").see(("b-x", 1)).emit("c", BOOKED)
    assert [(o.rule, o.attempt) for o in denied.model.objections] == [(Rule.INFRASTRUCTURE, "a")]


def test_an_objection_names_the_attempt_and_what_would_have_been_legal() -> None:
    told = Told().invoke("a").emit("a", REJECTED)
    (objection,) = told.model.objections
    assert objection.attempt == "a"
    assert "1 of r1 as b-a was answered REJECTED; legal was" in objection.words
    assert "FAILED(CONFLICT)" in objection.words


def test_the_same_thing_is_objected_to_once() -> None:
    told = Told().invoke("a").see(booked=1).see(booked=1)
    assert len(told.model.objections) == 1


def test_after_an_objection_it_goes_on_from_what_is_there() -> None:
    """One mistake is one objection, not one for every later step."""
    told = Told().invoke("a", "b").see(A, B).emit("a", BOOKED).emit("b", BOOKED)
    assert told.rules == {Rule.CAPACITY}
