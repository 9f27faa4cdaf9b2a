"""Made mutants that nothing convicts, each with the reason why not: a table in the tree."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources

Reasons = Mapping[str, str]


def read() -> Reasons:
    """The reason by the mutant's name."""
    text = resources.files(__package__).joinpath("survivors.toml").read_text("utf-8")
    return {name: str(reason) for name, reason in tomllib.loads(text).items()}
