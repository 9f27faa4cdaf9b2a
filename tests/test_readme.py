"""What the README and the documents say is what happens."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lastseat.harness import cli
from lastseat.harness.cases import PROFILES, cases
from lastseat.harness.implementations import protocol, schema
from lastseat.harness.implementations.host import Host
from lastseat.harness.selection import read_known
from lastseat.harness.verdict import INTERRUPTED, Verdict
from lastseat.spec import visibility
from lastseat.spec.rules import Rule

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ADAPTERS = (ROOT / "docs" / "adapters.md").read_text()
CI = (ROOT / "docs" / "ci.md").read_text()
CONTRACT = (ROOT / "docs" / "contract.md").read_text()


def console(start: str) -> list[str]:
    """The console block whose first line begins so."""
    blocks = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(f"$ {start}")]
    return str(found).splitlines()


def test_the_violation_is_printed_as_shown(tmp_path: Path) -> None:
    command, *shown = console(".venv/bin/lastseat explore")
    words = command.split()[2:]
    done = subprocess.run(
        [sys.executable, "-m", "lastseat.harness.cli", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Verdict.VIOLATION.value, done.stderr
    for line in shown:
        # Three dots stand for what is left out.
        parts = [re.escape(part.strip()) for part in line.split("...")]
        assert re.search(".*".join(parts), done.stdout), f"{line!r} is not in\n{done.stdout}"


def test_the_commands_are_those_of_the_table() -> None:
    (subs,) = (action.choices for action in cli.parser()._actions if action.dest == "command")
    told = set(re.findall(r"^\| `lastseat (\w+)", README, re.MULTILINE))
    assert told == set(subs or ())


def test_the_exit_codes_are_those_of_the_table() -> None:
    told = dict(re.findall(r"^\| (\d+) \| (\w+)", README, re.MULTILINE))
    said = {str(verdict.value): str(verdict) for verdict in Verdict}
    assert told == {**said, "3": "usage", str(INTERRUPTED): "interrupted"}


def test_the_targets_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\$ make (\w+)", README, re.MULTILINE)) <= targets


def test_the_contract_names_every_rule() -> None:
    told = CONTRACT.replace("`", "")
    for rule in Rule:
        promised_elsewhere = {Rule.CAPACITY, Rule.COUNTER, Rule.PROGRAMMING_ERROR}
        assert f"| {rule.value} |" in told or rule in promised_elsewhere, rule.value
    for seen in visibility.Rule:
        assert f"| {seen.title} |" in told or seen is visibility.Rule.DOUBT_WHERE_DUE, seen.title


@pytest.mark.parametrize(
    "request_line", re.findall(r"^\| `(\{.*?\})` \| `", ADAPTERS, re.MULTILINE)
)
def test_the_host_understands_each_request_of_the_protocol(request_line: str) -> None:
    request = json.loads(request_line)
    reply = Host("lastseat.impl.optimistic:optimistic").reply({**request, "dsn": "host=nowhere"})
    # Without a server it cannot do it; but it must know what it was asked.
    assert "unknown command" not in json.dumps(reply)


def test_the_adapter_to_copy_is_the_one_that_is_tested() -> None:
    (printed,) = re.findall(r"```python\n(.*?)```", ADAPTERS, re.DOTALL)
    assert printed == (ROOT / "tests" / "harness" / "adapters" / "minimal.py").read_text()


def test_the_example_for_pytest_is_the_one_that_is_tested() -> None:
    (printed,) = re.findall(r"```python\n(.*?)```", CI, re.DOTALL)
    example = (ROOT / "docs" / "examples" / "pytest" / "test_seats.py").read_text()
    assert printed in example


def test_the_known_failures_that_are_shown_can_be_read(tmp_path: Path) -> None:
    (printed,) = re.findall(r"```toml\n(.*?)```", CI, re.DOTALL)
    file = tmp_path / "known-failures.toml"
    file.write_text(printed)
    read_known(file).check([case.id for case in cases(PROFILES["quick"])])


def test_the_options_that_are_shown_are_there() -> None:
    for words in re.findall(r"^\$ (lastseat .*|pytest .*)$", CI, re.MULTILINE):
        command, *given = shlex.split(words)
        if command == "lastseat":
            cli.parser().parse_args(given)
    ids = {case.id.partition("/")[0] for case in cases(PROFILES["full"])}
    assert set(re.findall(r"^\| `(\w+)[/`]", section("## Cases"), re.MULTILINE)) == ids


def section(title: str) -> str:
    """Of the page on CI."""
    return CI.partition(f"{title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", ["GitHub Actions", "GitLab CI"])
def test_the_jobs_to_paste_use_what_there_is(kind: str) -> None:
    (job,) = re.findall(r"```yaml\n(.*?)```", section(f"## {kind}"), re.DOTALL)
    (command,) = re.findall(r"lastseat verify .*", job)
    args = cli.parser().parse_args(command.split()[1:])
    assert str(args.out) in job.replace(command, ""), "what is written is kept"


def test_the_results_of_an_attempt_fit_the_schema() -> None:
    results = re.findall(r'^\| `(\{"outcome.*?\})` \|', ADAPTERS, re.MULTILINE)
    assert len(results) == 5
    for result in results:
        reply = {"seq": 1, "result": json.loads(result)}
        assert schema.mistakes("reply", "attempt", reply) == ()


def test_the_messages_of_the_protocol_fit_the_schema() -> None:
    rows = re.findall(r"^\| `(\{.*?\})` \| `(\{.*?\})`", ADAPTERS, re.MULTILINE)
    for request, reply in rows:
        cmd = json.loads(request)["cmd"]
        assert schema.mistakes("request", cmd, json.loads(request)) == ()
        assert schema.mistakes("reply", cmd, json.loads(reply)) == ()


def test_the_replies_of_the_protocol_are_read() -> None:
    rows = re.findall(r"^\| `(\{.*?\})` \| `(\{.*?\})`", ADAPTERS, re.MULTILINE)
    replies = {json.loads(request)["cmd"]: reply for request, reply in rows}
    assert set(replies) == {"start", "prepare", "declare", "connect", "attempt", "stop"}
    start = protocol.decode(replies["start"].encode(), 1)
    assert protocol.read_start(start["result"]).ids == "text"
    attempt = protocol.decode(replies["attempt"].encode(), 5)
    assert str(protocol.read_attempt(attempt)) == "BOOKED"
