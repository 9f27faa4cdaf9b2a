"""The JSON Schema of adapter protocol 1, and what it says of a message, in words."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

SCHEMA = Path(__file__).parent / "schemas" / "adapter-1.json"


def mistakes(kind: str, cmd: str, message: Any) -> tuple[str, ...]:
    """What is wrong with this ``request`` or ``reply`` of the command, in words."""
    return tuple(dict.fromkeys(_told(error) for error in _errors(kind, cmd, message)))


def _errors(kind: str, cmd: str, message: Any) -> Iterator[ValidationError]:
    return _validator(f"{kind}/{cmd}").iter_errors(message)


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text())
    pointer = name.replace("/", "~1")
    return Draft202012Validator({"$ref": f"#/$defs/{pointer}", "$defs": schema["$defs"]})


def _told(error: Any) -> str:
    where = ".".join(map(str, error.absolute_path)) or "the message"
    match error.validator:
        case "oneOf":
            named = [each["required"][0] for each in error.validator_value]
            return f"{where} must have exactly one of {', '.join(named)}"
        case "required":
            return f"{where} lacks {_missing(error)}"
        case "additionalProperties":
            known = ", ".join(error.schema["properties"])
            return f"{where} has fields that there are not: {_unknown(error)}; there are {known}"
        case "const":
            return f"{where} must be {_json(error.validator_value)}, and is {_json(error.instance)}"
        case "enum":
            allowed = ", ".join(map(_json, error.validator_value))
            return f"{where} must be one of {allowed}, and is {_json(error.instance)}"
        case "pattern":
            return f"{where} does not fit {error.validator_value}: {error.instance!r}"
        case _:
            return f"{where}: {error.message}"


def _unknown(error: Any) -> str:
    known = error.schema["properties"]
    return ", ".join(repr(name) for name in error.instance if name not in known)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _missing(error: Any) -> str:
    holder = error.instance
    return ", ".join(repr(name) for name in error.validator_value if name not in holder)
