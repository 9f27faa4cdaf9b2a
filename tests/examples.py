"""Hold every example in docs/examples against the model, by the whole quick profile.

Takes about a minute each; ends with the worst verdict. The reports are in .lastseat/examples.
"""

import subprocess
import sys
from pathlib import Path

from tests.harness import node

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "lastseat.harness.cli", "verify"]


def main() -> int:
    worst = 0
    for folder in sorted((ROOT / "docs" / "examples").iterdir()):
        if (folder / "booking.py").exists():
            what = ["booking:booking"]
        elif (folder / "adapter.mjs").exists() and node.HERE:
            what = ["--adapter", "node adapter.mjs"]
        elif (folder / "adapter.mjs").exists():
            print(f"{folder.name}: not verified, for there is no {node.why_not()}")
            continue
        else:
            continue
        out = ROOT / ".lastseat" / "examples" / folder.name
        done = subprocess.run([*COMMAND, *what, "--out", str(out)], cwd=folder, check=False)
        worst = worst or done.returncode
    return worst


if __name__ == "__main__":
    sys.exit(main())
