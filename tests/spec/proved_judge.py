"""What CrossHair proves of the judge's arithmetic, over all numbers, for small shapes of history.

As in ``proved``: given, in the first assertions; what follows, in the last one.
"""

from __future__ import annotations

from lastseat.spec.effects import tipping
from lastseat.spec.failures import Bookings, Crowd, Intervals
from lastseat.spec.sweep import with_room


def a_rejection_is_wrong_exactly_when_its_units_fitted(
    capacity: int, one: int, two: int, n: int
) -> None:
    """After the first of two bookings, and before the second."""
    assert one >= 1
    assert two >= 1
    assert n >= 1
    assert one + two <= capacity
    wrong = list(with_room(capacity, [(1, one), (3, two)], [], [(2, n)]))
    assert bool(wrong) == (one + n <= capacity)


def what_was_booked_by_its_end_counts_for_a_rejection(
    capacity: int, one: int, two: int, n: int
) -> None:
    """At one instant, bookings come before rejections."""
    assert one >= 1
    assert two >= 1
    assert n >= 1
    assert one + two <= capacity
    wrong = list(with_room(capacity, [(1, one), (3, two)], [], [(3, n)]))
    assert bool(wrong) == (one + two + n <= capacity)


def the_shortfall_names_the_most_that_was_booked(capacity: int, one: int, n: int) -> None:
    """And it is what the inequality in the explanation says."""
    assert one >= 1
    assert n >= 1
    assert one <= capacity
    wrong = list(with_room(capacity, [(1, one)], [], [(2, n)]))
    assert all(most == one and most + n <= capacity for _, most, _ in wrong)


def the_excess_is_certain_with_the_booking_that_exceeds(
    limit: int, one: int, two: int, three: int
) -> None:
    """The first of three with which the sum is over the limit."""
    assert one >= 1
    assert two >= 1
    assert three >= 1
    assert one <= limit < one + two + three
    assert tipping(limit, [one, two, three]) == (1 if one + two > limit else 2)


def attempts_overlap_exactly_if_they_have_an_instant_in_common(
    begun: int, ended: int, start: int, end: int
) -> None:
    """Closed intervals: who ends at the instant at which another begins has overlapped it."""
    assert begun <= ended
    assert start <= end
    crowd = Crowd([begun], [ended])
    assert crowd.count(start, end) == (1 if begun <= end and start <= ended else 0)


def a_winner_is_one_whose_interval_meets(
    one: int, one_end: int, two: int, two_end: int, start: int, end: int
) -> None:
    """Of two bookings, in whatever order they may have taken effect."""
    assert one <= one_end
    assert two <= two_end
    assert start <= end
    meets = (one <= end and start <= one_end) or (two <= end and start <= two_end)
    assert Intervals([(one, one_end), (two, two_end)]).meet(start, end) == meets


def what_is_booked_before_counts_and_nothing_else(at: int, one: int, instant: int) -> None:
    """Before an instant, not at it."""
    assert one >= 1
    assert Bookings([(at, one)]).before(instant) == (one if at < instant else 0)
