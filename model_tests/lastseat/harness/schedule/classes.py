"""Runs the tasks of a reduced search in a world: one schedule of each class of interleavings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lastseat.harness.schedule.decision import START, World
from lastseat.harness.schedule.footprint import Footprint
from lastseat.harness.schedule.reduction import Event, Made, Task, Trace, wake


def run_task(world: World, task: Task) -> Trace:
    """Go the task's way as far as the world lets us, then on to the end of the schedule.

    Where everybody who could go is asleep the trace ends, since what follows is known; the world
    is run to its end all the same, for its clients are needed again.
    """
    made: list[Made] = []
    lost = False
    for client, then in task.way:
        if client not in _able(world):
            lost = True
            break
        made.append(_go(world, client, {}))
        if made[-1].event.then != then:
            lost = True
            break
    if not lost and task.client is not None:
        if task.client in _able(world):
            made.append(_go(world, task.client, dict(task.asleep)))
        else:
            lost = True
    complete = True
    for each in _rest(world, made, lost=lost):
        if each is None:
            complete = False
        else:
            made.append(each)
    return Trace(tuple(made), complete)


def _rest(world: World, made: Sequence[Made], *, lost: bool) -> Iterator[Made | None]:
    """Whoever went last goes on while he can; None: from here on everybody sleeps."""
    last = made[-1] if made else None
    asleep = wake(last.asleep, last.event) if last is not None and not lost else {}
    client = last.event.client if last is not None else None
    while able := _able(world):
        awake = [name for name in able if name not in asleep]
        if not awake:
            yield None
            while able := _able(world):
                _go(world, able[0], {})
            return
        client = client if client in awake else awake[0]
        step = _go(world, client, asleep)
        yield step
        asleep = wake(asleep, step.event)


def _able(world: World) -> tuple[str, ...]:
    return tuple(move.client for move in world.enabled())


def _go(world: World, client: str, asleep: dict[str, Event]) -> Made:
    """The client's next turn; an attempt begins when its first turn is sent."""
    enabled = world.enabled()
    (move,) = (move for move in enabled if move.client == client)
    step = world.perform(move)
    touched, woke = step.touched, step.woke
    if move.move == START:
        touched |= Footprint(begins=True)
        turn = next((m for m in world.enabled() if m.client == client and m.move != START), None)
        if turn is not None:
            step = world.perform(turn)
            touched, woke = touched | step.touched, woke | step.woke
    event = Event(client, touched, step.fingerprint, woke, _able(world))
    return Made(event, tuple(m.client for m in enabled), dict(asleep))
