"""Several processes that do the same kind of work, so that every core has some.

A worker sets itself up once and then does one task after another. Setup, tasks and results are
pickled: functions of modules, ``functools.partial`` of them, plain data. Workers end with us,
however we end; what they were doing is then lost, but for what they have told.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from attrs import define, field, frozen

from lastseat.harness import interrupts
from lastseat.harness.orphans import die_with_parent

S = TypeVar("S")
R = TypeVar("R")

Tell = Callable[[Any], None]
Setup = Callable[[Tell], AbstractContextManager[S]]
"""Is given a function that tells the crew something at once: progress, a find."""
Task = Callable[[S], R]

_PATIENCE = 5.0  # seconds in which a worker that has nothing to do must have gone


class WorkerDied(Exception):
    """A worker's process ended in the middle of its work."""


@frozen
class _Done:
    """What became of a task; ``error`` in place of a result where it raised."""

    number: int
    result: Any = None
    error: Exception | None = None


@frozen
class _Told:
    what: Any


@define(eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    doing: int | None = None


@define
class Crew(Generic[S, R]):
    """Workers that are given tasks, and hand back results as they come. A context manager.

    ``heard`` is called with what workers tell, in this process, while ``finished`` waits.
    """

    size: int
    setup: Setup[S]
    heard: Callable[[Any], None] = lambda _: None
    _workers: list[_Worker] = field(factory=list, init=False)
    _queue: deque[tuple[int, Task[S, R]]] = field(factory=deque, init=False)
    _numbers: Iterator[int] = field(factory=itertools.count, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let those go that have nothing to do; end the others where they are."""
        with interrupts.later():
            self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if worker.doing is not None:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    @property
    def idle(self) -> int:
        """How many more tasks could be begun at once."""
        doing = sum(worker.doing is not None for worker in self._workers)
        return max(0, self.size - doing - len(self._queue))

    @property
    def pending(self) -> bool:
        """Is there a task of which ``finished`` has not told yet?"""
        return bool(self._queue) or any(worker.doing is not None for worker in self._workers)

    def submit(self, task: Task[S, R]) -> int:
        """Have this done by whoever has time; its number. A worker starts when there is none."""
        number = next(self._numbers)
        self._queue.append((number, task))
        self._assign()
        return number

    def finished(self) -> tuple[int, R]:
        """Wait for any task to be done: its number and result.

        Raises what the task or the setup raised, WorkerDied where its process ended.
        """
        assert self.pending, "nothing was submitted that has not been told of"
        while True:
            for pipe in wait([worker.pipe for worker in self._workers if worker.doing is not None]):
                worker = next(worker for worker in self._workers if worker.pipe is pipe)
                message = self._receive(worker)
                if isinstance(message, _Told):
                    self.heard(message.what)
                    continue
                worker.doing = None
                self._assign()
                if message.error is not None:
                    raise message.error
                return message.number, message.result

    def _receive(self, worker: _Worker) -> _Done | _Told:
        try:
            message: _Done | _Told = worker.pipe.recv()
        except (EOFError, ConnectionError) as error:
            worker.process.join()
            self._workers.remove(worker)
            code = worker.process.exitcode
            raise WorkerDied(f"a worker's process ended with exit code {code}") from error
        return message

    def _assign(self) -> None:
        while self._queue and (worker := self._free()) is not None:
            number, task = self._queue.popleft()
            worker.doing = number
            worker.pipe.send((number, task))

    def _free(self) -> _Worker | None:
        for worker in self._workers:
            if worker.doing is None:
                return worker
        return self._hire() if len(self._workers) < self.size else None

    def _hire(self) -> _Worker:
        spawning = multiprocessing.get_context("spawn")
        ours, theirs = spawning.Pipe()
        arguments = (theirs, self.setup, os.getpid(), os.environ.get(_SAFE_PATH))
        process = spawning.Process(target=_work, args=arguments, name="lastseat worker")
        # To start this process lets Ctrl-C through again: it must be there before the signal is
        # blocked, and not come with the first worker.
        with _safe_path():
            resource_tracker.ensure_running()
        # Ctrl-C is for the one who answers the user: workers inherit that it is blocked.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with interrupts.later(), _safe_path():
                # In the middle of a start it would leave a process with half of its orders.
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker


_SAFE_PATH = "PYTHONSAFEPATH"


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Python processes that are started meanwhile import nothing from the working directory, where
    a stranger's files may lie: ``spawn`` starts them by ``python -c``."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        _restore(before)


def _restore(safe_path: str | None) -> None:
    """Have what is started from now on treated as the user wants it."""
    if safe_path is None:
        del os.environ[_SAFE_PATH]
    else:
        os.environ[_SAFE_PATH] = safe_path


def run(
    tasks: Iterable[Task[S, R]],
    workers: int,
    setup: Setup[S],
    heard: Callable[[Any], None] = lambda _: None,
) -> Iterator[R]:
    """Do these tasks, the first ones at once; yields their results in the order of the tasks.

    A task is taken from ``tasks`` when a worker is free for it, so that there may be no end of
    them. Raises what ``Crew.finished`` raises.
    """
    left = iter(tasks)
    crew: Crew[S, R] = Crew(workers, setup, heard)
    _give(crew, left)
    return _in_order(crew, left)


def _give(crew: Crew[S, R], left: Iterator[Task[S, R]]) -> None:
    for task in itertools.islice(left, crew.idle):
        crew.submit(task)


def _in_order(crew: Crew[S, R], left: Iterator[Task[S, R]]) -> Iterator[R]:
    results: dict[int, R] = {}
    with crew:
        for number in itertools.count():
            while True:
                _give(crew, left)
                if number in results:
                    break
                if not crew.pending:
                    return
                done, result = crew.finished()
                results[done] = result
            yield results.pop(number)


def _work(pipe: Connection, setup: Setup[S], parent: int, safe_path: str | None) -> None:
    """A worker's life: it ends when the crew closes the pipe."""
    die_with_parent(parent)
    _restore(safe_path)
    made: S | None = None
    with contextlib.ExitStack() as stack:
        for number, task in _tasks(pipe):
            try:
                if made is None:
                    made = stack.enter_context(setup(lambda what: pipe.send(_Told(what))))
                done = _Done(number, task(made))
            except Exception as error:  # noqa: BLE001 - raised again where the result is expected
                done = _Done(number, error=_portable(error))
            try:
                pipe.send(done)
            except BrokenPipeError:
                return  # the crew has ended, and wants no more results


def _tasks(pipe: Connection) -> Iterator[tuple[int, Task[Any, Any]]]:
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            yield pipe.recv()


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; in words only if it cannot be pickled."""
    words = "".join(traceback.format_exception(error))
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - there are many ways to fail at this
        return RuntimeError(f"in a worker's process:\n{words}")
    copy.add_note(f"in a worker's process:\n{words}")
    return copy
