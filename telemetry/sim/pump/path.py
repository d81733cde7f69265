"""The way from the reservoir to the tip: a queue of slugs of drug, always full, of constant volume.

What enters at one end pushes the same volume out of the other. Axial mixing is not modelled (domain.md 2.7 gives a
blur of about 0.003 ml at therapy rates).
"""

from __future__ import annotations

from collections import deque

from telemetry.errors import UsageError
from telemetry.sim.pump import state as st
from telemetry.sim.pump.quantities import MASS_PER_NG, TRUE_PER_NL


class Path:
    """Slugs of (volume, concentration), tip first; counts volume and mass delivered past the tip exactly."""

    KEYS = ("slugs", "delivered_volume", "delivered_mass")

    def __init__(self, volume_nl: int, concentration_ng_per_ml: int) -> None:
        self._slugs: deque[tuple[int, int]] = deque([(volume_nl * TRUE_PER_NL, concentration_ng_per_ml)])
        self.delivered_volume = 0
        self._delivered_mass = 0

    def push(self, volume: int, concentration_ng_per_ml: int) -> None:
        """Let ``volume`` (true volume units) of drug in; the same volume leaves at the tip."""
        if volume == 0:
            return
        slugs = self._slugs
        last_volume, last_concentration = slugs[-1]
        if last_concentration == concentration_ng_per_ml:
            slugs[-1] = (last_volume + volume, last_concentration)
        else:
            slugs.append((volume, concentration_ng_per_ml))
        self.delivered_volume += volume
        left = volume
        while left:
            first_volume, first_concentration = slugs[0]
            out = min(left, first_volume)
            self._delivered_mass += out * first_concentration
            left -= out
            if out == first_volume:
                slugs.popleft()
            else:
                slugs[0] = (first_volume - out, first_concentration)

    @property
    def tip_concentration_ng_per_ml(self) -> int:
        """What leaves the tip next."""
        return self._slugs[0][1]

    @property
    def volume_nl(self) -> int:
        """All slugs together, whole nanolitres."""
        return sum(volume for volume, _ in self._slugs) // TRUE_PER_NL

    @property
    def delivered_nl(self) -> int:
        """Whole nanolitres past the tip."""
        return self.delivered_volume // TRUE_PER_NL

    @property
    def delivered_ng(self) -> int:
        """Whole nanograms past the tip."""
        return self._delivered_mass // MASS_PER_NG

    def snapshot(self) -> st.State:
        """JSON-able state."""
        return {
            "slugs": [list(slug) for slug in self._slugs],
            "delivered_volume": self.delivered_volume,
            "delivered_mass": self._delivered_mass,
        }

    def restore(self, value: object, where: str) -> None:
        """Take a snapshot's state; raises ``UsageError`` naming what is wrong with it."""
        state = st.table(value, where, self.KEYS)
        slugs: deque[tuple[int, int]] = deque()
        for slug in st.items(state, "slugs", where):
            if not isinstance(slug, list) or [type(part) for part in slug] != [int, int] or min(slug) < 0:
                raise UsageError(f"snapshot {where}.slugs: {slug!r} is no pair of volume and concentration")
            slugs.append((slug[0], slug[1]))
        total = sum(volume for volume, _ in slugs)
        expected = sum(volume for volume, _ in self._slugs)
        if total != expected:
            raise UsageError(f"snapshot {where}.slugs: hold {total} volume units, the path holds {expected}")
        self._slugs = slugs
        self.delivered_volume = st.integer(state, "delivered_volume", where)
        self._delivered_mass = st.integer(state, "delivered_mass", where)
