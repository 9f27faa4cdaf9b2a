"""A file or a string from a stranger is data: nothing in it runs, is imported, or names a path."""

import base64
import gzip
import json
import os
import shlex
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from lastseat.harness import cli, shell
from lastseat.harness.mutants import made
from lastseat.harness.paste import PREFIX, pack
from lastseat.harness.record import MalformedSchedule, Schedule, read_schedule, to_json
from lastseat.harness.registry import BUILT_IN, built_in, typed
from lastseat.harness.scenario import SCENARIOS
from lastseat.harness.schedule.decision import START, Decision, Step

LASTSEAT = Path(sys.executable).with_name("lastseat")
PASS, VIOLATION, INCONCLUSIVE, ERROR = (0, 1, 2, 3)

ALICE, BOB = Decision(START, "alice"), Decision(START, "bob")
HARMLESS = Schedule(SCENARIOS[0], "optimistic", (Step(1, ALICE, (ALICE, BOB), "", ()),))

MARKED = "open({marker!r}, 'w').close()\n"


def lastseat(*args: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [LASTSEAT, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Has a schedule replayed in that folder, which must be refused; what was said."""
    monkeypatch.chdir(tmp_path)

    def replay(*args: str) -> str:
        assert cli.main(["replay", *args]) == ERROR
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / ".lastseat").exists()
        return capsys.readouterr().err

    return replay


def as_file(schedule: Schedule, place: Path) -> str:
    (place / "given.schedule.json").write_text(json.dumps(to_json(schedule)))
    return "given.schedule.json"


def as_string(schedule: Schedule, _: Path) -> str:
    return pack(schedule)


@pytest.mark.parametrize("given", [as_file, as_string])
@pytest.mark.parametrize(
    "name",
    [
        "--adapter sh -c 'touch ran'",
        "strange:factory",
        "optimistic+strange:factory",
        "strange:factory+optimistic",
        "optimistic+--adapter touch ran",
    ],
)
def test_what_a_schedule_names_is_shown_and_not_run(
    tmp_path: Path,
    given: Callable[[Schedule, Path], str],
    name: str,
    refused: Callable[..., str],
) -> None:
    (tmp_path / "strange.py").write_text(MARKED.format(marker="ran"))
    named = given(evolve(HARMLESS, implementation=name), tmp_path)
    said = refused(named)
    assert "strange" not in sys.modules
    wanted = typed(name)
    assert wanted is not None
    assert f"    lastseat replay {named} {wanted}\n" in said


def test_what_is_shown_can_be_typed(tmp_path: Path, refused: Callable[..., str]) -> None:
    """The command is that of a shell, and means the same implementation."""
    command = "sh -c 'exit \"$0\"' a\\ b"
    named = as_file(evolve(HARMLESS, implementation=f"--adapter {command}"), tmp_path)
    (line,) = (line for line in refused(named).splitlines() if "lastseat replay" in line)
    assert shlex.split(line) == ["lastseat", "replay", named, "--adapter", command]


def test_a_compressed_schedule_is_none(tmp_path: Path, refused: Callable[..., str]) -> None:
    schedule = to_json(evolve(HARMLESS, implementation="--adapter touch ran"))
    (tmp_path / "given.gz").write_bytes(gzip.compress(json.dumps(schedule).encode()))
    assert "no schedule" in refused("given.gz")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two words", "'two words'"),
        ("it's", "'it'\"'\"'s'"),
        ("\x1b[2Jgone", r"$'\x1b[2Jgone'"),
        ("a\nb'c\\d", r"$'a\nb\'c\\d'"),
        ("right-to-left \u202e", r"$'right-to-left \u202e'"),
        ("na\xefve", "'na\xefve'"),
        ("", "''"),
    ],
)
def test_a_word_for_the_shell_shows_what_it_holds(text: str, shown: str) -> None:
    assert shell.word(text) == shown
    said = subprocess.run(
        ["bash", "-c", f"printf %s {shown}"],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert said.stdout.decode() == text


def test_control_characters_of_a_file_do_not_reach_the_terminal(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    named = as_file(evolve(HARMLESS, implementation="--adapter \x1b]0;x\x07 y\r z"), tmp_path)
    said = refused(named)
    assert set(said) <= set(map(chr, range(32, 127))) | {"\n"}
    assert r"--adapter $'\x1b]0;x\x07 y\r z'" in said


def test_a_name_that_would_be_an_option_is_not_shown_as_a_command(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    named = as_file(evolve(HARMLESS, implementation="--out=/etc"), tmp_path)
    assert f"lastseat replay {named} --out" not in refused(named)


def test_built_in_names_are_known_without_asking() -> None:
    for name in (*BUILT_IN, "optimistic+locking", next(iter(made.everything()))):
        known = built_in(name)
        assert known is not None
        assert (known.name, known.built_in) == (name, True)
    for name in ("a:b", "optimistic+a:b", "optimistic+X01+X01", "+" * 100_000, "made:x", ""):
        assert built_in(name) is None


def test_what_is_typed_counts_although_the_file_names_another(tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(
        "from lastseat.harness.mutants.races import sum_then_insert\n"
    )
    done = lastseat("explore", "last-seat", "ours:sum_then_insert", "--out", "out", cwd=tmp_path)
    assert done.returncode == VIOLATION, done.stdout + done.stderr
    again = "lastseat replay out/violation-1.schedule.json"
    assert f"run it again: {again} ours:sum_then_insert\n" in done.stdout

    without = lastseat("replay", "out/violation-1.schedule.json", cwd=tmp_path)
    assert without.returncode == ERROR
    assert f"    {again} ours:sum_then_insert\n" in without.stderr
    (line,) = (line for line in without.stderr.splitlines() if again in line)
    typed_again = lastseat(*shlex.split(line)[1:], "--times", 1, cwd=tmp_path)
    assert typed_again.returncode == VIOLATION, typed_again.stdout + typed_again.stderr
    assert "the file names" not in typed_again.stdout

    # What stands in a file changes no exit code, whatever a terminal would make of it.
    hostile = json.loads((tmp_path / "out" / "violation-1.schedule.json").read_text())
    hostile["scenario"]["name"] = "[/] [link=x]\x1b[2J../../etc\r\nverdict     pass"
    hostile["verdict"] = "capacity, [/]"
    (tmp_path / "[hostile].json").write_text(json.dumps(hostile))
    told = lastseat("replay", "[hostile].json", "ours:sum_then_insert", "--times", 1, cwd=tmp_path)
    assert told.returncode == VIOLATION, told.stdout + told.stderr
    assert "capacity" in told.stdout
    assert "\x1b" not in told.stdout
    assert "verdict     pass" not in told.stdout.splitlines()

    another = lastseat("replay", "out/violation-1.schedule.json", "X01", cwd=tmp_path)
    assert another.returncode in {VIOLATION, INCONCLUSIVE}, another.stderr
    assert "the file names ours:sum_then_insert; X01 is run" in another.stdout


# What lies around in the folder that a file came with.

SHADOWS = ("json", "psycopg", "asyncio", "struct", "multiprocessing", "pickle", "lastseat", "site")


@pytest.fixture
def ticket(tmp_path: Path) -> Path:
    """A folder from a stranger: modules with the names of those that lastseat imports."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(MARKED.format(marker="ran"))
    (tmp_path / "lastseat" / "impl").mkdir(parents=True)
    (tmp_path / "lastseat" / "impl" / "optimistic.py").write_text(MARKED.format(marker="ran"))
    return tmp_path


def test_a_replay_imports_nothing_from_the_folder_where_it_is_run(ticket: Path) -> None:
    done = lastseat("replay", as_file(HARMLESS, ticket), "--times", 1, cwd=ticket)
    assert done.returncode in {PASS, INCONCLUSIVE}, done.stdout + done.stderr
    assert not (ticket / "ran").exists()


def test_workers_import_nothing_from_the_folder_where_they_are_started(ticket: Path) -> None:
    script = ticket.parent / f"{ticket.name}.py"
    script.write_text(
        "import contextlib\nfrom lastseat.harness import workers\n"
        "def task(_):\n    import os\n    return os.environ.get('PYTHONSAFEPATH')\n"
        "def setup(_):\n    return contextlib.nullcontext(0)\n"
        "if __name__ == '__main__':\n    print(list(workers.run([task, task], 2, setup)))\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=ticket,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[None, None]\n", "what they start goes on as the user wants it"
    assert not (ticket / "ran").exists()


# Names in a schedule are no paths, and its numbers no burden.


def changed(change: Callable[[dict[str, object]], object]) -> bytes:
    data = json.loads(json.dumps(to_json(HARMLESS)))
    change(data)
    return json.dumps(data).encode()


def renamed(data: dict[str, dict[str, dict[str, object]]], name: str) -> None:
    attempts = data["scenario"]["attempts"]
    attempts[name] = attempts.pop("alice")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: renamed(d, "../../../home/user/x"),
        lambda d: renamed(d, "/tmp/x"),
        lambda d: renamed(d, "a/b"),
        lambda d: renamed(d, ".."),
        lambda d: renamed(d, "a\0b"),
        lambda d: renamed(d, "x" * 300),
        lambda d: renamed(d, "steward"),
        lambda d: renamed(d, ""),
        lambda d: d.update(implementation=["sh"]),
        lambda d: d.update(implementation="x" * 10_000),
        lambda d: d.update(decisions=7),
        lambda d: d["decisions"][0].update(chosen="no-such-fault alice"),
        lambda d: d["decisions"][0].update(chosen="start"),
        lambda d: d["decisions"][0].update(chosen="start nobody"),
        lambda d: d["decisions"][0].update(enabled=[1]),
        lambda d: d["scenario"].update(capacities={"r1": "many"}),
        lambda d: d["scenario"].update(deadlines={"alice": 10**12}),
        lambda d: d["scenario"].update(deadlines={"nobody": 10}),
        lambda d: d["scenario"].update(
            attempts={f"c{n}": d["scenario"]["attempts"]["bob"] for n in range(100)}
        ),
        lambda d: d["scenario"]["attempts"].update(bob=d["scenario"]["attempts"]["bob"] * 10_000),
        lambda d: d.update(decisions=d["decisions"] * 100_000),
        lambda d: d.update(seed="x"),
    ],
)
def test_what_no_recording_holds_is_no_schedule(
    change: Callable[[dict[str, object]], object],
) -> None:
    assert to_json(read_schedule(changed(lambda _: None))) == to_json(HARMLESS)
    with pytest.raises(MalformedSchedule):
        read_schedule(changed(change))


@pytest.mark.parametrize("data", [b"[" * 1_000_000, b'{"format":' * 100_000, b"\xff", b"null", b""])
def test_what_is_no_json_of_ours_is_no_schedule(data: bytes) -> None:
    with pytest.raises(MalformedSchedule):
        read_schedule(data)


def test_a_string_that_unfolds_to_no_end_is_refused() -> None:
    bomb = PREFIX + base64.urlsafe_b64encode(zlib.compress(bytes(100_000_000), 9)).decode()
    assert cli.main(["replay", bomb]) == ERROR


def test_a_file_without_an_end_is_refused() -> None:
    assert cli.main(["replay", "/dev/zero"]) == ERROR


def test_results_go_to_a_new_folder_and_not_beside_the_file(tmp_path: Path) -> None:
    """What lies beside a stranger's file may be a link."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "replay").symlink_to(tmp_path / "precious")
    as_file(HARMLESS, tmp_path / "given")
    done = lastseat("replay", "given/given.schedule.json", "--times", 1, cwd=tmp_path)
    assert done.returncode in {PASS, INCONCLUSIVE}, done.stdout + done.stderr
    assert list((tmp_path / "precious").iterdir()) == []
    assert list((tmp_path / ".lastseat").glob("replay-*"))
