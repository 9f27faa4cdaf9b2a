"""The server that the user names, and that its password is nobody else's to read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests.harness.test_amid_strangers import family

from lastseat.harness import cli, dsn
from lastseat.harness.postgres import Server, open_target

LASTSEAT = (sys.executable, "-m", "lastseat.harness.cli")


def parsed(*args: str) -> str | None:
    found: str | None = cli.parser(["explore"]).parse_args(["explore", "last-seat", *args]).dsn
    return found


def test_it_comes_from_the_command_line_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(dsn.VARIABLE, raising=False)
    assert parsed() is None
    monkeypatch.setenv(dsn.VARIABLE, "")
    assert parsed() is None
    monkeypatch.setenv(dsn.VARIABLE, "service=there")
    assert parsed() == "service=there"
    assert parsed("--dsn", "") == ""  # all of it from PGHOST and so on
    dsn.forget_environment()
    assert dsn.VARIABLE not in os.environ


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ("postgresql://me:secret@there/db", True),
        ("host=there password=secret", True),
        ("postgresql://me@there/db", False),
        ("service=there", False),
        ("nonsense", False),
        ("postgresql://me:sec%ZZret@there", False),
    ],
)
def test_a_password_on_the_command_line_is_warned_of(
    given: str, holds: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parsed("--dsn", given) == given
    said = capsys.readouterr().err
    assert ("every user of this machine" in said) == holds
    assert "secret" not in said


def test_a_word_of_the_command_line_is_overwritten() -> None:
    code = (
        "import sys; from lastseat.harness.dsn import conceal; conceal(sys.argv[1]);"
        "print(open('/proc/self/cmdline').read().replace(chr(0), ' '), sys.argv[1], sep=chr(10))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "a secret", "another", "x=a secret"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    line, kept = done.stdout.splitlines()
    assert kept == "a secret"  # it is still known to the program
    assert line.rstrip().endswith("******** another x=********")


@pytest.mark.parametrize("by", ["command line", "environment"])
def test_no_process_shows_the_password(by: str, server: Server, tmp_path: Path) -> None:
    """Neither lastseat nor a worker, a client or anything else that it starts."""
    url = server.dsn(tcp=True)
    password = str(conninfo_to_dict(url)["password"])
    command = [*LASTSEAT, "verify", "--select", "explore/in-turn", "--select", "explore/last-seat"]
    environment = {**os.environ, "PYTHONPATH": ""}
    if by == "environment":
        environment[dsn.VARIABLE] = url
    else:
        command += ["--dsn", url]
    seen: set[str] = set()
    with subprocess.Popen(
        [*command, "--workers", "2"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            for pid in family(process.pid):
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                    inherited = Path(f"/proc/{pid}/environ").read_text()
                except OSError:
                    continue
                # Before it has read its arguments, the process itself shows them.
                if pid != process.pid or seen:
                    assert password not in line, line
                if pid != process.pid:
                    assert password not in inherited, line
                    seen.add(line)
            time.sleep(0.05)
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert len(seen) >= 3, "nobody was looked at"
    assert password not in said
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()


@pytest.mark.parametrize("way", ["service", "variables"])
def test_what_libpq_finds_elsewhere_is_found(
    way: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = conninfo_to_dict(server.dsn(tcp=True))
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{told['port']}:*:postgres:{told['password']}\n")
    passwords.chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    if way == "service":
        services = tmp_path / "services"
        services.write_text(f"[there]\nhost=127.0.0.1\nport={told['port']}\nuser=postgres\n")
        monkeypatch.setenv("PGSERVICEFILE", str(services))
        given = "service=there dbname=postgres"
    else:
        monkeypatch.setenv("PGHOST", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(told["port"]))
        monkeypatch.setenv("PGUSER", "postgres")
        given = "dbname=postgres"
    with open_target(given) as opened:
        # Where none of it is known, such as in a worker, or by another driver.
        for name in ("PGPASSFILE", "PGSERVICEFILE", "PGHOST", "PGPORT", "PGUSER"):
            monkeypatch.delenv(name, raising=False)
        for way_in in (opened.dsn, opened.for_others(), opened.for_clients(opened.dsn)):
            with psycopg.connect(way_in) as connection:
                assert connection.execute("SELECT 7").fetchone() == (7,)


def test_of_several_hosts_all_go_to_the_one_that_was_looked_at(server: Server) -> None:
    told = conninfo_to_dict(server.dsn(tcp=True))
    given = make_conninfo(
        server.dsn(tcp=True), host="127.0.0.1,127.0.0.1", port=f"1,{told['port']}"
    )
    with open_target(given) as opened:
        assert conninfo_to_dict(opened.for_others())["port"] == told["port"]
