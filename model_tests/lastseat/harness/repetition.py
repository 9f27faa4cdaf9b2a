"""A run that is made again when its timing was the harness's own doing.

A process that was stopped, or a machine that stood still, lets the clients' deadlines pass while
nobody serves them. What such a run shows says nothing about the implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lastseat.harness.run import Run

TRIES = 5
"""So many times a run is made at most."""


def undisturbed(make: Callable[[], Run]) -> Iterator[Run]:
    """New runs, until the last one was finished undisturbed; at most five.

    The body of the loop brings each run to its end. What the loop leaves behind is the last run,
    which may be a disturbed one still: that it is not judged is seen to by the campaign.
    """
    for _ in range(TRIES):
        run = make()
        yield run
        if run.disturbed is None:
            return
        # What was interrupted may have cost the clients their connections.
        run.stage.renew(run.clients())
