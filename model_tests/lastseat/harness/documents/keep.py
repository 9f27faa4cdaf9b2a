"""Documents are kept on disk while the verification goes on, each of them whole at every moment."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import Factory, define, field

from lastseat.harness.campaign import Convicted
from lastseat.harness.cases import Case
from lastseat.harness.documents.junit import junit
from lastseat.harness.documents.page import page
from lastseat.harness.documents.summary import summary
from lastseat.harness.verify import Result, Verification, Watcher

JSON = "verification.json"
JUNIT = "junit.xml"


def keep(result: Verification) -> None:
    """Write what is known so far to the verification's folder."""
    result.out.mkdir(parents=True, exist_ok=True)
    # In ASCII, so that it holds whatever a path or an id is made of.
    write(result.out / JSON, json.dumps(summary(result), indent=2).encode() + b"\n")
    write(result.out / JUNIT, junit(result))


def show(convicted: Convicted) -> None:
    """Write the page of a violation."""
    if convicted.story is not None:
        write(convicted.page, page(convicted.story, convicted.again).encode())


def write(path: Path, data: bytes) -> None:
    """Replace the file by one of this content, at once: nobody sees half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


@define
class Keeping(Watcher):
    """Passes on what it is told, and keeps the documents up to date.

    A folder that takes no more (a full disk) does not end the run: each case is tried anew.
    """

    result: Verification
    watcher: Watcher = Factory(Watcher)
    failure: OSError | None = field(default=None, init=False)
    """Why the documents do not tell what is known, if they do not."""
    _shown: set[Path] = field(factory=set, init=False)

    def begins(self, case: Case) -> None:
        self.watcher.begins(case)

    def run_done(self) -> None:
        self.watcher.run_done()

    def ends(self, result: Result) -> None:
        self.watcher.ends(result)
        self._keep([result])

    def finish(self) -> None:
        """Whatever ended it: keep what is known by now."""
        self._keep(self.result.results)

    def _keep(self, results: Sequence[Result]) -> None:
        self.failure = None
        try:
            keep(self.result)
            for result in results:
                self._show(result)
        except OSError as error:
            self.failure = error

    def _show(self, result: Result) -> None:
        for convicted in result.found.convicted:
            if convicted.schedule not in self._shown:
                show(convicted)
                self._shown.add(convicted.schedule)
