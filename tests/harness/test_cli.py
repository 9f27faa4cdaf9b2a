"""The command as its users meet it: exit codes, messages, and every way to name what is tested."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from lastseat.harness import cli
from lastseat.harness.commands import explore
from lastseat.harness.commands.examples import EXAMPLES
from lastseat.harness.postgres import Server
from lastseat.harness.stage import DEADLINE_MS, GRACE_MS
from lastseat.harness.verdict import Verdict

HERE = Path(__file__).parent
MINIMAL = shlex.join([sys.executable, str(HERE / "adapters" / "minimal.py")])
LASTSEAT = (sys.executable, "-m", "lastseat.harness.cli")
COMMANDS = ("verify", "explore", "replay", "mutants", "model")
PASS, VIOLATION, INCONCLUSIVE, ERROR = (0, 1, 2, 3)


def lastseat(*args: object, cwd: Path, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own, in an empty folder."""
    return subprocess.run(
        [*LASTSEAT, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )


def exit_code(*args: str) -> object:
    """Of a command that ends while its arguments are read."""
    with pytest.raises(SystemExit) as ended:
        cli.main(args)
    return ended.value.code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--help") == 0
    assert f"usage: lastseat {command}" in capsys.readouterr().out


def test_every_command_shows_an_example_that_is_understood() -> None:
    (subs,) = (action.choices for action in cli.parser()._actions if action.dest == "command")
    assert set(EXAMPLES) == set(subs or ())
    for name, lines in EXAMPLES.items():
        help_ = (subs or {})[name].format_help()
        for line in lines:
            assert line in help_
            program, *given = shlex.split(line)
            assert (program, cli.parser().parse_args(given).command) == ("lastseat", name)


def test_the_help_lists_every_command_and_the_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code("--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n    {command} " in text for command in COMMANDS)
    assert "0 pass, 1 violation, 2 inconclusive, 3 usage or adapter error" in text


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("jump",),
        ("verify", "--profile", "huge"),
        ("verify", "--seed", "x"),
        ("replay",),
        ("explore", "last-seat", "--preemptions", "few"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_3_and_says_what_is_right(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*args) == ERROR
    assert "usage: lastseat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "next_step"),
    [
        (("verify", "pessimistic"), "built in are optimistic, locking"),
        (("verify", "no.such.module:name"), "is it installed?"),
        (("verify", "--adapter", ""), "names no command"),
        (("verify", "--adapter", "'x"), "No closing quotation"),
        (("explore", "first-seat"), "there are last-seat, "),
        (("mutants", "X99"), "there are X01, "),
        (("replay", "missing.schedule.json"), "No such file"),
        (("replay", __file__), "no schedule"),
        (("explore", "last-seat", "--dsn", "nonsense"), "cannot connect with the given dsn"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:3])[:40],
)
def test_what_cannot_be_done_ends_with_3_and_the_next_step(
    args: tuple[str, ...],
    next_step: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert cli.main(args) == ERROR
    captured = capsys.readouterr()
    assert captured.err.startswith("lastseat: ")
    assert next_step in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("args", "listed"),
    [
        (("explore", "--list"), ("last-seat", "same-id-at-once", "two callers, one seat")),
        (("explore",), ("last-seat", "nothing-to-sell")),
        (("mutants", "--list"), ("X01", "X48", "guarded-update", "no hidden retry")),
    ],
    ids=lambda value: " ".join(value[:2]),
)
def test_lists(
    args: tuple[str, ...], listed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(args) == PASS
    text = capsys.readouterr().out
    assert all(words in text for words in listed)


def test_a_fault_of_our_own_is_no_violation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python's exit code for an exception is 1, which would accuse the implementation."""

    def broken() -> Verdict:
        raise ZeroDivisionError

    monkeypatch.setattr(explore, "list_scenarios", broken)
    assert cli.main(["explore", "--list"]) == ERROR
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "no verdict" in error


def test_a_factory_in_the_current_folder_is_explored(tmp_path: Path) -> None:
    for name in ("uuid_ids.py", "lock_then_sum.py"):
        shutil.copy(HERE / "factories" / name, tmp_path)
    done = lastseat("explore", "nearly-full", "uuid_ids:booking", "--out", "out", cwd=tmp_path)
    assert done.returncode == PASS, done.stderr
    assert "0 remaining" in done.stdout
    assert "alice-1 BOOKED, bob-1 REJECTED" in done.stdout


def test_an_adapter_that_speaks_the_protocol_by_hand_is_explored(tmp_path: Path) -> None:
    done = lastseat("explore", "nearly-full", "--adapter", MINIMAL, cwd=tmp_path)
    assert done.returncode == PASS, done.stderr
    assert "0 remaining" in done.stdout


def test_a_violation_ends_with_1_and_is_replayed_from_its_file(tmp_path: Path) -> None:
    done = lastseat("explore", "last-seat", "X01", "--out", "out", cwd=tmp_path)
    assert done.returncode == VIOLATION, done.stderr
    assert "capacity" in done.stdout
    file = tmp_path / "out" / "violation-1.schedule.json"
    assert "lastseat replay out/violation-1.schedule.json" in done.stdout
    assert "see it:       out/violation-1.html" in done.stdout
    assert "What crossed" in (tmp_path / "out" / "violation-1.html").read_text()

    again = lastseat("replay", file, cwd=tmp_path)
    assert again.returncode == VIOLATION, again.stderr
    assert "every step came about as recorded" in again.stdout
    assert "capacity" in again.stdout

    (string,) = re.findall(r"without it: +lastseat replay (\S+)", done.stdout)
    pasted = lastseat("replay", string, "--times", 2, "--out", "pasted", cwd=tmp_path)
    assert pasted.returncode == VIOLATION, pasted.stderr
    assert "2 of 2 times every step came about as recorded; 2 illegal" in pasted.stdout

    changed = json.loads(file.read_text())
    changed["decisions"][1] |= {"fingerprint": "SELECT 42", "shape": "SELECT ?"}
    file.write_text(json.dumps(changed))
    other = lastseat("replay", file, cwd=tmp_path)
    assert other.returncode == INCONCLUSIVE, other.stderr
    assert "recorded: «SELECT 42»" in other.stdout


def test_the_command_that_runs_it_again_names_the_adapter(tmp_path: Path) -> None:
    hosted = (
        "lastseat.harness.implementations.host",
        "lastseat.harness.mutants.races:sum_then_insert",
    )
    adapter = shlex.join([sys.executable, "-m", *hosted])
    options = ("--adapter", adapter, "--out", "out")
    done = lastseat("explore", "last-seat", *options, cwd=tmp_path)
    assert done.returncode == VIOLATION, done.stderr
    (command,) = re.findall(r"run it again: lastseat (.+)", done.stdout)
    again = lastseat(*shlex.split(command), cwd=tmp_path)
    assert again.returncode == VIOLATION, again.stderr
    (command,) = re.findall(r"without it: +lastseat (.+)", done.stdout)
    pasted = lastseat(*shlex.split(command), "--times", 1, cwd=tmp_path)
    assert pasted.returncode == VIOLATION, pasted.stderr


def test_who_looks_on_is_told_where_and_nothing_is_timed(tmp_path: Path) -> None:
    done = lastseat("explore", "last-seat", "X01", "--workers", 1, "--out", "out", cwd=tmp_path)
    assert done.returncode == VIOLATION, done.stderr
    again = subprocess.Popen(
        [*LASTSEAT, "replay", "out/violation-1.schedule.json", "--attach"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with again:
        assert again.stdin is not None
        assert again.stdout is not None
        said = []
        while "press Enter" not in (line := again.stdout.readline()):
            assert line, said
            said.append(line)
        told = "".join(said)
        assert "started by: " in told
        (alice,) = re.findall(r"alice is process (\d+)", told)
        # It is held, as by a debugger, for longer than it would be given otherwise.
        os.kill(int(alice), signal.SIGSTOP)
        again.stdin.write("\n")
        again.stdin.flush()
        held = DEADLINE_MS + GRACE_MS + 1000
        with pytest.raises(subprocess.TimeoutExpired):
            again.wait(held / 1000)
        os.kill(int(alice), signal.SIGCONT)
        rest = again.stdout.read()
    assert again.returncode == VIOLATION
    assert "every step came about as recorded" in rest
    assert "capacity" in rest
    assert "one outcome" not in rest


def test_in_process_is_explored_by_threads_to_the_same_end(tmp_path: Path) -> None:
    done = lastseat("explore", "last-seat", "--in-process", "--preemptions", 1, cwd=tmp_path)
    assert done.returncode == PASS, done.stderr
    assert "alice-1 BOOKED, bob-1 REJECTED" in done.stdout


def test_with_a_dsn_it_works_in_a_database_of_its_own_and_drops_it(
    server: Server, tmp_path: Path
) -> None:
    def databases() -> set[str]:
        with psycopg.connect(server.dsn()) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    before = databases()
    done = lastseat("explore", "in-turn", "--dsn", server.dsn(), cwd=tmp_path)
    assert done.returncode == PASS, done.stderr
    assert databases() == before


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('my last words')", "my last words"),
        ("input(); print('no JSON', flush=True); input()", "not JSON"),
        ('input(); print(\'{"seq": 9, "result": {}}\', flush=True); input()', "seq"),
    ],
    ids=["it crashes", "a malformed line", "a wrong seq"],
)
def test_a_broken_adapter_ends_with_3_and_its_last_words(
    program: str, said: str, tmp_path: Path
) -> None:
    adapter = shlex.join([sys.executable, "-c", program])
    done = lastseat("explore", "last-seat", "--adapter", adapter, cwd=tmp_path)
    assert done.returncode == ERROR
    assert said in done.stderr
    assert 'Traceback (most recent call last):\n  File "<frozen' not in done.stderr


def test_a_hunt_ends_in_a_small_violation_or_says_that_its_budget_is_spent(tmp_path: Path) -> None:
    done = lastseat("hunt", "X01", "--workers", 1, "--seed", 1, "--out", "out", cwd=tmp_path)
    assert done.returncode == VIOLATION, done.stdout + done.stderr
    assert "made small in" in done.stdout
    found = json.loads((tmp_path / "out" / "violation-1.schedule.json").read_text())
    assert found["verdict"]
    told = json.loads((tmp_path / "out" / "hunt.json").read_text())
    assert (told["ended"], told["seed"]) == ("violation", 1)

    none = lastseat("hunt", "locking", "--minutes", 0.01, "--workers", 1, cwd=tmp_path)
    assert none.returncode == PASS, none.stdout + none.stderr
    assert "budget spent" in none.stdout
    assert "runs        0" not in none.stdout
