"""PostgreSQL's isolationtester and frontrun beside us, on the same server: how long until all is
covered of two optimistic attempts on one row, and which wrong implementations are found, how soon.

isolationtester runs SQL that somebody has transcribed; the transcriptions are in ``SPECS``, and
end in a check of the end state that knows the rule to be broken, since it judges nothing itself: it
has less to do than we, who run the real thing in processes of its own. It runs every permutation,
as we are given no hint either, within a budget of time. frontrun runs Python threads: see
``bench.threads``. Which of them is not installed is skipped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen
from psycopg.conninfo import make_conninfo

from lastseat.harness.exploration import Own, explore
from lastseat.harness.postgres import COMMITS_WAIT, Target, open_target
from lastseat.harness.registry import resolve
from lastseat.harness.scenario import named
from lastseat.harness.schedule.coverage import Coverage
from lastseat.harness.venue import Found, Venue

_TESTER = Path("lib", "pgxs", "src", "test", "isolation", "isolationtester")
_SCENARIOS = ("last-seat", "same-id-last-seat")
_BROKEN = "the rule is broken"
_THREADS = "lastseat.harness.bench.threads"
_ASKED = 3

_SETUP = """
  DROP TABLE IF EXISTS resource, booking, answer;
  CREATE TABLE resource (capacity int, booked int DEFAULT 0, version int DEFAULT 0);
  CREATE TABLE booking (id text, units int);
  CREATE TABLE answer (said text);
  INSERT INTO resource VALUES (1);
"""
_TAKEN = "(SELECT coalesce(sum(units), 0) FROM booking)"
_INSERT = "INSERT INTO booking SELECT 'b{n}', 1 WHERE current_setting('a.go') = 'true'"
_OVERBOOKED = "(SELECT sum(units) FROM booking) > 1"


def _go(condition: str, rest: str = "") -> str:
    """What a client would remember, the session remembers."""
    return f"SELECT set_config('a.go', ({condition})::text, false){rest}"


@frozen
class _Spec:
    """The steps of each session, one a turn; when is the end state illegal?"""

    steps: tuple[str, ...]
    broken: str = _OVERBOOKED
    setup: str = ""

    def text(self) -> str:
        """As isolationtester reads it."""
        # Only the last result of a teardown is shown.
        check = f"SELECT '{_BROKEN}' WHERE {self.broken}"
        parts = [f"setup {{ {_SETUP} {self.setup} }}", f"teardown {{ {check} }}"]
        for n in (1, 2):
            parts.append(f"session s{n}")
            # A session's own settings outlive its permutation.
            parts.append("setup { SET a.go = 'false'; SET a.version = '0' }")
            parts += [f"step s{n}t{k} {{ {t.format(n=n)}; }}" for k, t in enumerate(self.steps)]
        return "\n".join(parts) + "\n"


_VERSION = "SELECT set_config('a.version', version::text, false) FROM resource"
_CLAIM = """
UPDATE resource SET version = version + 1 WHERE version = current_setting('a.version')::int"""
_CLAIM_AND_TELL = f"""
WITH claimed AS ({_CLAIM} AND {_TAKEN} < capacity RETURNING 1)
SELECT set_config('a.go', (count(*) = 1)::text, false) FROM claimed"""
_TAKE_AND_ANSWER = """
WITH taken AS (
    UPDATE resource SET booked = booked + 1
     WHERE booked < capacity AND current_setting('a.go') = 'true' RETURNING 1
), made AS (INSERT INTO booking SELECT 'b', 1 FROM taken RETURNING 1)
INSERT INTO answer SELECT CASE
    WHEN current_setting('a.go') = 'false' OR EXISTS (SELECT FROM made) THEN 'BOOKED'
    ELSE 'REJECTED' END"""

SPECS: Mapping[str, _Spec] = {
    "optimistic": _Spec(("BEGIN", _VERSION, _CLAIM_AND_TELL, _INSERT, "COMMIT")),
    "X01": _Spec(("BEGIN", _go(f"{_TAKEN} < 1"), _INSERT, "COMMIT")),
    "X03": _Spec(
        (
            "BEGIN",
            _go(f"{_TAKEN} < capacity", " FROM resource FOR NO KEY UPDATE"),
            _INSERT,
            "COMMIT",
        )
    ),
    "X14": _Spec(
        (
            "BEGIN",
            "SELECT pg_advisory_lock(1)",
            _go(f"{_TAKEN} < 1"),
            _INSERT,
            "SELECT pg_advisory_unlock(1)",
            "COMMIT",
        )
    ),
    "X21": _Spec(
        ("BEGIN", "INSERT INTO booking VALUES ('b{n}', 1)", "COMMIT"),
        setup=(
            "CREATE OR REPLACE FUNCTION summed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF {_OVERBOOKED} THEN RAISE check_violation; END IF; RETURN NULL; END $$;"
            " CREATE CONSTRAINT TRIGGER t AFTER INSERT ON booking DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION summed();"
        ),
    ),
    "X25": _Spec(
        (
            "BEGIN",
            _VERSION,
            _go(f"{_TAKEN} < 1"),
            _CLAIM,
            _INSERT,
            "COMMIT",
        )
    ),
    "X31": _Spec(
        (
            "BEGIN",
            _go("NOT EXISTS (SELECT FROM booking WHERE id = 'b')"),
            _TAKE_AND_ANSWER,
            "COMMIT",
        ),
        broken="(SELECT count(DISTINCT said) FROM answer) > 1",
    ),
}


def tester(target: Target) -> Path | None:
    """Of the server's own installation."""
    if target.server is None:
        return None
    found = target.server.binaries.bin.parent / _TESTER
    return found if found.is_file() else None


def _told(text: str, seconds: float) -> Iterator[str]:
    if _BROKEN in text:
        yield f"found in {seconds:.1f} s"
    else:
        yield "not found"
    yield f"{text.count('starting permutation:')} permutations run"


def peer(program: Path, dsn: str, spec: _Spec, budget: float, *, to_the_end: bool) -> str:
    """Until it shows the rule broken, has run everything, or the budget is spent."""
    began, said = time.monotonic(), ""
    # Where a permutation cannot be (its next step is of a session that waits), it waits for this.
    patience = {**os.environ, "PG_TEST_TIMEOUT_DEFAULT": "1", "PGISOLATIONTIMEOUT": "1"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as given:
        given.write(spec.text())
        given.seek(0)
        with subprocess.Popen(
            [program, dsn], stdin=given, stdout=output, stderr=subprocess.STDOUT, env=patience
        ) as process:
            while process.poll() is None:
                output.seek(0)
                said = output.read()
                if (_BROKEN in said and not to_the_end) or time.monotonic() - began > budget:
                    process.kill()
                time.sleep(0.02)
        output.seek(0)
        said = output.read()
    seconds = time.monotonic() - began
    ended = "all" if process.returncode == 0 else f"ended after {seconds:.1f} s"
    return ", ".join((*_told(said, seconds), ended))


def frontrun() -> Path | None:
    """Where it is installed beside us."""
    program = Path(sys.executable).with_name("frontrun")
    return program if program.is_file() else None


def threads(program: Path, name: str, dsn: str, budget: float) -> str:
    """What frontrun says. It hangs on who was faster: where it finds nothing it is asked again."""
    command = [str(program), sys.executable, "-m", _THREADS, name, dsn, str(budget)]
    asked, said = 0, ""
    while asked < _ASKED and not said.startswith("found"):
        asked += 1
        # Its own time-outs come first, unless it hangs.
        patience = 9 * budget
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patience
        )
        said = ((done.stdout or done.stderr).strip().splitlines() or ["no word"])[-1]
    return f"{said}, asked {asked} times"


def _ours(name: str, target: Target, out: Path) -> str:
    """Explored without a hint, scenario after scenario, until it is convicted."""
    began, classes, found = time.monotonic(), 0, Found()
    with Venue(resolve(name), target, out / name) as venue:
        for scenario in _SCENARIOS[: 1 if name == "optimistic" else None]:
            coverage = Coverage()
            explore(named(scenario), Own(venue), found, coverage, case=scenario)
            classes += coverage.classes
            if found.convicted:
                break
        seconds = time.monotonic() - began
    rules = sorted({rule for convicted in found.convicted for rule in convicted.rules})
    what = f"found ({', '.join(rules)})" if rules else "nothing found"
    return f"{what}, {classes} classes in {seconds:.1f} s, its clients' start included"


def main() -> None:
    """Print, for each, what either tool found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="budget of a peer for each")
    parser.add_argument("--only", nargs="+", choices=list(SPECS), default=list(SPECS))
    args = parser.parse_args()
    with open_target(settings=COMMITS_WAIT) as target, tempfile.TemporaryDirectory() as folder:
        program = tester(target)
        if program is None:
            print("isolationtester is not installed with this server: skipped", file=sys.stderr)
        # Nobody would finish their commits.
        at_once = "-c synchronous_commit=off"
        explorer = frontrun()
        if explorer is None:
            print("frontrun is not installed (pip install frontrun): skipped", file=sys.stderr)
        for name in args.only:
            print(f"{name}\n  lastseat         {_ours(name, target, Path(folder))}", flush=True)
            if program is not None:
                dsn = make_conninfo(target.new_database(), options=at_once)
                spec = SPECS[name]
                told = peer(program, dsn, spec, args.seconds, to_the_end=name == "optimistic")
                print(f"  isolationtester  {told}", flush=True)
            if explorer is not None:
                dsn = make_conninfo(target.new_database(), options=at_once)
                said = threads(explorer, name, dsn, args.seconds)
                print(f"  frontrun         {said}", flush=True)


if __name__ == "__main__":
    main()
