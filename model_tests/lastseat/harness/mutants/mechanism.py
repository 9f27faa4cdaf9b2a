"""Makes a factory of a mechanism: all else is as right as in the reference implementation."""

from __future__ import annotations

from collections.abc import Callable

from lastseat.impl.attempt import AttemptBooking, Mechanism

Factory = Callable[[str, float], AttemptBooking]


def factory(mechanism: Mechanism) -> Factory:
    """What ``lastseat verify package.module:name`` calls."""

    def make(dsn: str, deadline_seconds: float) -> AttemptBooking:
        return AttemptBooking(mechanism, dsn, deadline_seconds)

    make.__doc__ = mechanism.__doc__
    return make
