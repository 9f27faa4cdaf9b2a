"""A PostgreSQL is found where it should be, and what is missing is said."""

import shutil
import sys
from pathlib import Path

import pytest

from lastseat.harness.postgres import NoPostgres, binaries


def fake(folder: Path, told: str = "postgres (PostgreSQL) 16.4") -> Path:
    """A folder that looks like an installation's bin folder; `told` is its version line."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{told}'\n")
        program.chmod(0o755)
    return folder


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any PostgreSQL; its folder on PATH is returned, Debian's is beside."""
    path = tmp_path / "path"
    path.mkdir()
    shell = shutil.which("sh")
    assert shell is not None
    (path / "sh").symlink_to(shell)
    monkeypatch.delenv("PG_BIN", raising=False)
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(binaries, "WHEELS", ("no-such-wheel",))
    monkeypatch.setattr(binaries, "DEBIAN", tmp_path / "debian")
    return path


def pg_config(path: Path, told: Path) -> None:
    program = path / "pg_config"
    program.write_text(f"#!/bin/sh\necho '{told}'\n")
    program.chmod(0o755)


def test_without_any_all_places_and_the_next_step_are_named(nowhere: Path) -> None:
    with pytest.raises(NoPostgres) as error:
        binaries.find()
    for words in ("$PG_BIN", "no-such-wheel", "PATH", "debian", "pip install", "--dsn"):
        assert words in str(error.value)
    assert binaries.find_all() == []


def test_pg_bin_is_taken_before_everything(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path / "debian/18/bin", "postgres (PostgreSQL) 18.1")
    chosen = fake(tmp_path / "chosen")
    monkeypatch.setenv("PG_BIN", str(chosen))
    found = binaries.find()
    assert (found.bin, found.version, found.source) == (chosen, (16, 4), "$PG_BIN")
    assert [each.version[0] for each in binaries.find_all()] == [16, 18]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda folder: None, "is not a folder"),
        (lambda folder: folder.mkdir(), "has no program postgres"),
        (lambda folder: fake(folder, "postgres (PostgreSQL) 14.9"), "is PostgreSQL 14"),
        (lambda folder: fake(folder, "postgres (PostgreSQL) 19beta1"), "is PostgreSQL 19"),
        (lambda folder: fake(folder, "a cat"), "says 'a cat'"),
    ],
)
def test_a_wrong_pg_bin_is_an_error_and_never_passed_over(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare, reason: str
) -> None:
    fake(tmp_path / "debian/18/bin", "postgres (PostgreSQL) 18.1")
    prepare(tmp_path / "chosen")
    monkeypatch.setenv("PG_BIN", str(tmp_path / "chosen"))
    with pytest.raises(NoPostgres, match=r"PG_BIN=.*does not serve") as error:
        binaries.find()
    assert reason in str(error.value)


def test_the_wheel_comes_before_path(
    nowhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "some_wheel"
    wheel = fake(package / "pginstall" / "bin")
    (package / "__init__.py").write_text("raise RuntimeError('no code of a wheel is run')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(binaries, "WHEELS", ("some-wheel",))
    pg_config(nowhere, fake(tmp_path / "other"))
    assert binaries.find().bin == wheel
    assert binaries.find().source == "some-wheel wheel"
    assert "some_wheel" not in sys.modules


def test_pg_config_on_path_tells_the_folder(nowhere: Path, tmp_path: Path) -> None:
    pg_config(nowhere, fake(tmp_path / "other"))
    assert binaries.find().bin == tmp_path / "other"
    assert binaries.find().source == "PATH"


def test_pg_config_of_the_client_library_alone_is_passed_over(
    nowhere: Path, tmp_path: Path
) -> None:
    (tmp_path / "client").mkdir()
    pg_config(nowhere, tmp_path / "client")
    fake(tmp_path / "debian/17/bin", "postgres (PostgreSQL) 17.2 (Debian 17.2-1)")
    assert binaries.find().version == (17, 2)


def test_a_link_on_path_leads_to_the_folder(nowhere: Path, tmp_path: Path) -> None:
    real = fake(tmp_path / "other")
    (real / "pg_ctl").write_text("#!/bin/sh\n")
    (real / "pg_ctl").chmod(0o755)
    (nowhere / "pg_ctl").symlink_to(real / "pg_ctl")
    assert binaries.find().bin == real


def test_of_debians_the_highest_that_serves_is_taken(nowhere: Path, tmp_path: Path) -> None:
    for major in (9, 15, 16, 19):
        fake(tmp_path / f"debian/{major}/bin", f"postgres (PostgreSQL) {major}.1")
    assert binaries.find().version == (16, 1)
    assert [each.version[0] for each in binaries.find_all()] == [16, 15]


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("postgres (PostgreSQL) 18.6\n", (18, 6)),
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", (15, 20)),
        ("postgres (PostgreSQL) 18beta2", (18, 0)),
        ("postgres 18.6", None),
    ],
)
def test_version_line(told: str, version: tuple[int, int] | None) -> None:
    assert binaries.parse_version(told) == version
