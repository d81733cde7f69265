"""The battery: what is left, when replacement is due, when the pump stops for good (protocol.md, Decided 15).

ERI (elective replacement): the remaining charge lasts ``replacement_reserve_ms`` (90 days) at the present drain, or
the age is the service life (84 months) less that reserve; latched. End of service: ERI + reserve, or charge 0. In its
box a pump has no age yet. A resistive film takes charge away and voltage under load (domain.md 2.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import CHARGE_PER_PC, PPM, ceil_div

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


_UA_MOHM_PER_MV = 1_000_000


class Battery:
    """Charge in exact units, drained in closed form; ERI latches at its instant.

    ``shelf_ms``: how long it lay in its box before ``now_ms``, instead of an age. Drains are pC/day; where the present
    drain changes with a schedule, ``mean`` is the one that predictions go by.
    """

    COUNTS = ("charge", "film_mohm")
    KEYS = (*COUNTS, "activated_ms", "replacement_ms", "on_shelf")

    def __init__(
        self, profile: PumpProfile, *, now_ms: int, age_ms: int, rate_nl_per_day: int, shelf_ms: int | None = None
    ) -> None:
        eri_age_ms, eos_age_ms = service_ages_ms(profile, rate_nl_per_day)
        if not 0 <= age_ms < eos_age_ms:
            raise UsageError(
                f"age_ms: {age_ms} is outside 0 to {eos_age_ms - 1}; at {rate_nl_per_day} nl/day the pump's service "
                "ends at the age after that"
            )
        if shelf_ms is not None and (age_ms or shelf_ms < 0):
            raise UsageError(f"shelf_ms: {shelf_ms} with age_ms {age_ms}; give one of them, from 0 on")
        self._reserve_ms = profile.replacement_reserve_ms
        self._life_ms = profile.service_life_ms
        self._full_mv = profile.open_circuit_full_mv
        self._empty_mv = profile.open_circuit_empty_mv
        self._own_mohm = profile.internal_resistance_mohm
        self._brownout_mv = profile.brownout_mv
        self.capacity_pc = profile.battery_capacity_pc
        used = running_drain_pc_per_day(profile, rate_nl_per_day) * age_ms
        used += profile.shelf_drain_pc_per_day * (shelf_ms or 0)
        self.charge = max(0, self.capacity_pc * CHARGE_PER_PC - used)
        self.activated_ms = now_ms - age_ms
        self.replacement_ms: int | None = self.activated_ms + eri_age_ms if age_ms >= eri_age_ms else None
        self.on_shelf = shelf_ms is not None
        self.film_mohm = 0

    def activate(self, now_ms: int) -> None:
        """Leave the box: from now on its age counts. Does nothing to one that has."""
        if self.on_shelf:
            self.on_shelf, self.activated_ms = False, now_ms

    def drain(self, drain_pc_per_day: int, span_ms: int) -> None:
        """Let a constant drain work for a span; the charge stays at 0 when it gets there."""
        self.charge = max(0, self.charge - drain_pc_per_day * span_ms)

    def spend(self, charge_pc: int) -> None:
        """Take a charge at once."""
        self.charge = max(0, self.charge - charge_pc * CHARGE_PER_PC)

    def replacement_due_ms(self, now_ms: int, drain_pc_per_day: int, mean_pc_per_day: int | None = None) -> int:
        """When ERI was reached, or will be: the charge falls at this drain to what lasts the reserve at the mean."""
        if self.replacement_ms is not None:
            return self.replacement_ms
        mean = drain_pc_per_day if mean_pc_per_day is None else mean_pc_per_day
        by_charge = now_ms + max(0, ceil_div(self.charge - self._reserve_ms * mean, drain_pc_per_day))
        if self.on_shelf:
            return by_charge
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
        """ERI + reserve, at the latest the end of the service life; predicted at this drain (the mean) before ERI."""
        due_ms = self.replacement_due_ms(now_ms, drain_pc_per_day) + self._reserve_ms
        return due_ms if self.on_shelf else min(due_ms, self.activated_ms + self._life_ms)

    # --- voltage -----------------------------------------------------------------------------------------------------

    def grow_film(self, resistance_mohm: int, loss_ppm: int) -> None:
        """Let a film grow: so much more resistance, and this share of the capacity is out of reach at once.

        Raises ``UsageError`` for a negative resistance and for a share outside 0 to 10^6 ppm.
        """
        if resistance_mohm < 0:
            raise UsageError(f"resistance_mohm: {resistance_mohm} is negative; a film does not go away")
        if not 0 <= loss_ppm <= PPM:
            raise UsageError(f"loss_ppm: {loss_ppm} is outside 0 to {PPM}")
        self.film_mohm += resistance_mohm
        self.spend(self.capacity_pc * loss_ppm // PPM)

    def voltage_mv(self, load_ua: int = 0) -> int:
        """The voltage under a load, rounded down: from full to empty in proportion to the charge, less resistance."""
        span_mv = self._full_mv - self._empty_mv
        open_mv = self._empty_mv + span_mv * self.charge // (self.capacity_pc * CHARGE_PER_PC)
        return max(0, open_mv - self._drop_mv(load_ua))

    def _drop_mv(self, load_ua: int) -> int:
        return ceil_div(load_ua * (self._own_mohm + self.film_mohm), _UA_MOHM_PER_MV)

    def browns_out(self, peak_ua: int) -> bool:
        """Whether such a load resets the pump now."""
        return self.voltage_mv(peak_ua) < self._brownout_mv

    def browns_out_when_empty(self, peak_ua: int, more_film_mohm: int = 0) -> bool:
        """Whether such a load, with so much more film, resets the pump before the charge has gone."""
        drop_mv = ceil_div(peak_ua * (self._own_mohm + self.film_mohm + more_film_mohm), _UA_MOHM_PER_MV)
        return self._empty_mv - drop_mv < self._brownout_mv

    def brownout_ms(self, now_ms: int, drain_pc_per_day: int, peak_ua: int) -> int | None:
        """The first instant at which such a load resets the pump, at this drain; None when it never does."""
        missing_mv = self._brownout_mv + self._drop_mv(peak_ua) - self._empty_mv
        if missing_mv <= 0:
            return None
        if self.browns_out(peak_ua):
            return now_ms
        least = ceil_div(missing_mv * self.capacity_pc * CHARGE_PER_PC, self._full_mv - self._empty_mv)
        return now_ms + (self.charge - least) // drain_pc_per_day + 1

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
        for key in self.COUNTS:
            setattr(self, key, st.integer(state, key, where))
        self.activated_ms = st.integer(state, "activated_ms", where, least=None)
        self.replacement_ms = st.instant(state, "replacement_ms", where)
        self.on_shelf = st.flag(state, "on_shelf", where)
