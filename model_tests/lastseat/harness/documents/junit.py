"""A verification as JUnit XML, which every CI system shows as a list of tests.

A violation is a ``failure``; what is inconclusive, an adapter that failed, and what was not come to
are ``error``; a failure that was known, what was deselected, and a fault that could not happen are
``skipped``, with the reason. What belongs to no case alone is told by a test case of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree import ElementTree as Xml

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.plain import paragraph, plain
from lastseat.harness.verdict import Verdict
from lastseat.harness.verify import Result, Verification

WHOLE = "verification"
"""The test case that stands for what belongs to no case alone."""


def junit(result: Verification) -> bytes:
    """The XML document."""
    tests = [*_tests(result)]
    suite = Xml.Element("testsuite", name=plain(f"lastseat {result.implementation}"))
    counts = {kind: sum(test.find(kind) is not None for test in tests) for kind in _KINDS}
    for name, count in (("tests", len(tests)), *((_KINDS[kind], n) for kind, n in counts.items())):
        suite.set(name, str(count))
    suite.set("time", f"{sum(each.seconds for each in result.results):.3f}")
    properties = Xml.SubElement(suite, "properties")
    for name in ("implementation", "server", "profile", "seed"):
        value = plain(str(getattr(result, name)))
        Xml.SubElement(properties, "property", name=name, value=value)
    suite.extend(tests)
    top = Xml.Element("testsuites", name=suite.get("name", ""))
    top.append(suite)
    Xml.indent(top)
    return bytes(Xml.tostring(top, encoding="utf-8", xml_declaration=True)) + b"\n"


_KINDS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


def _tests(result: Verification) -> Iterator[Xml.Element]:
    yield from (_test(result, each) for each in result.results)
    yield from _left_out(result, result.deselected, "skipped", "deselected")
    yield from _left_out(result, result.not_run, "error", "it was not come to")
    whole = _element(result, WHOLE)
    told = {reason for each in result.results for reason in each.found.doubts}
    if own := [reason for reason in result.reasons if reason not in told]:
        _add(whole, "error", own[0], own)
    yield whole


def _test(result: Verification, each: Result) -> Xml.Element:
    test = _element(result, each.case.id, each.seconds)
    words = _words(each)
    first = _first(words)
    if each.failed_as_known:
        _add(test, "skipped", f"known to fail: {each.known}", words)
    elif each.verdict is Verdict.VIOLATION:
        _add(test, "failure", first, words)
    elif each.verdict is not Verdict.PASS:
        _add(test, "error", first or "interrupted", words)
    elif not each.found.applies:
        _add(test, "skipped", each.found.did, ())
    return test


def _left_out(
    result: Verification, cases: Iterable[Case], kind: str, why: str
) -> Iterator[Xml.Element]:
    for case in cases:
        test = _element(result, case.id)
        _add(test, kind, why, ())
        yield test


def _words(each: Result) -> list[str]:
    convicted = (line for one in each.found.convicted for line in explained(one))
    error = paragraph(each.error).split("\n") if each.error else []
    return [*convicted, *error, *each.found.doubts]


def _first(words: list[str]) -> str:
    return words[0] if words else ""


def explained(convicted: Convicted) -> Iterator[str]:
    """What was broken, what happened, and how to run it again: a line each."""
    for finding in convicted.findings:
        yield str(finding)
        yield f"  promised: {finding.sentence}"
        yield f"  proof:    {finding.proof}"
    yield f"what happened in scenario {convicted.scenario}:"
    yield from convicted.timeline
    yield f"run it again: {convicted.again}"


def _element(result: Verification, name: str, seconds: float = 0.0) -> Xml.Element:
    classname = plain(f"lastseat.{result.implementation}")
    return Xml.Element("testcase", classname=classname, name=plain(name), time=f"{seconds:.3f}")


def _add(test: Xml.Element, kind: str, message: str, words: Iterable[str]) -> None:
    added = Xml.SubElement(test, kind, message=plain(message))
    added.text = "\n".join(map(plain, words))
