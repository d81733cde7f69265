"""A virtual balance with a beaker on its pan: what it shows, of what truly ran into the beaker. SIMULATED.

Integers throughout: nanograms, milliseconds, micrograms per millilitre (which are nanograms per microlitre). What it
shows at an instant depends on the seed, the instant and what was done to it, not on how often it was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from telemetry.errors import UsageError
from telemetry.flow.lines import Outcome
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, Duration

WATER_20C_UG_PER_ML = 998_200
"""Density of water at 20 °C (domain.md 5.5: 0.998 g/ml)."""
AIR_UG_PER_ML = 1_200
"""Density of air at 20 °C and 1013 hPa: 1.2 kg/m³, the reference of conventional mass (OIML D 28, C)."""
STEEL_UG_PER_ML = 8_000_000
"""Density of the weights that balances are adjusted with: 8000 kg/m³ (OIML D 28, C)."""
SETTLE_MS = 3 * MS_PER_SECOND
"""How long the display moves after a disturbance (C: a few seconds on an analytical balance)."""
_SLAM_MS = 5 * MS_PER_SECOND
_SLAM_STEPS = 64
_SLOT_MS = 100
"""One value of noise each: a balance's display changes about ten times a second (C)."""
_OIL_PPM = 20_000
"""What a layer of oil leaves of the evaporation: 2 % (C)."""
_DRAWS = 12
_PPM = 1_000_000
_PPB = 1_000_000_000
_FOREIGN_NG = 5_000_000_000
MISHAPS = ("tare", "slam", "load", "overload", "silent", "garbage", "unplug")


@dataclass(frozen=True, slots=True)
class ScaleSettings:
    """What the balance and the beaker are like; ``UsageError`` for what cannot be.

    ``drop_nl``: volume of a drop, 0 for a tip under the surface (no drops). ``temperature_mk``: half of what the room
    warms and cools a day, as a triangle; ``sensitivity_ppb_per_k`` of the load. ``noise_ng``: standard deviation.
    ``slams_per_day``: doors that slam, at instants of the seed. Evaporation may go on until the beaker is dry.
    """

    step_ng: int = 100_000
    capacity_ng: int = 220_000_000_000
    beaker_ng: int = 30_000_000_000
    water_ng: int = 10_000_000_000
    density_ug_per_ml: int = WATER_20C_UG_PER_ML
    air_ug_per_ml: int = AIR_UG_PER_ML
    drop_nl: int = 0
    evaporation_ng_per_h: int = 0
    oil: bool = False
    drift_ng_per_h: int = 0
    temperature_mk: int = 0
    sensitivity_ppb_per_k: int = 1_500
    noise_ng: int = 0
    slams_per_day: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.step_ng not in {10**power for power in range(3, 10)}:
            raise UsageError(
                f"--resolution: a last digit of {self.step_ng} ng is no power of ten from 1 ug to 1 g; write '0.1 mg'"
            )
        for name in ("drop_nl", "evaporation_ng_per_h", "temperature_mk", "noise_ng", "beaker_ng", "water_ng", "seed"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}: {getattr(self, name)} is below 0")
        if not 0 <= self.slams_per_day <= 24:
            raise UsageError(f"slams_per_day: {self.slams_per_day} is outside 0 to 24")
        if not 500_000 <= self.density_ug_per_ml <= 2_000_000:
            raise UsageError(f"density_ug_per_ml: {self.density_ug_per_ml} is outside 0.5 to 2 g/ml")
        if not 0 <= self.air_ug_per_ml <= 2_000:
            raise UsageError(f"air_ug_per_ml: {self.air_ug_per_ml} is outside 0 to 0.002 g/ml")
        if not self.beaker_ng + self.water_ng < self.capacity_ng:
            raise UsageError("beaker_ng: the beaker and its water alone are more than the balance can carry")

    @property
    def loss_ng_per_h(self) -> int:
        """Evaporation, less what a layer of oil keeps."""
        return self.evaporation_ng_per_h * _OIL_PPM // _PPM if self.oil else self.evaporation_ng_per_h


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that befalls the balance, ``at_ms`` after its start, for ``for_ms``."""

    kind: str
    at_ms: int
    for_ms: int = 0


def parse_mishap(text: str) -> Mishap:
    """``tare@6h``, ``silent@20h+2h``, ``overload@5h+10min``; raises ``UsageError``."""
    kind, at, rest = text.partition("@")
    if kind not in MISHAPS or not at:
        raise UsageError(f"mishap {text!r}: write KIND@TIME or KIND@TIME+SPAN, KIND one of {', '.join(MISHAPS)}")
    start, plus, span = rest.partition("+")
    lasting = kind not in {"tare", "slam"}
    if bool(plus) != lasting:
        wanted = f"{kind}@{start}+10min" if lasting else f"{kind}@{start}"
        raise UsageError(f"mishap {text!r}: {kind} {'lasts' if lasting else 'takes no time'}; write {wanted}")
    return Mishap(kind, Duration.parse(start).ms, Duration.parse(span).ms if plus else 0)


@dataclass(frozen=True, slots=True)
class Display:
    """What the balance shows: a mass or why there is none."""

    outcome: Outcome
    mass_ng: int = 0


def conventional_ng(mass_ng: int, liquid_ug_per_ml: int, air_ug_per_ml: int) -> int:
    """What a balance adjusted with steel weights shows of a liquid weighed in air, ng.

    Air carries liquid and weights alike, each by its own volume: m (1 - a/d) / (1 - a/8 g/ml).
    """
    return (
        mass_ng
        * (liquid_ug_per_ml - air_ug_per_ml)
        * STEEL_UG_PER_ML
        // (liquid_ug_per_ml * (STEEL_UG_PER_ML - air_ug_per_ml))
    )


class Scale:
    """The balance itself. ``start_ms`` and ``start_nl``: when the beaker was put under the tip, and the sum then."""

    def __init__(
        self, settings: ScaleSettings, *, start_ms: int = 0, start_nl: int = 0, mishaps: tuple[Mishap, ...] = ()
    ) -> None:
        self.settings = settings
        self._start_ms = start_ms
        self._start_nl = start_nl
        self._mishaps = mishaps
        self._tares_done: set[Mishap] = set()
        self._tare_ng = 0
        self._disturbed_ms = start_ms - SETTLE_MS
        self._drops = 0

    # --- truth -------------------------------------------------------------------------------------------------------

    def load_ng(self, at_ms: int, delivered_nl: int) -> int:
        """What truly presses on the pan, as conventional mass, without drift and noise."""
        settings = self.settings
        came_nl = delivered_nl - self._start_nl
        if settings.drop_nl:
            came_nl = came_nl // settings.drop_nl * settings.drop_nl
        liquid = settings.water_ng + came_nl * settings.density_ug_per_ml // 1_000
        gone = settings.loss_ng_per_h * (at_ms - self._start_ms) // MS_PER_HOUR
        wet = conventional_ng(max(0, liquid - gone), settings.density_ug_per_ml, settings.air_ug_per_ml)
        return settings.beaker_ng + wet

    def _reading_ng(self, at_ms: int, delivered_nl: int) -> int:
        settings, since_ms = self.settings, at_ms - self._start_ms
        load = self.load_ng(at_ms, delivered_nl)
        drift = settings.drift_ng_per_h * since_ms // MS_PER_HOUR
        warmth = _triangle(since_ms, settings.temperature_mk)
        warm = load * settings.sensitivity_ppb_per_k * warmth // (_PPB * 1_000)
        noise = settings.noise_ng * _normal(settings.seed, at_ms // _SLOT_MS) // _UNIT
        return load + drift + warm + noise + self._shaken(at_ms)

    def _shaken(self, at_ms: int) -> int:
        """A slam swings out within five seconds, to half its size and the other side each."""
        slam_ms = self._last_slam_ms(at_ms)
        if slam_ms is None:
            return 0
        swings = (at_ms - slam_ms) // MS_PER_SECOND
        size = _SLAM_STEPS * self.settings.step_ng >> swings
        return -size if swings % 2 else size

    def _last_slam_ms(self, at_ms: int) -> int | None:
        """The slam that still shakes the pan, if any."""
        since_ms = at_ms - self._start_ms
        found = [one.at_ms for one in self._mishaps if one.kind == "slam"]
        if self.settings.slams_per_day:
            hour = since_ms // MS_PER_HOUR
            found += [slam for number in (hour - 1, hour) if (slam := self._slam_of_hour(number)) is not None]
        lately = [slam for slam in found if 0 <= since_ms - slam < _SLAM_MS]
        return None if not lately else self._start_ms + max(lately)

    def _slam_of_hour(self, hour: int) -> int | None:
        drawn = int.from_bytes(_hash(self.settings.seed, f"slam {hour}"))
        if hour < 0 or drawn % 24 >= self.settings.slams_per_day:
            return None
        return hour * MS_PER_HOUR + drawn // 24 % MS_PER_HOUR

    # --- what is asked of it -----------------------------------------------------------------------------------------

    def befalls(self, kind: str, at_ms: int) -> bool:
        """Whether a lasting mishap of this kind is going on."""
        since_ms = at_ms - self._start_ms
        return any(one.kind == kind and one.at_ms <= since_ms < one.at_ms + one.for_ms for one in self._mishaps)

    def show(self, at_ms: int, delivered_nl: int) -> Display:
        """What the display shows."""
        self._happen(at_ms, delivered_nl)
        raw = self._reading_ng(at_ms, delivered_nl)
        if self.befalls("load", at_ms):
            raw += _FOREIGN_NG
        if self.befalls("overload", at_ms) or raw > self.settings.capacity_ng:
            return Display(Outcome.OVERLOAD)
        if raw < 0:
            return Display(Outcome.UNDERLOAD)
        step = self.settings.step_ng
        shown = (2 * (raw - self._tare_ng) + step) // (2 * step) * step
        return Display(Outcome.STABLE if self._at_rest(at_ms) else Outcome.DYNAMIC, shown)

    def _at_rest(self, at_ms: int) -> bool:
        return at_ms - self._disturbed_ms >= SETTLE_MS and self._last_slam_ms(at_ms) is None

    def _happen(self, at_ms: int, delivered_nl: int) -> None:
        """Drops that fell since the last look, and tares that somebody pressed."""
        if self.settings.drop_nl:
            drops = (delivered_nl - self._start_nl) // self.settings.drop_nl
            if drops != self._drops:
                self._drops, self._disturbed_ms = drops, at_ms
        for one in self._mishaps:
            pressed_ms = self._start_ms + one.at_ms
            if one.kind == "tare" and one not in self._tares_done and pressed_ms <= at_ms:
                self._tares_done.add(one)
                self._tare_ng = self._reading_ng(at_ms, delivered_nl)
                self._disturbed_ms = max(self._disturbed_ms, pressed_ms)

    def tare(self, at_ms: int, delivered_nl: int) -> None:
        """Call what lies on the pan nothing."""
        self._happen(at_ms, delivered_nl)
        self._tare_ng = self._reading_ng(at_ms, delivered_nl)
        self._disturbed_ms = at_ms

    def age_ms(self, at_ms: int) -> int:
        """How long the beaker has stood there."""
        return at_ms - self._start_ms


def drop_volume_nl(tip_um: int, surface_tension_un_per_m: int = 72_000) -> int:
    """The volume of a drop that falls from a tip of this outer diameter, nl, for water.

    Tate's law with the share that falls (Harkins and Brown, about 0.65; C): m g = 0.65 x pi d x surface tension.
    """
    if not 100 <= tip_um <= 5_000:
        raise UsageError(f"tip_um: {tip_um} is outside 100 to 5000 µm")
    # µm x µN/m = 1e-12 N; / 9.80665 m/s2 = kg; 1 kg of water = 1e9 nl / 0.9982.
    weight_pn = 65 * 314_159_265 * tip_um * surface_tension_un_per_m // (100 * 100_000_000)
    return weight_pn * 1_000 * 100_000 // (980_665 * WATER_20C_UG_PER_ML)


def _triangle(since_ms: int, height: int) -> int:
    """Up, down and up again within a day, from 0 by way of plus and minus ``height``."""
    quarter = MS_PER_DAY // 4
    part, rest = divmod(since_ms % MS_PER_DAY, quarter)
    rise = height * rest // quarter
    return (rise, height - rise, -rise, rise - height)[part]


def _hash(seed: int, what: str) -> bytes:
    return blake2b(f"{seed} {what}".encode(), digest_size=2 * _DRAWS).digest()


_UNIT = 1 << 16


def _normal(seed: int, slot: int) -> int:
    """A normal deviate in units of 1/65536: the sum of twelve even ones (variance 1), as the seed has it."""
    drawn = _hash(seed, f"noise {slot}")
    total = sum(int.from_bytes(drawn[at : at + 2]) for at in range(0, 2 * _DRAWS, 2))
    return total - _DRAWS * (_UNIT - 1) // 2
