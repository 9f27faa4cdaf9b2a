"""The kill matrix says what convictions rest on."""

from attrs import evolve

from lastseat.harness.commands.mutants import _summary
from lastseat.harness.mutants.matrix import Fate

FACT = Fate("X01", True, "explore/last-seat", ("capacity",), True, 12, 1.0)


def test_the_matrix_counts_what_was_repeated_and_what_did_not_repeat() -> None:
    repeated = evolve(FACT, name="X46", by_repetition=True)
    doubtful = evolve(repeated, name="X50", not_repeated=2)
    said = list(_summary([FACT, repeated, doubtful], asked=3))
    assert "convicted by facts: 1; by what was repeated: 2" in said
    assert "runs that broke a rule and did not do so again: 2" in said
