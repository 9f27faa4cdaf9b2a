"""Folders of the living stay, those of the dead go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lastseat.harness.postgres import folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where folders are made and looked for."""
    monkeypatch.setattr(folder, "SHARED", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def deserted(base: Path) -> Path:
    """What a killed owner leaves."""
    left = folder.create()
    left.data.mkdir()
    (left.data / "PG_VERSION").write_text("18\n")
    os.close(left.lock_fd)
    return left.path


def test_a_folder_goes_when_its_lock_is_free(base: Path) -> None:
    living = folder.create()
    dead = deserted(base)
    assert folder.sweep() == [dead]
    assert list(base.iterdir()) == [living.path]
    living.remove()
    assert list(base.iterdir()) == []


def test_an_empty_folder_without_a_lock_goes(base: Path) -> None:
    """Its creator died before it took the lock, or its remover after it had given it up."""
    (base / (folder.PREFIX + "left")).mkdir()
    folder.sweep()
    assert list(base.iterdir()) == []


def test_a_folder_with_content_and_no_lock_is_not_ours(base: Path) -> None:
    (base / (folder.PREFIX + "notes") / "data").mkdir(parents=True)
    assert folder.sweep() == []
    assert (base / (folder.PREFIX + "notes") / "data").exists()


def test_what_has_another_name_or_is_no_folder_stays(base: Path) -> None:
    (base / "mine").mkdir()
    (base / "target").mkdir()
    (base / (folder.PREFIX + "file")).touch()
    (base / (folder.PREFIX + "link")).symlink_to(base / "target")
    before = sorted(base.iterdir())
    assert folder.sweep() == []
    assert sorted(base.iterdir()) == before


def test_a_link_inside_is_removed_and_not_followed(base: Path) -> None:
    (base / "target").mkdir()
    (base / "target" / "precious").touch()
    dead = deserted(base)
    (dead / "link").symlink_to(base / "target")
    (dead / "data" / "link").symlink_to(base / "target")
    folder.sweep()
    assert not dead.exists()
    assert (base / "target" / "precious").exists()


def test_a_lock_that_is_a_pipe_does_not_block(base: Path) -> None:
    odd = base / (folder.PREFIX + "odd")
    odd.mkdir()
    os.mkfifo(odd / folder.LOCK)
    folder.sweep()


CREATE_AND_SWEEP = """
import sys, tempfile
from pathlib import Path
from lastseat.harness.postgres import folder

tempfile.tempdir = sys.argv[1]
folder.SHARED = Path(sys.argv[1])
for _ in range(100):
    mine = folder.create()
    mine.data.mkdir()
    folder.sweep()
    assert mine.data.exists()
    mine.remove()
"""


def test_creators_and_sweepers_do_not_disturb_each_other(base: Path) -> None:
    command = [sys.executable, "-c", CREATE_AND_SWEEP, str(base)]
    together = [subprocess.Popen(command) for _ in range(3)]
    assert [each.wait() for each in together] == [0, 0, 0]
    assert list(base.iterdir()) == []


def test_a_socket_path_that_would_be_too_long_is_avoided(
    base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    deep = base / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    made = folder.create()
    assert made.path.parent == base
    made.remove()


def test_a_removal_that_was_interrupted_is_finished_by_the_next_sweep(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = deserted(base)
    with monkeypatch.context() as broken:
        broken.setattr(folder, "_empty", lambda *_, **__: None)
        folder.sweep()
    assert (dead / "data").exists()
    folder.sweep()
    assert not dead.exists()


@pytest.mark.parametrize(
    ("line", "removed"),
    [
        ("{key} 7 600 56 {pid} 0 0 {uid}", True),
        ("{key} 7 600 56 {pid} 0 1 {uid}", False),  # somebody is attached
        ("{key} 7 600 56 999 0 0 {uid}", False),  # the number is used again
        ("1 7 600 56 {pid} 0 0 {uid}", False),
        ("{key} 8 600 56 {pid} 0 0 {uid}", False),
        ("{key} 7 600 56 {pid} 0 0 4711", False),  # another user's
    ],
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_only_the_dead_servers_own_segment_is_removed(
    base: Path, monkeypatch: pytest.MonkeyPatch, line: str, removed: bool, sign: str
) -> None:
    key, pid = 3_000_000_000, 1234
    dead = deserted(base)
    (dead / "data" / "postmaster.pid").write_text(
        f"{sign}{pid}\n/data\n0\n5432\n/tmp\n127.0.0.1\n {key} 7\nready\n"
    )
    table = base / "shm"
    # The kernel prints the key as a signed number.
    shown = line.format(key=key - (1 << 32), pid=pid, uid=os.geteuid())
    table.write_text(f"header\n{shown}\n")
    asked: list[int] = []
    monkeypatch.setattr(folder, "SEGMENTS", table)
    monkeypatch.setattr(folder, "_remove_segment", asked.append)
    folder.sweep()
    assert asked == ([7] if removed else [])
