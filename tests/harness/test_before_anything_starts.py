"""What is wrong with a command line is told before a server is started, and silence has an end."""

import shlex
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lastseat.harness import asking, cli
from lastseat.harness.asking import Asking, SilentServer
from lastseat.harness.postgres import Server, target

ERROR = 3


@pytest.fixture
def no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which no server can be started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("lastseat.harness.postgres.target.servers.start", None)
    return tmp_path


def adapter(program: str) -> str:
    return shlex.join([sys.executable, "-c", program])


@pytest.mark.parametrize("command", ["verify", "explore last-seat", "hunt", "soak", "truth"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def other(): ...", "AttributeError"),
        ("1 / 0", "ZeroDivisionError"),
        ("factory = print", "the result of start is not right"),
        (None, "is it installed?"),
    ],
)
def test_a_factory_that_is_none(
    no_server: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    text: str | None,
    said: str,
) -> None:
    if text is not None:
        (no_server / "wrong.py").write_text(text + "\nAUDIT = {}\n")
    assert cli.main([*command.split(), "wrong:factory"]) == ERROR
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/no/such/program", "does not start"),
        (adapter("import sys; sys.exit('my last words')"), "my last words"),
        (adapter("input(); print('{}', flush=True); input()"), "without the seq"),
    ],
)
def test_an_adapter_that_is_none(
    no_server: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    assert cli.main(["verify", "--adapter", given]) == ERROR
    assert said in capsys.readouterr().err
    assert not (no_server / ".lastseat").exists()


def test_of_a_mixture_both_are_tried(no_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (no_server / "wrong.py").write_text("1 / 0\n")
    assert cli.main(["verify", "optimistic+wrong:factory"]) == ERROR
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_command_cannot_run_in_process(
    no_server: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", "--in-process", "--adapter", "cat"]) == ERROR
    assert "cannot run in process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("explore last-seat --preemptions -1", "must be at least 0, not -1"),
        ("explore last-seat --workers 0", "must be at least 1, not 0"),
        ("verify --workers 0", "must be at least 1, not 0"),
        ("verify --workers -3", "must be at least 1, not -3"),
        ("verify --workers many", "must be a number, not 'many'"),
        ("hunt --workers 0", "must be at least 1, not 0"),
        ("mutants --workers 0", "must be at least 1, not 0"),
        ("replay x --times 0", "must be at least 1, not 0"),
        ("soak --attempts 0", "must be at least 1, not 0"),
        ("soak --strikes -1", "must be at least 0, not -1"),
    ],
)
def test_numbers_that_mean_nothing(
    no_server: Path, capsys: pytest.CaptureFixture[str], args: str, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(args.split())
    assert ended.value.code == ERROR
    assert said in capsys.readouterr().err


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


GREETING = b"".join(
    [
        message(b"R", struct.pack("!i", 0)),
        *(
            message(b"S", name + b"\0" + value + b"\0")
            for name, value in (
                (b"server_version", b"18.0"),
                (b"client_encoding", b"UTF8"),
                (b"standard_conforming_strings", b"on"),
            )
        ),
        message(b"K", struct.pack("!ii", 1, 1)),
        message(b"Z", b"I"),
    ]
)


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a server that lets everybody in and then says nothing."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client = listening.accept()[0]
                except OSError:
                    return
                held.append(client)
                client.recv(8192)
                client.sendall(GREETING)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for client in held:
        client.close()


@pytest.mark.parametrize("command", ["verify", "explore last-seat", "smoke", "truth"])
def test_a_server_that_lets_us_in_and_says_nothing(
    mute: int,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(target, "SILENCE_SECONDS", 1)
    dsn = f"host=127.0.0.1 port={mute} user=x dbname=x sslmode=disable gssencmode=disable"
    assert cli.main([*command.split(), "--dsn", dsn]) == ERROR
    assert "it let us in, and has not answered for 1 s" in capsys.readouterr().err


def test_a_server_that_falls_silent_later(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SILENCE_SECONDS", 1)
    dsn = f"host=127.0.0.1 port={mute} user=x dbname=x sslmode=disable gssencmode=disable"
    with Asking(dsn) as asked, pytest.raises(SilentServer, match="not answered a question for 1 s"):
        asked.ask("SELECT 1")


def test_an_answer_that_takes_its_time_is_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SILENCE_SECONDS", 30)
    with Asking(server.dsn()) as asked:
        assert asked.ask("SELECT pg_sleep(1.5)::text, 'here'")[0][1] == "here"


def test_what_a_connection_is_used_for_later_is_not_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "SILENCE_SECONDS", 30)
    with target._connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.errors.DivisionByZero), target._connect(server.dsn()) as connection:
        connection.execute("SELECT 1 / 0")
