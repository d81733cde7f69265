"""What both views ask of a pump before they show it to anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from telemetry.model import Identity


def need_simulated(identity: Identity) -> None:
    """Raises ``UsageError`` for a pump that is no simulated one: everything that these views say calls it that."""
    if not identity.simulated:
        raise UsageError(
            f"pump {identity.serial}: it does not say that it is simulated; hospital views mark all they show as "
            "SIMULATED and test data, and are for simulated pumps only"
        )
