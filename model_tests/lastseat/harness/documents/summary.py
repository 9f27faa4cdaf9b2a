"""A verification as JSON: the format ``lastseat-verification/1``, whose schema is ``SCHEMA``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.confirmation import SeenOnce
from lastseat.harness.report import conclusion
from lastseat.harness.verify import Result, Verification

FORMAT = "lastseat-verification/1"
SCHEMA = Path(__file__).parent / "schemas" / "verification-1.json"


def summary(result: Verification) -> dict[str, Any]:
    """All that is known, as plain data."""
    return {
        "format": FORMAT,
        "lastseat": version("lastseat"),
        "implementation": result.implementation,
        "server": result.server,
        "profile": result.profile,
        "seed": result.seed,
        "verdict": str(result.verdict()),
        "conclusion": conclusion(result),
        "finished": result.finished,
        "reasons": result.reasons,
        "errors": result.errors,
        "advice": list(result.witness.advice()),
        "cases": [_case(each) for each in result.results],
        "deselected": _ids(result.deselected),
        "not_run": _ids(result.not_run),
        "witnessed": {
            "runs": result.witness.runs,
            "answers": {str(answer): n for answer, n in result.witness.answers.items()},
            "overlaps": result.witness.overlaps,
            "waits": result.witness.contention,
            "faults": dict(result.witness.fired),
        },
    }


def _ids(cases: Iterable[Case]) -> list[str]:
    return [case.id for case in cases]


def _case(result: Result) -> dict[str, Any]:
    found = result.found
    return {
        "id": result.case.id,
        "why": result.case.why,
        "verdict": str(result.verdict),
        "known": result.known,
        "applies": found.applies,
        "did": found.did,
        "runs": found.witness.runs,
        "seconds": round(result.seconds, 3),
        "reasons": found.doubts,
        "seen_once": [_seen_once(each) for each in found.seen_once],
        "error": result.error,
        "violations": [_violation(convicted) for convicted in found.convicted],
    }


def _violation(convicted: Convicted) -> dict[str, Any]:
    return {
        "scenario": convicted.scenario,
        "findings": [
            {
                "rule": finding.rule,
                "promised": finding.sentence,
                "seen": finding.words,
                "attempts": list(finding.attempts),
                "fact": finding.fact,
                "illegal": finding.repeated.illegal if finding.repeated else 1,
                "runs": finding.repeated.runs if finding.repeated else 1,
            }
            for finding in convicted.findings
        ],
        "schedule": str(convicted.schedule),
        "replay": convicted.again,
        "page": str(convicted.page) if convicted.story is not None else None,
    }


def _seen_once(seen: SeenOnce) -> dict[str, Any]:
    return {
        "scenario": seen.scenario,
        "rules": list(seen.rules),
        "how": seen.how,
        "schedule": str(seen.schedule),
        "replay": seen.again,
    }
