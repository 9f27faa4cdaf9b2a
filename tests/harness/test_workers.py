"""Tasks in several processes: their order, what goes wrong in them, and how they end."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastseat.harness.workers import Tell, WorkerDied, run

_SECONDS = 20  # in which whatever is waited for must come
_ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import the functions below from where pytest has found them."""
    monkeypatch.syspath_prepend(str(_ROOT))


@contextlib.contextmanager
def folder(path: Path, tell: Tell) -> Iterator[tuple[Path, Tell]]:
    """What the workers of these tests share; each leaves a note when it closes in order."""
    yield path, tell
    (path / f"closed-{os.getpid()}").touch()


def square(_: object, number: int) -> int:
    return number * number


def meet(made: tuple[Path, Tell], me: str, other: str) -> int:
    """Done only when the other one is being done at the same time."""
    where, _ = made
    (where / me).touch()
    end = time.monotonic() + _SECONDS
    while not (where / other).exists():
        assert time.monotonic() < end, f"{other} never came"
        time.sleep(0.01)
    return os.getpid()


def tell_twice(made: tuple[Path, Tell], word: str) -> str:
    _, tell = made
    tell(f"{word} begins")
    tell(f"{word} ends")
    return word


def fail(_: object) -> None:
    raise LookupError("not to be found")


class Unspeakable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)  # which is why no copy can be made of it


def fail_unspeakably(_: object) -> None:
    raise Unspeakable("one", "two")


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(made: tuple[Path, Tell]) -> None:
    _, tell = made
    tell(os.getpid())
    signal.pause()


@contextlib.contextmanager
def broken(tell: Tell) -> Iterator[None]:
    raise FileNotFoundError("no stage")
    yield


def test_results_come_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    tasks = [functools.partial(square, number=number) for number in range(20)]
    setup = functools.partial(folder, tmp_path)
    assert list(run(tasks, 2, setup)) == [number**2 for number in range(20)]
    assert len(list(tmp_path.glob("closed-*"))) <= 2
    assert list(tmp_path.glob("closed-*")), "workers close what they have set up"


def test_two_workers_work_at_the_same_time(tmp_path: Path) -> None:
    tasks = [functools.partial(meet, me=me, other=o) for me, o in [("a", "b"), ("b", "a")]]
    pids = set(run(tasks, 2, functools.partial(folder, tmp_path)))
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_tasks_may_have_no_end(tmp_path: Path) -> None:
    tasks = (functools.partial(square, number=number) for number in itertools.count())
    found = run(tasks, 2, functools.partial(folder, tmp_path))
    assert next(square for square in found if square > 50) == 64
    found.close()


def test_what_a_worker_tells_is_heard_before_its_result(tmp_path: Path) -> None:
    heard: list[str] = []
    tasks = [functools.partial(tell_twice, word=word) for word in ("one", "two")]
    for word in run(tasks, 1, functools.partial(folder, tmp_path), heard.append):
        assert heard[-2:] == [f"{word} begins", f"{word} ends"]


def test_an_error_is_raised_where_the_result_is_expected(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="not to be found") as raised:
        list(run([fail], 1, functools.partial(folder, tmp_path)))
    assert "in fail" in "".join(raised.value.__notes__)


def test_an_error_that_cannot_be_copied_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Unspeakable: one"):
        list(run([fail_unspeakably], 1, functools.partial(folder, tmp_path)))


def test_an_error_of_the_setup_is_raised() -> None:
    with pytest.raises(FileNotFoundError, match="no stage"):
        list(run([fail], 1, broken))


def test_a_worker_that_dies_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied, match="exit code -9"):
        list(run([die], 1, functools.partial(folder, tmp_path)))


def test_whoever_leaves_does_not_wait_for_what_is_being_done(tmp_path: Path) -> None:
    pids: list[int] = []

    def heard(pid: int) -> None:
        pids.append(pid)
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        list(run([hang], 1, functools.partial(folder, tmp_path), heard))
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def is_deaf_to_ctrl_c(_: object) -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


_PARENT = f"""
import functools, pathlib, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from lastseat.harness.workers import run
import test_workers
if __name__ == "__main__":
    setup = functools.partial(test_workers.folder, pathlib.Path("."))
    list(run([test_workers.hang], 1, setup, lambda pid: print(pid, flush=True)))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: int) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(how)
        assert select.select([worker], [], [], _SECONDS)[0], "the worker has outlived us"
        os.close(worker)


def test_the_first_worker_of_a_process_is_deaf_to_ctrl_c_from_its_start(tmp_path: Path) -> None:
    """Python starts a process of its own before it, and lets the signal through when it has."""
    script = tmp_path / "parent.py"
    told = "print(*run([test_workers.is_deaf_to_ctrl_c], 1, setup))"
    script.write_text(_PARENT.replace(_PARENT.strip().splitlines()[-1].strip(), told))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "True\n"
