"""The terminal: what is printed there is plain text, but for our own markup."""

from __future__ import annotations

from typing import Any

from rich import markup
from rich.console import Console
from rich.text import Text

from lastseat.harness.plain import paragraph, plain


def escape(text: str) -> str:
    """Plain text to be put into a line of markup: what looks like markup in it is none."""
    return markup.escape(plain(text))


def escape_lines(text: str) -> str:
    """The same with a text of several lines, all but the first indented: see ``paragraph``."""
    return "\n".join(map(markup.escape, paragraph(text).split("\n")))


class Terminal(Console):
    """A console that shows no control character, wherever it comes from.

    It cannot know which line breaks are ours: what is put into a line is to be made plain first,
    see ``escape``.
    """

    def __init__(self, **options: Any) -> None:
        # Long lines are left to the terminal to wrap, so that they can be searched and pasted.
        super().__init__(highlight=False, soft_wrap=True, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as it is shown."""
        return super().render_str("\n".join(map(plain, text.split("\n"))), **options)
