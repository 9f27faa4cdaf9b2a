"""Which moves depend on each other: whoever errs here lets a search go blind."""

import pytest
from attrs import evolve

from lastseat.harness.schedule.footprint import ALL, NOTHING, Footprint, dependent

R1, R2 = frozenset({"r1"}), frozenset({"r2"})
READ = Footprint(reads=R1)
WRITE = Footprint(reads=R1, writes=R1)
COMMIT = Footprint(commits=R1)
ABORT = Footprint(aborts=R1)
OTHER = Footprint(reads=R2, writes=R2)
ANYTHING = Footprint(reads=ALL, writes=ALL)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (NOTHING, ANYTHING, False),  # BEGIN takes no snapshot
        (READ, READ, False),
        (READ, WRITE, False),  # nobody sees what is merely written
        (READ, COMMIT, True),
        (READ, ABORT, False),
        (WRITE, WRITE, True),
        (WRITE, COMMIT, True),  # who waits for the lock wakes
        (WRITE, ABORT, True),
        (COMMIT, COMMIT, True),  # deferred checks look at what the other has done
        (COMMIT, ABORT, True),
        (ABORT, ABORT, False),
        (WRITE, OTHER, False),
        (COMMIT, OTHER, False),
        (ANYTHING, OTHER, True),
        (ANYTHING, COMMIT, True),
    ],
)
def test_at_read_committed(a: Footprint, b: Footprint, expected: bool) -> None:
    assert dependent(a, b) is expected
    assert dependent(b, a) is expected


def test_above_read_committed_only_reads_and_what_is_local_can_be_swapped() -> None:
    above = [evolve(each, snapshot=True) for each in (READ, WRITE, COMMIT, ABORT)]
    for each in above:
        assert not dependent(each, evolve(NOTHING, snapshot=True))
        assert dependent(each, OTHER)
        assert dependent(OTHER, each)
    assert not dependent(above[0], READ)
    assert not dependent(above[0], Footprint(reads=R2))


def test_whether_an_attempt_ends_before_another_begins_can_be_noticed() -> None:
    begins, ends = Footprint(begins=True), Footprint(ends=True)
    assert dependent(begins, ends)
    assert dependent(ends, begins)
    assert not dependent(begins, begins)
    assert not dependent(ends, ends)
