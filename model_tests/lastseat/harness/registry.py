"""What may be given as IMPLEMENTATION: a built-in name, a factory, or an adapter's command.

A name that a user types may mean any of them. A name that stands in a file is data: only a built-in
one means something there, since the others are programs that the file's author chose.
"""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping

from attrs import evolve

from lastseat.harness import shell
from lastseat.harness.implementations.client import Implementation
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.mutants import made
from lastseat.harness.mutants.catalogue import CONFORMING, MUTANTS

BUILT_IN: Mapping[str, Implementation] = {
    **{
        name: Implementation.ours(f"lastseat.impl.{module}:{name.replace('-', '_')}", name)
        for module, name in (
            ("optimistic", "optimistic"),
            ("locking", "locking"),
            ("asynchronous", "async-optimistic"),
            ("asynchronous", "async-locking"),
            ("pool", "pooled-optimistic"),
            ("pool", "pooled-locking"),
        )
    },
    **{mutant.name: mutant.implementation for mutant in (*CONFORMING, *MUTANTS)},
}

_ADAPTER = "--adapter "
_MADE = "made:"

_MIXED = "+"
"""Between two names: both mechanisms at work on the same resources. The first one's schema is used,
and what it promises is not asked for, since the other one may not."""


def built_in(name: str) -> Implementation | None:
    """The implementation of that name, if it comes with lastseat: one, or a mixture of two."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name.startswith(_MADE) and name in made.everything():
        return made.named(name).implementation
    first, mixed, second = name.partition(_MIXED)
    if not mixed or _MIXED in second:
        return None
    one, other = built_in(first), built_in(second)
    return None if one is None or other is None else evolve(one, name=name, beside=other)


def typed(name: str) -> str | None:
    """What to type behind a command to mean the implementation of that name, for a shell; None if
    nothing that can be typed has it."""
    if name.startswith(_ADAPTER):
        command = name.removeprefix(_ADAPTER)
        return ("--adapter=" if command.startswith("-") else _ADAPTER) + shell.word(command)
    return shell.word(name) if name.strip() and not name.startswith("-") else None


def resolve(name: str, adapter: str | None = None) -> Implementation:
    """The implementation that the user means; raises AdapterError with the names there are.

    Raises UnknownMutant for a mutant that does not exist. To be called with what was typed, never
    with what a file says: it may be anybody's program.
    """
    if adapter is not None:
        return Implementation(_ADAPTER + adapter, _command(adapter))
    if (known := built_in(name)) is not None:
        return known
    first, mixed, second = name.partition(_MIXED)
    if mixed:
        return evolve(resolve(first), name=name, beside=resolve(second), built_in=False)
    module, colon, _ = name.partition(":")
    if name.startswith(_MADE):
        return made.named(name).implementation
    if not colon:
        known_names = ", ".join(BUILT_IN)
        raise AdapterError(
            f"there is no implementation {name!r}; built in are {known_names}."
            " Yours is named as package.module:name, or by --adapter 'COMMAND ...'"
        )
    if "" not in sys.path and not sys.flags.safe_path:  # as in the process that will host it
        sys.path.insert(0, "")
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        raise AdapterError(f"{module} cannot be imported from here; is it installed?")
    return Implementation.python(name)


def _command(adapter: str) -> tuple[str, ...]:
    try:
        command = tuple(shlex.split(adapter))
    except ValueError as error:
        raise AdapterError(f"--adapter {adapter!r} is no command: {error}") from error
    if not command:
        raise AdapterError("--adapter names no command")
    return command
