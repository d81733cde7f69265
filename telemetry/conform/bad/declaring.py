"""How bad equipment is declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MadeT_co = TypeVar("MadeT_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Bad(Generic[MadeT_co]):
    """One fault. ``name`` tells it in a few words, ``fault`` in a sentence; ``step`` is the step that must find it.

    ``make`` gives the equipment for a seed (and whatever else its kind needs).
    """

    name: str
    fault: str
    step: str
    make: Callable[..., MadeT_co]
