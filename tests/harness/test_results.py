"""Folders of results: one run each; what happens where nothing, or no more, can be written."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lastseat.harness import cli, results

LASTSEAT = Path(sys.executable).with_name("lastseat")
PASS, VIOLATION, INCONCLUSIVE, ERROR = (0, 1, 2, 3)

SMALL = ["--select", "explore/last-seat", "--workers", "1"]


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    yield
    results.release()


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results.time, "strftime", lambda _: "20261126-220000")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: results.folder("verify", None), range(16)))
    assert len(set(made)) == 16
    first = Path(".lastseat/verify-20261126-220000")
    assert first in made
    assert first.with_name(f"{first.name}-16") in made


BEGIN = """
import sys
from pathlib import Path
from lastseat.harness import results
try:
    print(results.folder("verify", Path("out")), flush=True)
except results.NoFolder as refused:
    sys.exit(str(refused))
sys.stdin.read()
"""


def test_of_two_processes_that_write_to_one_folder_the_second_is_refused(tmp_path: Path) -> None:
    def begin() -> "subprocess.Popen[str]":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "-c", BEGIN], cwd=tmp_path, text=True, **pipes)

    first = begin()
    assert first.stdout is not None
    assert first.stdout.readline() == "out\n"
    second = begin()
    _, refused = second.communicate(timeout=30)
    assert second.returncode != 0
    assert "another run is writing to out" in refused
    first.kill()  # however it ends
    first.communicate()
    third = begin()
    said, _ = third.communicate(timeout=30)
    assert (third.returncode, said) == (0, "out\n")


def test_a_folder_that_is_written_to_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results.folder("verify", tmp_path / "out")
    monkeypatch.setattr("lastseat.harness.postgres.target.servers.start", None)
    assert cli.main(["verify", "--out", str(tmp_path / "out")]) == ERROR
    assert "another run is writing to" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verify", "explore last-seat", "hunt", "soak", "outages"])
@pytest.mark.parametrize("out", ["/proc/here", "file/below", "/sys/kernel/here"])
def test_where_nothing_can_be_written_it_is_said_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    out: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    monkeypatch.setattr("lastseat.harness.postgres.target.servers.start", None)
    assert cli.main([*command.split(), "--out", out]) == ERROR
    assert f"results cannot be written to {out}" in capsys.readouterr().err


def on_a_disk(size: str, place: Path, command: str) -> "subprocess.CompletedProcess[str]":
    """Run this where ``out`` is a file system of so many bytes, which ends with the command."""
    (place / "out").mkdir()
    script = f"mount -t tmpfs -o size={size} small out && {command}"
    apart = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    return subprocess.run(
        [*apart, "sh", "-c", script],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PATH": f"{LASTSEAT.parent}:{os.environ['PATH']}"},
    )


def test_a_violation_is_told_although_the_folder_is_full(tmp_path: Path) -> None:
    command = f"lastseat verify X01 {' '.join(SMALL)} --out out; code=$?; ls -a out; exit $code"
    done = on_a_disk("72k", tmp_path, command)
    assert done.returncode == VIOLATION, done.stdout + done.stderr
    assert "capacity" in done.stdout
    assert "No space left on device" in done.stdout
    assert "could not be written" in done.stdout
    assert "lastseat replay lastseat1." in done.stdout, "what needs no file"
    assert not [line for line in done.stdout.splitlines() if line.startswith(".verification")]


def test_there_is_no_pass_where_runs_could_not_be_saved(tmp_path: Path) -> None:
    done = on_a_disk("72k", tmp_path, f"lastseat verify {' '.join(SMALL)} --out out")
    assert done.returncode in {INCONCLUSIVE, ERROR}, done.stdout + done.stderr
    assert "No space left on device" in done.stdout


def test_a_full_folder_is_refused_at_the_beginning(tmp_path: Path) -> None:
    done = on_a_disk("8k", tmp_path, f"lastseat verify X01 {' '.join(SMALL)} --out out")
    assert done.returncode == ERROR
    assert "results cannot be written to out: No space left on device" in done.stderr


def test_a_violation_is_told_by_the_exit_code_where_nothing_more_can_be_printed(
    tmp_path: Path,
) -> None:
    command = [LASTSEAT, "verify", "X01", *SMALL, "--out", "out"]
    reader = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    with reader:
        assert reader.stdout is not None
        assert "lastseat verify X01" in reader.stdout.readline()
        reader.stdout.close()
        assert reader.wait(240) == VIOLATION
    told = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert told["verdict"] == "violation"


def test_a_full_temporary_folder_is_told_at_the_beginning(tmp_path: Path) -> None:
    """Of one's own /tmp: root's servers are in no other folder. The checkout may lie there, too,
    and is put back in its place."""
    checkout = shlex.quote(str(Path(__file__).parents[2]))
    command = (
        f"exec 9<{checkout} && mount -t tmpfs -o size=1m small /tmp &&"
        f" {{ [ -e {checkout} ] || {{ mkdir -p {checkout} &&"
        f" mount --no-canonicalize --bind /proc/self/fd/9 {checkout}; }}; }} &&"
        " TMPDIR=/tmp lastseat verify"
    )
    done = on_a_disk("1m", tmp_path, command)
    assert done.returncode == ERROR, done.stdout + done.stderr
    assert "in /tmp: " in done.stderr
    assert "MB are free" in done.stderr or "No space left on device" in done.stderr
    assert "--dsn names a server that runs" in done.stderr
    assert ("TMPDIR" in done.stderr) == (os.geteuid() != 0)
    assert done.stdout == ""
