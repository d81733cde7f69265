"""Reading a snapshot back strictly: every key known, none missing, every value of its kind."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

State = dict[str, object]
Member = TypeVar("Member", bound=StrEnum)


def table(value: object, where: str, keys: Iterable[str]) -> State:
    """The value as a table with exactly these keys; raises ``UsageError`` naming those missing or unknown."""
    if not isinstance(value, dict):
        raise UsageError(f"snapshot {where}: {type(value).__name__} is no table")
    expected = set(keys)
    missing, unknown = sorted(expected - set(value)), sorted(str(key) for key in set(value) - expected)
    if missing or unknown:
        parts = [f"{what} {', '.join(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
        raise UsageError(f"snapshot {where}: {'; '.join(parts)}; a snapshot is restored whole or not at all")
    return value


def integer(state: State, key: str, where: str, *, least: int | None = 0) -> int:
    """A whole number not below ``least``; raises ``UsageError`` naming key and value."""
    value = state[key]
    if type(value) is not int:
        raise UsageError(f"snapshot {where}.{key}: {value!r} is no whole number")
    if least is not None and value < least:
        raise UsageError(f"snapshot {where}.{key}: {value} is below {least}")
    return value


def instant(state: State, key: str, where: str) -> int | None:
    """A whole number or nothing."""
    return None if state[key] is None else integer(state, key, where, least=None)


def flag(state: State, key: str, where: str) -> bool:
    """True or false; raises ``UsageError`` naming key and value."""
    value = state[key]
    if not isinstance(value, bool):
        raise UsageError(f"snapshot {where}.{key}: {value!r} is neither true nor false")
    return value


def text(state: State, key: str, where: str) -> str:
    """Text; raises ``UsageError`` naming key and value."""
    value = state[key]
    if not isinstance(value, str):
        raise UsageError(f"snapshot {where}.{key}: {value!r} is no text")
    return value


def member(state: State, key: str, where: str, kind: type[Member]) -> Member:
    """One of an enumeration's names; raises ``UsageError`` listing them."""
    try:
        return kind(text(state, key, where))
    except ValueError:
        raise UsageError(f"snapshot {where}.{key}: {state[key]!r} is none of {', '.join(kind)}") from None


def octets(state: State, key: str, where: str) -> bytes:
    """Bytes written as hexadecimal text; raises ``UsageError`` naming key."""
    try:
        return bytes.fromhex(text(state, key, where))
    except ValueError:
        raise UsageError(f"snapshot {where}.{key}: not hexadecimal text") from None


def items(state: State, key: str, where: str) -> list[object]:
    """A list; raises ``UsageError`` naming key."""
    value = state[key]
    if not isinstance(value, list):
        raise UsageError(f"snapshot {where}.{key}: {type(value).__name__} is no list")
    return value


def pair(value: object, where: str) -> tuple[int, int]:
    """Two whole numbers from 0 on; raises ``UsageError`` naming the value."""
    if not isinstance(value, list) or [type(part) for part in value] != [int, int] or min(value) < 0:
        raise UsageError(f"snapshot {where}: {value!r} is no pair of whole numbers from 0 on")
    return value[0], value[1]
