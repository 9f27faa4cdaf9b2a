"""Another user of the machine attacks the sweep of folders that killed servers have left.

The attacks are run by that user, in a folder that all may write to, as /tmp is one; root sweeps.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastseat.harness.postgres import folder

STRANGER = 65534
PATIENCE_SECONDS = 30
ATTACK_SECONDS = 3.0

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")

SWEEP = """
import sys, tempfile
from pathlib import Path
from lastseat.harness.postgres import folder
tempfile.tempdir, folder.SHARED = sys.argv[1], Path(sys.argv[1])
print(len(folder.sweep()))
"""

AS_A_STRANGER = f"""
import ctypes, fcntl, os, pathlib, socket, sys, time
os.setgroups([])
os.setgid({STRANGER})
os.setuid({STRANGER})
os.umask(0)
base, precious = map(pathlib.Path, sys.argv[1:3])
mine = base / "{folder.PREFIX}mine"

def make(place):
    (place / "data" / "base").mkdir(parents=True)
    for name in ("{folder.LOCK}", "data/a", "data/base/b"):
        (place / name).touch()

def ready():
    print("ready", flush=True)
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like /tmp, the only place where folders are made and looked for."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        made = Path(name)
        made.chmod(0o1777)
        monkeypatch.setattr(folder, "SHARED", made)
        monkeypatch.setattr("tempfile.tempdir", str(made))
        yield made


@pytest.fixture
def precious() -> Iterator[Path]:
    """A folder of root's, elsewhere."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        made = Path(name)
        made.chmod(0o755)
        for number in range(10):
            (made / f"file-{number}").touch()
        (made / "data").mkdir()
        (made / "data" / "deep").touch()
        yield made


def contents(place: Path) -> list[str]:
    return sorted(str(each.relative_to(place)) for each in place.rglob("*"))


def stranger(base: Path, precious: Path, code: str) -> "subprocess.Popen[str]":
    """Run this as another user."""
    command = [sys.executable, "-I", "-S", "-c", AS_A_STRANGER + code, str(base), str(precious)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def swept(base: Path) -> int:
    """Sweep in a process of its own, which must not hang; how many folders are gone."""
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, str(base)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.parametrize("place", ["postmaster.pid", "PG_VERSION", "base"])
def test_a_pipe_in_a_files_place_does_not_hold_the_sweep_up(base: Path, place: str) -> None:
    left = folder.create()
    left.data.mkdir()
    os.mkfifo(left.data / place)
    os.close(left.lock_fd)
    assert swept(base) == 1
    assert not left.path.exists()


@as_root
@pytest.mark.parametrize(
    "made",
    [
        "make(mine)",
        "mine.mkdir()",
        "make(mine); os.mkfifo(mine / 'data' / 'postmaster.pid')",
        "mine.mkdir(); os.mkfifo(mine / 'lock')",
        "make(mine); (mine / 'lock').unlink(); (mine / 'lock').symlink_to(precious / 'file-1')",
        "make(mine); (mine / 'data' / 'link').symlink_to(precious)",
        "(base / 'else').mkdir(); mine.symlink_to(base / 'else')",
        "mine.symlink_to(precious)",
        "os.mkfifo(mine)",
        "socket.socket(socket.AF_UNIX).bind(str(mine))",
    ],
)
def test_what_another_user_has_made_stays(base: Path, precious: Path, made: str) -> None:
    """Whatever it looks like: root cannot know what it is for, and need not."""
    with stranger(base, precious, made) as other:
        pass
    assert other.returncode == 0
    before = contents(base), contents(precious)
    assert swept(base) == 0
    assert (contents(base), contents(precious)) == before


@as_root
def test_a_second_name_of_our_lock_makes_no_folder_ours(base: Path, precious: Path) -> None:
    left = folder.create((STRANGER, STRANGER))
    os.close(left.lock_fd)
    # A machine with fs.protected_hardlinks lets only root make it.
    (base / (folder.PREFIX + "mine")).mkdir()
    os.link(left.path / folder.LOCK, base / (folder.PREFIX + "mine") / folder.LOCK)
    (base / (folder.PREFIX + "mine") / "kept").touch()
    os.chown(base / (folder.PREFIX + "mine"), STRANGER, STRANGER)
    assert swept(base) == 0
    assert (base / (folder.PREFIX + "mine") / "kept").exists()


SWAP = """
ready()
while True:
    try:
        os.rename(target, aside)
        os.symlink(precious, target)
        os.unlink(target)
        os.rename(aside, target)
    except OSError:
        if not mine.exists():
            make(mine)
"""


@as_root
@pytest.mark.parametrize(
    "target",
    ["mine", "mine / 'data'", "mine / 'data' / 'base'", "ours", "ours / 'data'", "ours / 'data/1'"],
)
def test_what_is_swapped_for_a_link_while_it_is_swept_costs_nothing_elsewhere(
    base: Path, precious: Path, target: str
) -> None:
    """A folder of the stranger's, and one of a server that root ran as the stranger."""
    ours = folder.create((STRANGER, STRANGER))
    for number in range(3):
        (ours.data / str(number) / "deeper").mkdir(parents=True)
        (ours.data / str(number) / "file").touch()
    for each in [ours.data, *ours.data.rglob("*")]:
        os.chown(each, STRANGER, STRANGER)
    os.close(ours.lock_fd)
    before = contents(precious)
    begin = f"ours = pathlib.Path({str(ours.path)!r})\nmake(mine)\ntarget = {target}\n"
    aside = "aside = target.with_name('aside')\n"
    with stranger(base, precious, begin + aside + SWAP) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        end = time.monotonic() + ATTACK_SECONDS
        sweeps = 0
        while time.monotonic() < end:
            folder.sweep()
            sweeps += 1
        other.kill()
    assert sweeps > 10
    assert contents(precious) == before


@as_root
def test_a_folder_that_became_a_link_is_not_followed_when_its_server_ends(
    base: Path, precious: Path
) -> None:
    ours = folder.create((STRANGER, STRANGER))
    ours.data.mkdir()
    ours.path.rename(base / "aside")
    ours.path.symlink_to(precious)
    (precious / folder.LOCK).touch()
    before = contents(precious)
    ours.remove()
    assert contents(precious) == before


@as_root
def test_servers_that_root_ran_as_another_user_are_swept(base: Path) -> None:
    """By the lock, which is root's."""
    ours = folder.create((STRANGER, STRANGER))
    ours.data.mkdir()
    os.chown(ours.data, STRANGER, STRANGER)
    os.close(ours.lock_fd)
    assert folder.sweep() == [ours.path]
    assert list(base.iterdir()) == []


def test_folders_in_folders_without_an_end_are_left(base: Path) -> None:
    left = folder.create()
    deep = left.path
    for _ in range(3 * folder.DEEPEST):
        deep /= "x"
    deep.mkdir(parents=True)
    os.close(left.lock_fd)
    assert folder.sweep() == []
    assert left.path.exists()
    shutil.rmtree(left.path)
