"""Wrong implementations in JavaScript, on node-postgres: each is the example, changed in one place.

They are met through the adapter protocol alone, as anybody's are.
"""

import shlex
import shutil
from pathlib import Path

import pytest
from attrs import frozen
from tests.harness import node

from lastseat.harness.cases import briefly, until_convicted
from lastseat.harness.postgres import Target
from lastseat.harness.registry import resolve
from lastseat.harness.venue import Venue


@frozen
class Change:
    """``text`` of the example is replaced; one of the rules ``breaks`` is broken then."""

    name: str
    text: str
    by: str
    breaks: frozenset[str]


CHANGES = (
    Change("drop-lock", " FOR NO KEY UPDATE", "", frozenset({"capacity"})),
    Change(
        "conflict-is-full",
        "if (CONFLICTS.has(error.code)) return conflict(error.message);",
        'if (CONFLICTS.has(error.code)) return { outcome: "REJECTED" };',
        frozenset({"determinism", "REJECTED"}),
    ),
    Change(
        "deny-doubt",
        "in_doubt: committing,",
        "in_doubt: false,",
        frozenset({"INFRASTRUCTURE", "in doubt exactly where it is due"}),
    ),
    Change(
        "left-open",
        '    await this.query("ROLLBACK");',
        "    await Promise.resolve();",
        frozenset({"nothing after the outcome"}),
    ),
)


if node.HERE:  # where it is not, the summary of the tests says so

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
    def test_it_is_convicted_by_a_rule_that_it_breaks(
        change: Change, target: Target, tmp_path: Path
    ) -> None:
        folder = tmp_path / "changed"
        shutil.copytree(node.EXAMPLE, folder, symlinks=True)
        booking = folder / "booking.mjs"
        assert booking.read_text().count(change.text) == 1
        booking.write_text(booking.read_text().replace(change.text, change.by))
        command = shlex.join(["node", str(folder / "adapter.mjs")])
        with Venue(resolve("", command), target, tmp_path) as venue:
            found = until_convicted(venue, briefly())
        assert {rule for convicted in found.convicted for rule in convicted.rules} & change.breaks
