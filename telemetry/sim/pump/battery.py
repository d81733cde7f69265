"""The battery: what is left, when replacement is due, when the pump stops for good (protocol.md, Decided 15).

ERI (elective replacement): the remaining charge lasts ``replacement_reserve_ms`` (90 days) at the present drain, or
the age is the service life (84 months) less that reserve; latched. End of service: ERI + reserve, or charge 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import CHARGE_PER_PC, ceil_div

if TYPE_CHECKING:
    from telemetry.sim.pump.profile import PumpProfile


def running_drain_pc_per_day(profile: PumpProfile, rate_nl_per_day: int) -> int:
    """Drain of a pump that strokes at this rate and sounds nothing."""
    return profile.idle_drain_pc_per_day + rate_nl_per_day * profile.flow_charge_pc_per_nl


def service_ages_ms(profile: PumpProfile, rate_nl_per_day: int) -> tuple[int, int]:
    """Ages at which a pump that always ran at this rate, unheard and unread, reaches ERI and end of service."""
    drain = running_drain_pc_per_day(profile, rate_nl_per_day)
    reserve = profile.replacement_reserve_ms
    by_charge = max(0, ceil_div(profile.battery_capacity_pc * CHARGE_PER_PC - reserve * drain, drain))
    eri = min(by_charge, profile.service_life_ms - reserve)
    return eri, min(eri + reserve, ceil_div(profile.battery_capacity_pc * CHARGE_PER_PC, drain))


class Battery:
    """Charge in exact units, drained in closed form; ERI latches at its instant."""

    KEYS = ("charge", "activated_ms", "replacement_ms")

    def __init__(self, profile: PumpProfile, *, now_ms: int, age_ms: int, rate_nl_per_day: int) -> None:
        eri_age_ms, eos_age_ms = service_ages_ms(profile, rate_nl_per_day)
        if not 0 <= age_ms < eos_age_ms:
            raise UsageError(
                f"age_ms: {age_ms} is outside 0 to {eos_age_ms - 1}; at {rate_nl_per_day} nl/day the pump's service "
                "ends at the age after that"
            )
        self._reserve_ms = profile.replacement_reserve_ms
        self._life_ms = profile.service_life_ms
        self.capacity_pc = profile.battery_capacity_pc
        self.charge = self.capacity_pc * CHARGE_PER_PC - running_drain_pc_per_day(profile, rate_nl_per_day) * age_ms
        self.activated_ms = now_ms - age_ms
        self.replacement_ms: int | None = self.activated_ms + eri_age_ms if age_ms >= eri_age_ms else None

    def drain(self, drain_pc_per_day: int, span_ms: int) -> None:
        """Let a constant drain work for a span; the charge stays at 0 when it gets there."""
        self.charge = max(0, self.charge - drain_pc_per_day * span_ms)

    def spend(self, charge_pc: int) -> None:
        """Take a charge at once."""
        self.charge = max(0, self.charge - charge_pc * CHARGE_PER_PC)

    def replacement_due_ms(self, now_ms: int, drain_pc_per_day: int) -> int:
        """When ERI was reached, or will be at this drain."""
        if self.replacement_ms is not None:
            return self.replacement_ms
        by_charge = now_ms + max(0, ceil_div(self.charge - self._reserve_ms * drain_pc_per_day, drain_pc_per_day))
        return max(now_ms, min(by_charge, self.activated_ms + self._life_ms - self._reserve_ms))

    def empty_ms(self, now_ms: int, drain_pc_per_day: int) -> int:
        """When the charge will be 0 at this drain."""
        return now_ms + ceil_div(self.charge, drain_pc_per_day)

    def service_ends_ms(self, now_ms: int, drain_pc_per_day: int) -> int | None:
        """End of service once ERI is latched; None before (ERI comes first, or the charge ends)."""
        if self.replacement_ms is None:
            return None
        return min(self.replacement_ms + self._reserve_ms, self.empty_ms(now_ms, drain_pc_per_day))

    def replace_by_ms(self, now_ms: int, drain_pc_per_day: int) -> int:
        """ERI + reserve, at the latest the end of the service life; predicted at this drain before ERI."""
        return min(
            self.replacement_due_ms(now_ms, drain_pc_per_day) + self._reserve_ms, self.activated_ms + self._life_ms
        )

    @property
    def remaining_pc(self) -> int:
        """Whole picocoulombs left."""
        return self.charge // CHARGE_PER_PC

    @property
    def percent(self) -> int:
        """Whole percent of the capacity left, rounded down."""
        return self.charge * 100 // (self.capacity_pc * CHARGE_PER_PC)

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {key: getattr(self, key) for key in self.KEYS}

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        self.charge = st.integer(state, "charge", where)
        self.activated_ms = st.integer(state, "activated_ms", where, least=None)
        self.replacement_ms = st.instant(state, "replacement_ms", where)
