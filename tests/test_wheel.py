"""The wheel in an empty environment, outside the checkout, against an implementation of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FACTORY = ROOT / "tests" / "harness" / "factories" / "guarded.py"
ROOMS = {"lastseat/spec", "lastseat/impl", "lastseat/harness"}


def uv(*args: object, cwd: Path) -> None:
    """Run uv as `make setup` installs it; with the system's certificates if its own fail."""
    program = shutil.which("uv", path=f"{ROOT / '.uv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert program, "there is no uv; `make setup` installs it"
    for more in ((), ("--system-certs",)):
        command = [program, *map(str, args), "--quiet", *more]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    pytest.fail(f"{' '.join(command)}: {done.stderr}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout."""
    place = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--out-dir", place, ROOT, cwd=place)
    (built,) = place.glob("*.whl")
    return built


def test_it_holds_the_three_rooms_and_nothing_generic(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    assert {"/".join(name.split("/")[:2]) for name in inside} == ROOMS
    here = {
        str(path.relative_to(base))
        for base in (ROOT / "spec", ROOT / "impl", ROOT / "model_tests")
        for path in (base / "lastseat").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == here, "no file is left out, typing markers and schemas included"


def test_verify_passes_from_there_for_an_implementation_that_lives_there(
    wheel: Path, tmp_path: Path
) -> None:
    """With the locked versions; nothing of the checkout can be seen."""
    export = ("--frozen", "--no-dev", "--no-emit-project", "--no-hashes")
    uv("export", *export, "--output-file", tmp_path / "locked.txt", cwd=ROOT)
    uv("venv", "--python", sys.executable, tmp_path / "env", cwd=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    uv("pip", "install", "--python", python, "-r", "locked.txt", wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(FACTORY, elsewhere / "ours.py")
    hidden = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "lastseat", "verify", "ours:guarded", "--seed", "1"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in hidden},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "pass"
    parts = ("model", "explore/last-seat", "faults/same-id-at-once", "hypothesis", "canary/X48")
    for part in parts:
        assert f"  {part} " in done.stdout
    assert str(ROOT) not in done.stdout + done.stderr
    assert sorted(path.name for path in elsewhere.iterdir() if path.name != "__pycache__") == [
        ".lastseat",
        "ours.py",
    ]
