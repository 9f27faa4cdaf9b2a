"""A client at work: its replies, its mistakes, its end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.harness.implementations import adapters
from tests.harness.implementations.adapters import adapter

from lastseat.harness.implementations import client as clients
from lastseat.harness.implementations import warden
from lastseat.harness.implementations.client import Client, Implementation
from lastseat.harness.implementations.protocol import AdapterError, read_attempt, read_start
from lastseat.harness.loop import Loop
from lastseat.spec.vocabulary import BOOKED, IN_DOUBT, REJECTED

ASKED = {"booking_id": "b1", "resource_id": "r1", "requested_units": 1}
FACTORY = f"{adapters.__name__}:wanted"

Start = Callable[[tuple[str, ...]], Client]


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as opened:
        yield opened


@pytest.fixture
def start(loop: Loop, tmp_path: Path) -> Iterator[Start]:
    """Starts a client with this command."""
    started: list[Client] = []

    def begin(command: tuple[str, ...]) -> Client:
        implementation = Implementation("it", command)
        started.append(clients.start(implementation, "alice", loop, tmp_path / "alice.log"))
        return started[-1]

    yield begin
    for each in started:
        each.kill()


def mistake(client: Client) -> str:
    """What is said of the reply to an attempt."""
    with pytest.raises(AdapterError) as error:
        client.call("attempt", **ASKED)
    # It stays said, and nothing more is to be had from this client.
    with pytest.raises(AdapterError) as again:
        client.send("attempt", **ASKED)
    assert str(again.value) == str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        ("print('hello', flush=True)", ["alice", "not JSON", "'hello'"]),
        ("print('[1]', flush=True)", ["without the seq 1", "'[1]'"]),
        ("seq += 1; reply(result={})", ["without the seq 1", '"seq": 2']),
        ("reply()", ["not one of result and raised"]),
        ("reply(result={}, raised={'message': 'x'})", ["not one of result and raised"]),
        ("reply(errored={'message': 'no database'})", ["the adapter says: no database"]),
        ("reply(errored='no database')", ["errored without a message"]),
        ("reply(result={}); reply(result={})", ["a line that answers no request", '"seq": 1']),
        ("print('x' * 3000000, flush=True)", ["a reply of more than 1000000 bytes"]),
        ("sys.exit(3)", ["ended with code 3", "it said nothing"]),
        ("print('oh no', file=sys.stderr); sys.exit(1)", ["ended with code 1", "oh no"]),
        ("1 / 0", ["ended with code 1", "ZeroDivisionError"]),
        ("os.kill(os.getpid(), signal.SIGKILL)", ["ended by signal 9"]),
    ],
)
def test_a_mistake_is_told_with_what_was_received(
    start: Start, loop: Loop, attempt: str, words: list[str]
) -> None:
    client = start(adapter(attempt))
    if "reply(result={}); reply" in attempt:
        with contextlib.suppress(AdapterError):  # the second line may come with the first one
            client.call("attempt", **ASKED)
        while client._failure is None:
            assert loop.poll(10)
    said = mistake(client)
    assert all(word in said for word in words), said


def test_only_the_last_words_are_told(start: Start) -> None:
    said = mistake(start(adapter("print(*range(100000), sep='\\n', file=sys.stderr); sys.exit()")))
    assert "99999" in said
    assert "99985" in said
    assert "99984" not in said


def test_the_words_of_an_earlier_client_are_kept_and_not_taken_for_its_own(
    start: Start, tmp_path: Path
) -> None:
    mistake(start(adapter("print('the first', file=sys.stderr); sys.exit()")))
    assert "the first" not in mistake(start(adapter("sys.exit()")))
    assert "the first" in (tmp_path / "alice.log").read_text()


def test_a_client_that_hangs_is_waited_for_as_long_as_is_said(start: Start) -> None:
    client = start(adapter("time.sleep(1000)"))
    begun = time.monotonic()
    with pytest.raises(AdapterError, match=r"alice: no reply to attempt within 0\.2 s"):
        client.call("attempt", within=0.2, **ASKED)
    assert 0.2 <= time.monotonic() - begun < 10
    client.kill()
    client.kill()
    with pytest.raises(AdapterError, match="it was ended"):
        client.call("stop")


def test_a_client_that_says_nothing_and_ignores_its_end_is_killed(start: Start) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
    client = start((sys.executable, "-c", ignore))
    pid = client.pid
    client.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_death_of_one_is_not_told_to_another(start: Start, loop: Loop) -> None:
    dead, alive = start(adapter("sys.exit()")), start(adapter("reply(result={'outcome': 'x'})"))
    dead.send("attempt", **ASKED)
    while dead._failure is None:
        assert loop.poll(10)
    assert alive.call("attempt", **ASKED) == {"outcome": "x"}
    with pytest.raises(AdapterError):
        _ = dead.reply


def test_a_reply_may_come_in_pieces(start: Start) -> None:
    slowly = """
    for letter in json.dumps({"seq": seq, "result": {"outcome": "BOOKED"}}) + "\\n":
        sys.stdout.write(letter)
        sys.stdout.flush()
    """
    assert start(adapter(slowly)).call("attempt", **ASKED) == {"outcome": "BOOKED"}


def test_only_an_attempt_may_raise(start: Start) -> None:
    raising = adapter("reply(raised={'message': 'x'})")
    assert start(raising).call("attempt", **ASKED) is None
    everything = (sys.executable, "-c", raising[2].replace("result={}", "raised={'message': 'x'}"))
    with pytest.raises(AdapterError, match="an exception in the place of the result of connect"):
        start(everything).call("connect", dsn="", deadline_ms=1)


def test_a_command_that_is_none(start: Start) -> None:
    with pytest.raises(AdapterError, match="'/no/such/thing' does not start"):
        start(("/no/such/thing",))


def test_children_do_not_outlive_us(tmp_path: Path) -> None:
    """Not even where we are killed and they ignore the end of their input."""
    program = f"""
import sys
from pathlib import Path
from lastseat.harness.implementations import client
from lastseat.harness.loop import Loop
stubborn = "import sys, time; print(flush=True); time.sleep(1000)"
made = client.Process((sys.executable, "-c", stubborn), Path({str(tmp_path / "log")!r}))
print(made.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(signal.SIGKILL)
            # A process's descriptor can be read once it has ended.
            assert select.select([child], [], [], 20)[0]
        finally:
            os.close(child)


# What an adapter leaves: processes and words without an end.

DAEMON = """
import os, sys, time
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # an orphan, in a session of its own, deaf to all that can be ignored
        import signal
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.environ.clear()
        os.write(writer, str(os.getpid()).encode())
        os.close(0); os.close(1); os.close(2)
        time.sleep(1000)
    os._exit(0)
print(os.read(reader, 20).decode(), flush=True)
{then}
"""


def await_end(pidfd: int) -> None:
    try:
        assert select.select([pidfd], [], [], 20)[0], "it lives on"
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("then", ["time.sleep(1000)", "sys.exit()", "os.kill(os.getpid(), 9)"])
def test_what_an_adapter_has_started_ends_with_it(tmp_path: Path, then: str) -> None:
    process = clients.Process(
        (sys.executable, "-c", DAEMON.format(then=then)), tmp_path / "alice.log"
    )
    try:
        assert select.select([process], [], [], 20)[0]
        orphan = os.pidfd_open(int(process.read()))
        if then != "time.sleep(1000)":
            assert process.last_words(20) is not None
        assert not select.select([orphan], [], [], 0)[0]
    finally:
        process.kill()
    await_end(orphan)


@pytest.mark.parametrize("killed", ["parent", "warden"])
def test_the_end_of_whoever_watches_is_the_end_of_what_an_adapter_has_started(
    tmp_path: Path, killed: str
) -> None:
    program = f"""
import select, sys
from pathlib import Path
from lastseat.harness.implementations import client
made = client.Process((sys.executable, "-c", {DAEMON.format(then="time.sleep(1000)")!r}),
                      Path({str(tmp_path / "log")!r}))
select.select([made], [], [])
print(made.read().decode().strip(), made.pid, made._warden.pid, flush=True)
sys.stdin.read()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        orphan, adapter, warden = map(int, parent.stdout.readline().split())
        watched = {pid: os.pidfd_open(pid) for pid in (orphan, adapter)}
        os.kill(parent.pid if killed == "parent" else warden, signal.SIGKILL)
        await_end(watched.pop(adapter))
        if killed == "parent":
            await_end(watched.pop(orphan))
        for pid, fd in watched.items():  # the second line of defence is the adapter's alone
            os.kill(pid, signal.SIGKILL)
            os.close(fd)
        parent.kill()


def test_a_log_has_an_end(start: Start, tmp_path: Path) -> None:
    """The beginning and the last words are kept, and the last line says what is missing."""
    flood = f"""
    print('the beginning', file=sys.stderr)
    for _ in range({3 * warden.MOST} // 1000):
        sys.stderr.write('x' * 999 + '\\n')
    sys.exit('the last words')
    """
    said = mistake(start(adapter(flood)))
    assert "the last words" in said
    log = (tmp_path / "alice.log").read_bytes()
    assert warden.MOST <= len(log) <= warden.MOST + 2 * warden.LAST
    assert log.startswith(b"the beginning")
    *_, before, last = log.splitlines()
    assert before == b"the last words"
    assert re.fullmatch(rb"lastseat: [0-9,]+ bytes are left out here, before the last .*", last)
    # A next process of the client adds its last words, and no more.
    mistake(start(adapter(flood)))
    assert (tmp_path / "alice.log").stat().st_size <= warden.MOST + 4 * warden.LAST


def test_a_log_that_fits_is_whole(start: Start, tmp_path: Path) -> None:
    mistake(start(adapter("print('x' * 1_000_000, file=sys.stderr); sys.exit()")))
    assert (tmp_path / "alice.log").read_bytes() == b"x" * 1_000_000 + b"\n"


def test_a_full_disk_does_not_hold_an_adapter_up(start: Start, tmp_path: Path) -> None:
    (tmp_path / "alice.log").symlink_to("/dev/full")
    told = "print('x' * 1_000_000, file=sys.stderr, flush=True); reply(result={'outcome': 'x'})"
    assert start(adapter(told)).call("attempt", **ASKED) == {"outcome": "x"}


# Factories, in a process and in a thread.


@pytest.fixture(params=["process", "thread"])
def hosted(
    request: pytest.FixtureRequest, loop: Loop, tmp_path: Path
) -> Iterator[Callable[[str], Client]]:
    """Starts a client that hosts this factory."""
    started: list[Client] = []

    def begin(factory: str) -> Client:
        implementation = Implementation.python(factory)
        if request.param == "thread":
            client = clients.start_in_process(implementation, "alice", loop)
        else:
            client = clients.start(implementation, "alice", loop, tmp_path / "alice.log")
        started.append(client)
        return client

    yield begin
    for each in started:
        each.close()


Hosted = Callable[[str], Client]


def test_a_factory_speaks_the_protocol(hosted: Hosted) -> None:
    client = hosted(FACTORY)
    declared = read_start(client.call("start", protocol=1))
    assert (declared.name, declared.language, declared.ids) == (FACTORY, "Python", "text")
    assert declared.mechanism == "Whatever is wanted."
    assert declared.promises == {"winner"}
    assert (declared.bookings_sql, declared.booked_sql) == ("SELECT 1", None)
    assert client.call("prepare", dsn="right") == {}
    assert client.call("declare", dsn="right", resource_id="r1", capacity=1) == {}
    assert client.call("connect", dsn="where", deadline_ms=1500) == {}
    assert client.call("attempt", **ASKED) == {"outcome": "BOOKED", "detail": "where 1.5"}


@pytest.mark.parametrize(
    ("wish", "told"),
    [("print", BOOKED), ("object", IN_DOUBT), ("coroutine", REJECTED)],
)
def test_results_of_all_kinds(hosted: Hosted, wish: str, told: object) -> None:
    client = hosted(FACTORY)
    client.call("connect", dsn="", deadline_ms=1)
    client.call("attempt", **{**ASKED, "booking_id": wish})
    assert client.reply is not None
    assert read_attempt(client.reply) == told


@pytest.mark.parametrize(
    ("wish", "message", "in_doubt"),
    [
        ("raise", "ValueError: not this one", False),
        ("in doubt", "TimeoutError: cancelled", True),
        ("exit", "SystemExit: 7", False),
    ],
)
def test_what_escapes_an_attempt_is_raised(
    hosted: Hosted, wish: str, message: str, in_doubt: bool
) -> None:
    client = hosted(FACTORY)
    client.call("connect", dsn="", deadline_ms=1)
    assert client.call("attempt", **{**ASKED, "booking_id": wish}) is None
    assert client.reply is not None
    assert client.reply["raised"] == {"message": message, "in_doubt": in_doubt}


@pytest.mark.parametrize(
    ("cmd", "fields", "words"),
    [
        ("start", {"protocol": 2}, "protocol 2 is not spoken here"),
        ("prepare", {"dsn": "wrong"}, "ConnectionError: no such database"),
        ("declare", {"dsn": "", "resource_id": "r1", "capacity": -1}, "ValueError: -1 of r1"),
        ("connect", {}, "KeyError: 'dsn'"),
        ("attempt", ASKED, "attempt before connect"),
        ("module", {}, "unknown command 'module'"),
    ],
)
def test_what_the_host_cannot_do_is_an_adapter_error(
    hosted: Hosted, cmd: str, fields: dict[str, object], words: str
) -> None:
    with pytest.raises(AdapterError, match=words):
        hosted(FACTORY).call(cmd, **fields)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("no.such.module:name", "ModuleNotFoundError"),
        (f"{adapters.__name__}:nothing", "AttributeError"),
        (adapters.__name__, "is not of the form package.module:name"),
    ],
)
def test_what_is_no_factory_is_told_with_its_last_words(
    hosted: Hosted, factory: str, words: str
) -> None:
    with pytest.raises(AdapterError, match=words):
        hosted(factory).call("start", protocol=1)


def test_a_factory_that_fails(hosted: Hosted) -> None:
    with pytest.raises(AdapterError, match="RuntimeError: it cannot be made"):
        hosted(f"{adapters.__name__}:broken").call("connect", dsn="", deadline_ms=1)


def test_a_command_cannot_run_in_a_thread(loop: Loop) -> None:
    with pytest.raises(AdapterError, match="is a command"):
        clients.start_in_process(Implementation("x", ("x",)), "alice", loop)
