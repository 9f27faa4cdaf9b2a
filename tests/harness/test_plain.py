"""What comes from outside is shown for what it is: on the terminal, in pages and in XML."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import evolve
from rich.console import Console
from tests.harness import test_check, test_documents, test_page, test_report

from lastseat.harness import check, cli, report
from lastseat.harness.documents import keep
from lastseat.harness.documents.junit import junit
from lastseat.harness.documents.page import page
from lastseat.harness.judge.verdict import Finding
from lastseat.harness.plain import paragraph, plain
from lastseat.harness.terminal import Terminal, escape
from lastseat.harness.verdict import Verdict

FORGED = "b1\nverdict: pass"
HOSTILE = {
    "a line break": FORGED,
    "a line break of Unicode": "b1\u2028verdict: pass\u0085verdict: pass",
    "an escape sequence": "b1\x1b[2J\x1b[H\x9b1mverdict: pass",
    "a carriage return": "b1\rverdict: pass",
    "backspaces": "b1" + "\b" * 40 + "verdict: pass",
    "a title": "b1\x1b]0;pass\x07",
    "turned round": "b1\u202essap :tcidrev\u2066\u200f",
    "no width": "b\u200b1\u2060\ufeff\u00ad\u034f\ufe0f",
    "blank": "b1\u3164\u2800\u115f",
    "markup": "b1[/][red]x[/red][link=http://evil.example]y",
    "an emoji by name": "b1:skull:",
    "half a pair": "b1\ud800",
    "nothing": "b1\x00",
    "a backslash before markup": "b1\\[/]",
}


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE.keys())
def hostile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def unseen(text: str) -> list[str]:
    """The characters that do not show, or do more."""
    kinds = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return [c for c in text if unicodedata.category(c) in kinds or c in "\u3164\u2800\u115f\ufe0f"]


def of(text: str) -> list[str]:
    """The lines that somebody reads, as a terminal breaks them."""
    return text.replace("\r", "\n").splitlines()


def test_one_line_in_which_everything_is_seen(hostile: str) -> None:
    assert not unseen(plain(hostile))
    assert len(plain(hostile).splitlines()) == 1
    plain(hostile).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë, 東京, 🎫, naïve — it's", "Zoë, 東京, 🎫, naïve — it's"),
        ("a\tb\nc", r"a\tb\nc"),
        ("\x1b\x9b\u202e\U000e0101", r"\x1b\x9b\u202e\U000e0101"),
    ],
)
def test_what_is_seen_stays_as_it_is(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_paragraph_has_lines_and_none_of_them_begins_as_ours_do() -> None:
    assert paragraph("it failed\nverdict: pass\x1b\n\n  so") == (
        "it failed\n  verdict: pass\\x1b\n\n    so"
    )


def printed(what: Callable[[Console], object]) -> str:
    file = io.StringIO()
    what(Terminal(file=file, width=60, force_terminal=True, color_system=None))
    return file.getvalue()


def test_a_terminal_shows_no_control_character_of_whoever_forgets(hostile: str) -> None:
    said = printed(lambda console: console.print(hostile, markup=False))
    assert not unseen(said.replace("\n", ""))


def test_what_looks_like_markup_is_none(hostile: str) -> None:
    said = printed(lambda console: console.print(f"[bold]{escape(hostile)}[/] ends"))
    assert said == f"{plain(hostile)} ends\n"


def test_a_violation_is_told_whatever_is_in_it(hostile: str) -> None:
    finding = Finding(hostile, f"promised {hostile}", (hostile,), f"seen {hostile}")
    one = evolve(
        test_report.CONVICTED,
        findings=(finding,),
        timeline=(f"1. {hostile}",),
        scenario=hostile,
        schedule=Path("out", "x.schedule.json"),
    )
    two = evolve(one, findings=(finding,))
    result = test_report.verification(one, two, reasons=[hostile])
    result.results.append(evolve(result.results[0], error=f"adapter {hostile}"))
    said = printed(lambda console: report.show(result, console))
    assert not unseen(said.replace("\n", ""))
    assert [line for line in of(said) if line.startswith("verdict")] == []
    assert of(said)[-1] == "violation"
    assert plain(hostile) in said


def test_progress_is_told_whatever_a_case_is_called(hostile: str) -> None:
    def part(console: Console) -> None:
        with report.progress(console) as watcher:
            result = test_report.verification().results[0]
            watcher.begins(evolve(result.case, id=hostile))
            watcher.run_done()
            watcher.ends(evolve(result, case=evolve(result.case, id=hostile)))

    assert plain(hostile) in printed(part)


def test_a_page_shows_it(hostile: str) -> None:
    finding = Finding(hostile, hostile, (hostile,), hostile)
    observed = (f"the server answers alice: {hostile}",)
    moves = (test_page.SUM_BEFORE_LOCK[0], ("alice", "release", hostile, observed))
    made = page(evolve(test_page.story(moves, finding), scenario=hostile), f"replay {hostile}")
    assert not unseen(made.replace("\n", ""))
    made.encode()
    assert "verdict: pass" not in [line.strip() for line in made.splitlines()]


def test_xml_holds_it(hostile: str) -> None:
    result = test_documents.verification()
    finding = Finding("capacity", "It fits.", (hostile,), hostile)
    bad = evolve(test_documents.CONVICTED, findings=(finding,), scenario=hostile)
    result.results[1].found.convicted[:] = [bad]
    result.results[2] = evolve(result.results[2], case=test_documents.case(hostile))
    result.implementation = hostile
    suites = ElementTree.fromstring(junit(result))
    names = {test.get("name") for test in suites.iter("testcase")}
    assert plain(hostile) in names
    told = "".join(failure.text or "" for failure in suites.iter("failure"))
    assert plain(hostile) in told
    assert "\nverdict: pass" not in told


def test_json_holds_it(hostile: str, tmp_path: Path) -> None:
    result = test_documents.verification(tmp_path / "a\udcff")
    finding = Finding("capacity", "It fits.", (hostile,), hostile)
    bad = evolve(test_documents.CONVICTED, findings=(finding,), scenario=hostile)
    result.results[1].found.convicted[:] = [bad]
    keep.keep(result)
    written = (result.out / keep.JSON).read_bytes()
    assert not unseen(written.decode("ascii").replace("\n", ""))
    told = json.loads(written)
    assert told["cases"][1]["violations"][0]["scenario"] == hostile


def lines_with(booking_id: str) -> list[dict[str, object]]:
    """A history in which a booking of that id is lost, recorded by a client of that name."""
    changed: list[dict[str, object]] = []
    for line in test_check.LOST:
        known = {"booking_id": booking_id, "attempt": f"a {booking_id}", "client": booking_id}
        swapped = {name: known.get(name, value) for name, value in line.items()}
        mine = line.get("attempt") != "a2"
        changed.append(swapped if mine else line)
    return changed


@pytest.mark.parametrize("as_json", [False, True])
def test_a_conviction_stays_one_whatever_its_ids_are(
    hostile: str, as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = test_check.written(tmp_path, lines_with(hostile))
    assert check.run(path, as_json) is Verdict.VIOLATION
    said = capsys.readouterr().out
    assert not unseen(said.replace("\n", ""))
    if as_json:
        assert hostile in json.loads(said)["violations"][0]["explanation"]
        return
    assert [line for line in of(said) if line.startswith("verdict")] == ["verdict: violation"]


def test_a_terminal_of_few_letters_changes_no_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    path = test_check.written(tmp_path, lines_with("東京"))
    assert cli.main(["check", path]) == Verdict.VIOLATION.value
    out.flush()
    assert rb"\u6771\u4eac" in out.buffer.getvalue()  # type: ignore[attr-defined]


def test_what_is_refused_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "x\nverdict: pass\x1b[2J"
    assert cli.main(["check", str(tmp_path / name)]) == Verdict.ERROR.value
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lastseat check: ")
    with pytest.raises(SystemExit):
        cli.main([name])
    assert "\x1b" not in capsys.readouterr().err
