"""What a step does, in the words of a report: no brackets, no quotes, no underscores."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MICROGRAM = re.compile(r"\bug\b")
_NAME = re.compile(r"[a-z_]+")


def told(name: str, arguments: object) -> str:
    """An action with its arguments: ``refill: volume 40 ml, therapy (rate 300 µg/day)``; total."""
    said = name.replace("_", " ")
    if arguments is None:
        return said
    if isinstance(arguments, dict):
        return f"{said}: {_table(arguments)}" if arguments else said
    return f"{said} {_value(arguments)}"


def _table(arguments: Mapping[object, object]) -> str:
    return ", ".join(f"{str(key).replace('_', ' ')} {_value(value)}" for key, value in arguments.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f"({_table(value)})"
    if isinstance(value, list | tuple):
        return ", ".join(_value(item) for item in value) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text.replace("_", " ") if _NAME.fullmatch(text) else _MICROGRAM.sub("µg", text)


__all__ = ["told"]
