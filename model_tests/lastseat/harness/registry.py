"""What may be given as IMPLEMENTATION: a built-in name, a factory, or an adapter's command."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Mapping

from attrs import evolve

from lastseat.harness.implementations.client import Implementation
from lastseat.harness.implementations.protocol import AdapterError
from lastseat.harness.mutants import made
from lastseat.harness.mutants.catalogue import CONFORMING, MUTANTS

BUILT_IN: Mapping[str, Implementation] = {
    "optimistic": Implementation.python("lastseat.impl.optimistic:optimistic", "optimistic"),
    "locking": Implementation.python("lastseat.impl.locking:locking", "locking"),
    **{
        name: Implementation.python(f"lastseat.impl.{module}:{name.replace('-', '_')}", name)
        for module, name in (
            ("asynchronous", "async-optimistic"),
            ("asynchronous", "async-locking"),
            ("pool", "pooled-optimistic"),
            ("pool", "pooled-locking"),
        )
    },
    **{mutant.name: mutant.implementation for mutant in (*CONFORMING, *MUTANTS)},
}

_ADAPTER = "--adapter "

_MIXED = "+"
"""Between two names: both mechanisms at work on the same resources. The first one's schema is used,
and what it promises is not asked for, since the other one may not."""


def resolve(name: str, adapter: str | None = None) -> Implementation:
    """The implementation that is meant; raises AdapterError with the names there are.

    Raises UnknownMutant where a made one is meant that there is not.
    """
    if adapter is None and name.startswith(_ADAPTER):  # as a schedule remembers it
        adapter = name.removeprefix(_ADAPTER)
    if adapter is not None:
        return Implementation(_ADAPTER + adapter, _command(adapter))
    if name in BUILT_IN:
        return BUILT_IN[name]
    first, mixed, second = name.partition(_MIXED)
    if mixed:
        return evolve(resolve(first), name=name, beside=resolve(second))
    module, colon, _ = name.partition(":")
    if module == "made":
        return made.named(name).implementation
    if not colon:
        known = ", ".join(BUILT_IN)
        raise AdapterError(
            f"there is no implementation {name!r}; built in are {known}."
            " Yours is named as package.module:name, or by --adapter 'COMMAND ...'"
        )
    if "" not in sys.path:  # as in the process that will host it
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
