"""Which cases are run, which are known to fail, and what a verdict then speaks of."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from lastseat.harness import report
from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import PROFILES, Case, cases
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.judge.verdict import Finding
from lastseat.harness.selection import (
    Known,
    MalformedKnownFailures,
    Selection,
    UnknownCase,
    fits,
    read_known,
)
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Verification, Watcher, run_cases

STAY = ["model", "explore/last-seat", "faults/last-seat/lose-answer", "hypothesis", "canary/X03"]
CONVICTED = Convicted(
    (Finding("capacity", "It fits.", ("alice-1",), "2 of 1"),), (), Path("x.json"), "last-seat"
)


def case(name: str, *what: object, random: bool = False) -> Case:
    """A case that finds this: a conviction, a reason, an adapter's error, or nothing."""

    def run(_: object, found: object) -> None:
        for each in what:
            if isinstance(each, Convicted):
                found.convicted.append(each)  # type: ignore[attr-defined]
            elif isinstance(each, BaseException):
                raise each
            else:
                found.reasons.append(each)  # type: ignore[attr-defined]

    return Case(name, "", run, random=random)


def verified(
    chosen: Sequence[Case], known: dict[str, str] | None = None, deselected: Sequence[Case] = ()
) -> Verification:
    """These cases, run; nobody is reproached with what was not witnessed."""
    result = Verification("it", "", "quick", 0, Path(), known=Known(known or {}))
    result.deselected = [*deselected, case("unseen")]
    run_cases(chosen, None, result, Watcher())  # type: ignore[arg-type]
    result.deselected = deselected
    return result


def verdict(result: Verification) -> Verdict:
    result.deselected = [*result.deselected, case("unseen")]
    return result.verdict()


def test_ids_stay() -> None:
    """Who has written one into a file finds it again. Others may come; these may not go."""
    for profile in PROFILES.values():
        ids = [case.id for case in cases(profile)]
        assert len(ids) == len(set(ids))
        assert set(STAY) <= set(ids)


@pytest.mark.parametrize(
    ("pattern", "id_", "fit"),
    [
        ("explore", "explore/last-seat", True),
        ("explore/", "explore/last-seat", True),
        ("explore/last-seat", "explore/last-seat", True),
        ("faults/*/lose-answer", "faults/last-seat/lose-answer", True),
        ("faults/last-seat", "faults/last-seat/lose-answer", True),
        ("*", "model", True),
        ("explore/last", "explore/last-seat", False),
        ("expl", "explore/last-seat", False),
        ("faults/*/lose-request", "faults/last-seat/lose-answer", False),
        ("Model", "model", False),
    ],
)
def test_a_pattern_fits_an_id_or_all_that_is_below_it(pattern: str, id_: str, fit: bool) -> None:
    assert fits(pattern, id_) is fit


def test_what_is_selected_less_what_is_deselected() -> None:
    every = cases(PROFILES["quick"])
    chosen, left = Selection(("explore", "model"), ("explore/in-turn",)).split(every)
    assert "explore/last-seat" in [case.id for case in chosen]
    assert "explore/in-turn" in [case.id for case in left]
    assert {case.id.partition("/")[0] for case in chosen} == {"explore", "model"}
    assert len(chosen) + len(left) == len(every)
    assert Selection().split(every) == (every, ())


def test_a_pattern_that_fits_nothing_is_a_mistake_with_a_hint() -> None:
    ids = [case.id for case in cases(PROFILES["quick"])]
    with pytest.raises(UnknownCase, match=r"'explore/last-saet'; did you mean explore/last-seat"):
        Selection(("explore/last-saet",)).check(ids)
    with pytest.raises(UnknownCase, match="--list-cases"):
        Selection(deselect=("zzz",)).check(ids)
    with pytest.raises(UnknownCase, match="zzz"):
        Known({"zzz": "why"}).check(ids)
    Selection(("faults/*",), ("faults/*/raise-*",)).check(ids)


def test_known_failures_are_read_with_their_reasons(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text('# to be mended\n"faults/*/lose-answer" = "we look the row up"\n')
    known = read_known(file)
    assert known.reason("faults/last-seat/lose-answer") == "we look the row up"
    assert known.reason("faults/last-seat/lose-request") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("explore/last-seat", "is not TOML"),
        ('"explore/last-seat" = ""', "'explore/last-seat' lacks its reason"),
        ('"explore/last-seat" = 1', 'a line is "ID" = "REASON"'),
        ('["explore/last-seat"]\nreason = "x"', "lacks its reason"),
    ],
)
def test_a_file_that_gives_no_reasons_is_a_mistake(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text(text)
    with pytest.raises(MalformedKnownFailures) as error:
        read_known(file)
    assert words in str(error.value)
    assert "known.toml" in str(error.value)


def test_known_failures_are_read_from_a_file_of_some_size_only(tmp_path: Path) -> None:
    """A device never ends, and a FIFO never begins."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge.toml").write_text("#" * 1_000_001)
    for file, words in (
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path / "fifo", "is no regular file"),
        (tmp_path / "huge.toml", "has more than 1,000,000 bytes"),
    ):
        with pytest.raises(MalformedKnownFailures, match=words):
            read_known(file)


def test_a_failure_that_is_not_known_is_a_violation() -> None:
    result = verified([case("a"), case("b", CONVICTED)], {"a": "why"})
    assert result.convicted == [CONVICTED]
    assert verdict(result) is Verdict.VIOLATION


@pytest.mark.parametrize("what", [CONVICTED, "it was not seen to happen"])
def test_a_known_failure_is_run_and_told_and_fails_nobody(what: object) -> None:
    result = verified([case("a"), case("b", what)], {"b": "to be mended"})
    assert [each.case.id for each in result.failed_as_known] == ["b"]
    assert verdict(result) is Verdict.PASS
    assert "known" in shown(result)
    assert "to be mended" in shown(result)


def test_another_failure_beside_a_known_one_counts() -> None:
    result = verified([case("a", CONVICTED), case("b", CONVICTED)], {"b": "to be mended"})
    assert verdict(result) is Verdict.VIOLATION


def test_a_failure_that_has_gone_must_leave_the_list() -> None:
    result = verified([case("a/1"), case("a/2")], {"a": "to be mended"})
    assert verdict(result) is Verdict.INCONCLUSIVE
    assert "a passed, and is declared as known to fail: to be mended" in result.reasons


def test_a_pattern_stays_known_while_one_that_it_fits_fails() -> None:
    result = verified([case("a/1"), case("a/2", CONVICTED)], {"a": "to be mended"})
    assert verdict(result) is Verdict.PASS


def test_chance_that_finds_nothing_proves_nothing() -> None:
    result = verified([case("a", random=True)], {"a": "to be mended"})
    assert verdict(result) is Verdict.PASS


def test_an_adapter_that_fails_is_never_known_and_ends_it_with_what_was_found() -> None:
    failing = case("b", AdapterError("alice: it said nothing"))
    result = verified([case("a"), failing, case("c")], {"b": "why"})
    assert verdict(result) is Verdict.ERROR
    assert [each.case.id for each in result.results] == ["a", "b"]
    assert [each.id for each in result.not_run] == ["c"]
    assert "alice: it said nothing" in shown(result)
    assert "not run: c" in shown(result)


def test_a_violation_outlives_an_adapter_that_fails_later() -> None:
    result = verified([case("a", CONVICTED), case("b", AdapterError("gone"))])
    assert verdict(result) is Verdict.VIOLATION
    found_and_failed = verified([case("a", CONVICTED, AdapterError("gone"))])
    assert found_and_failed.convicted == [CONVICTED]
    assert verdict(found_and_failed) is Verdict.VIOLATION


def test_what_is_interrupted_keeps_what_it_found_and_is_not_known_to_fail() -> None:
    result = Verification("it", "", "quick", 0, Path(), known=Known({"b": "why"}))
    interrupted = case("b", CONVICTED, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_cases([case("a"), interrupted], None, result, Watcher())  # type: ignore[arg-type]
    assert result.verdict() is Verdict.VIOLATION
    assert not result.finished


def test_a_failing_part_of_lastseat_itself_is_no_error_of_the_adapter() -> None:
    def run(*_: object) -> None:
        raise AdapterError("the canary's")

    with pytest.raises(AdapterError):
        verified([Case("canary/X", "", run, ours=True)])


def test_a_pass_says_in_its_own_line_what_it_does_not_speak_of() -> None:
    result = verified([case("a"), case("b", CONVICTED)], {"b": "why"}, [case("c"), case("d/e")])
    assert shown(result).splitlines()[-1] == "pass of 1 cases (1 failed as known, 2 deselected)"
    assert "deselected: c, d/e" in shown(result)


def test_who_was_not_to_look_everywhere_is_not_reproached_with_what_was_not_seen() -> None:
    result = Verification("it", "", "quick", 0, Path(), finished=True)
    assert "no attempt was answered REJECTED" in result.reasons
    result.deselected = [Case("canary/X", "", lambda *_: None, ours=True)]
    assert "no attempt was answered REJECTED" in result.reasons, "canaries witness nothing"
    result.deselected = [case("explore/last-seat")]
    assert result.reasons == []


def test_what_is_required_must_happen() -> None:
    def run(_: object, found: object) -> None:
        found.applies, found.did = False, "unavailable"  # type: ignore[attr-defined]

    absent = Case("outages/disk-full", "", run)
    result = verified([case("outages/cancel"), absent])
    assert verdict(result) is Verdict.PASS
    result.required = ["outages/cancel"]
    assert verdict(result) is Verdict.PASS
    result.required = ["outages"]
    assert verdict(result) is Verdict.INCONCLUSIVE
    assert result.reasons == ["outages/disk-full is required, and did not happen: unavailable"]


def shown(result: Verification) -> str:
    file = io.StringIO()
    report.show(result, Console(file=file, width=200, highlight=False, soft_wrap=True))
    return file.getvalue()
