"""A violation as one page that needs nothing else: a column for each client, a row a step."""

from __future__ import annotations

import functools
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from lastseat.harness.story import Story

_TEMPLATES = Path(__file__).parent / "templates"


def page(story: Story, again: str) -> str:
    """The HTML of it, with the command that shows it ``again``. Whatever comes from outside is
    escaped."""
    return _template().render(story=story, first=story.findings[0], replay=again)


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("violation.html")
