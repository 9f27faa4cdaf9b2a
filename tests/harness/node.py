"""Is Node here, with the drivers for it that ``make node`` installs?"""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "node-postgres"
DRIVERS = ROOT / "tests" / "harness" / "gate" / "node"

NODE = shutil.which("node")


def why_not() -> str | None:
    """What is missing for tests with Node, in words; None if they can be run."""
    if NODE is None:
        return "node"
    missing = [str(at.relative_to(ROOT)) for at in (EXAMPLE, DRIVERS) if not _installed(at)]
    return f"npm packages in {' and '.join(missing)}" if missing else None


def _installed(folder: Path) -> bool:
    return (folder / "node_modules" / "pg").is_dir()


HERE = why_not() is None
"""Where it is not, tests with it are not collected, and the summary of the tests says so."""
