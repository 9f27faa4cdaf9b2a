"""A violation as one page that needs nothing else: a column for each client, a row a step."""

from __future__ import annotations

import functools
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from lastseat.harness.plain import plain
from lastseat.harness.story import Story

_TEMPLATES = Path(__file__).parent / "templates"


def page(story: Story, again: str) -> str:
    """The HTML of it, with the command that shows it ``again``. Whatever comes from outside is
    plain, and no markup."""
    return _template().render(story=story, first=story.findings[0], replay=again)


def _plain(value: object) -> object:
    """What is put into the page. What is marked up already has been made of plain values."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("violation.html")
