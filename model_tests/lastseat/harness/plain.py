"""Text from outside, made fit to be shown: what would not show, or change what does, is written as
an escape.

Ids, SQL and messages come from implementations, servers and files. A line break among them could
forge a verdict, an escape sequence could wipe one out, and a bidirectional mark could turn it
round. So all that is shown passes through here, at the edge: data and files hold it as it came.
"""

from __future__ import annotations

import re

_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Python calls these printable, and nothing is seen of them."""

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

_USUAL = re.compile(r"[\x20-\x7e]*")


def plain(text: str) -> str:
    """The text in one line, in which every character is seen for what it is.

    Controls, line breaks, bidirectional and other format characters, lone surrogates, and what has
    no width become escapes like those of Python's strings.
    """
    if _USUAL.fullmatch(text):
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() and character not in _BLANK:
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def paragraph(text: str) -> str:
    """A text of several lines, each of them plain, and all but the first indented: so none of them
    can be taken for a line of ours."""
    first, *others = text.split("\n")
    return "\n".join([plain(first), *(f"  {plain(line)}".rstrip() for line in others)])
