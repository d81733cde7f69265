"""Mixing in the catheter as a read-out: the sharp fronts of the path, blurred as Taylor-Aris dispersion blurs them.

``sim/pump/path.py`` moves slugs without mixing, exactly. Each border between two slugs widens while it travels; the
drug near the tip is the sum of such borders (domain.md 2.7). Nothing here feeds back into the pump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.units import MS_PER_DAY, MS_PER_SECOND, NL_PER_ML

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_M2_PER_CM2 = 1e-4
_M_PER_CM = 1e-2
_M3_PER_NL = 1e-12
_SECONDS_PER_DAY = MS_PER_DAY / MS_PER_SECOND
_FORGOTTEN_SIGMAS = 6.0
"""A border so far behind or ahead adds less than 1e-9 of its step."""


@dataclass(frozen=True, slots=True)
class Bore:
    """What the drug travels in. Raises ``UsageError`` for a number that is not above 0.

    ``ml_per_cm``: 0.0022 (reinforced two-piece catheter, C) or 0.0026 (single piece, A). ``diffusivity_m2_per_s``: of
    baclofen in water at 37 °C, about 6e-10 (C).
    """

    ml_per_cm: float = 0.0022
    diffusivity_m2_per_s: float = 6e-10

    def __post_init__(self) -> None:
        for name in ("ml_per_cm", "diffusivity_m2_per_s"):
            value = getattr(self, name)
            if type(value) not in {int, float} or not math.isfinite(value) or value <= 0:
                raise UsageError(f"bore {name}: {value!r} is no number above 0")

    @property
    def area_m2(self) -> float:
        """Its cross-section: 1 ml per cm is 1 cm²."""
        return self.ml_per_cm * _M2_PER_CM2

    @property
    def radius_m(self) -> float:
        """Of a circle with that area."""
        return math.sqrt(self.area_m2 / math.pi)

    def peclet(self, nl_per_day: float) -> float:
        """Pe = a U / D_m."""
        speed_m_per_s = nl_per_day * _M3_PER_NL / _SECONDS_PER_DAY / self.area_m2
        return self.radius_m * speed_m_per_s / self.diffusivity_m2_per_s

    def spread(self, nl_per_day: float) -> float:
        """D_eff / D_m = 1 + Pe² / 48; valid once the transit takes much longer than a² / D_m (about 2 min)."""
        return 1 + self.peclet(nl_per_day) ** 2 / 48

    def variance_cm2(self, nl_per_day: float, span_ms: float) -> float:
        """What a span at a rate adds to the variance of a border: 2 D_eff t."""
        spread = 2 * self.spread(nl_per_day) * self.diffusivity_m2_per_s * span_ms / MS_PER_SECOND
        return spread / _M_PER_CM**2

    def sigma_cm(self, spans: Iterable[tuple[float, float]]) -> float:
        """The width of a border after spans of (rate in nl/day, ms): the variances add up."""
        return math.sqrt(sum(self.variance_cm2(rate, span_ms) for rate, span_ms in spans))

    def sigma_nl(self, spans: Iterable[tuple[float, float]]) -> float:
        """The same as a volume of catheter."""
        return self.sigma_cm(spans) * self.ml_per_cm * NL_PER_ML


def early_dose_ng(sigma_nl: float, concentration_ng_per_ml: float) -> float:
    """Drug already past the tip when a nominally exact prime ends: sigma C / sqrt(2 pi), about 0.40 sigma C."""
    return sigma_nl * concentration_ng_per_ml / NL_PER_ML / math.sqrt(2 * math.pi)


@dataclass(slots=True)
class _Border:
    """Where one slug ends and the next begins. ``at_nl``: before the tip; negative once it has passed."""

    at_nl: float
    step_ng_per_ml: float
    variance_nl2: float

    def share(self) -> float:
        """How much of its step has come through at the tip."""
        if self.variance_nl2 <= 0:
            return 1.0 if self.at_nl < 0 else 0.0
        return 0.5 * math.erfc(self.at_nl / math.sqrt(2 * self.variance_nl2))


class MixedTip:
    """The blurred concentration at the tip, followed from look to look.

    ``slugs``: (volume in nl, ng/ml), tip first, as the path reads out. ``catheter_nl``: the part of the path in which
    borders widen (no bore of the pump's own tubing is published). Between two looks the flow counts as even.
    """

    def __init__(self, slugs: Sequence[tuple[float, float]], *, catheter_nl: float, bore: Bore | None = None) -> None:
        self._bore = Bore() if bore is None else bore
        self._catheter_nl = catheter_nl
        self._start([(float(volume), float(level)) for volume, level in slugs])

    def _start(self, slugs: list[tuple[float, float]]) -> None:
        if not slugs:
            raise UsageError("slugs: none; a path is always full")
        self._slugs = slugs
        self._path_nl = sum(volume for volume, _ in slugs)
        self._inside = [_Border(at_nl, step, 0.0) for at_nl, step in _borders(slugs)]
        self._passed: list[_Border] = []
        self._tip = slugs[0][1]

    def look(self, slugs: Sequence[tuple[float, float]], *, moved_nl: float, span_ms: int) -> float:
        """The path as it is after ``moved_nl`` have left the tip in ``span_ms``; the blurred ng/ml there now.

        A path that is not the old one moved on (another catheter, an injection at the side) starts afresh.
        """
        now = [(float(volume), float(level)) for volume, level in slugs]
        gone = _gone(self._slugs, now)
        if gone is None:
            if moved_nl < self._path_nl:
                self._start(now)
                return self.ng_per_ml
            # One push replaced everything: the border between old and new came in and went out unseen.
            gone = len(self._slugs)
            self._inside.append(_Border(self._path_nl, now[0][1] - self._slugs[-1][1], 0.0))
        fresh = _borders(now)
        kept = max(0, len(self._slugs) - 1 - gone)
        for border in self._passed:
            border.at_nl -= moved_nl
        for border in self._inside[:gone]:
            self._widen(border, border.at_nl, border.at_nl - moved_nl, moved_nl, span_ms)
            self._passed.append(border)
        inside: list[_Border] = []
        for index, (at_nl, step) in enumerate(fresh):
            border = self._inside[gone + index] if index < kept else _Border(self._path_nl, step, 0.0)
            self._widen(border, border.at_nl, at_nl, moved_nl, span_ms)
            inside.append(border)
        self._inside, self._slugs = inside, now
        self._forget()
        return self.ng_per_ml

    @property
    def ng_per_ml(self) -> float:
        """The blurred concentration that leaves the tip now."""
        return max(0.0, self._tip + sum(b.step_ng_per_ml * b.share() for b in (*self._passed, *self._inside)))

    def _widen(self, border: _Border, from_nl: float, to_nl: float, moved_nl: float, span_ms: int) -> None:
        """Add what the way inside the catheter did, at the pace of this look."""
        border.at_nl = to_nl
        way_nl = max(0.0, min(from_nl, self._catheter_nl) - max(0.0, min(to_nl, self._catheter_nl)))
        if moved_nl > 0:
            spent_ms = span_ms * min(1.0, way_nl / moved_nl)
        else:
            spent_ms = span_ms if 0 <= to_nl <= self._catheter_nl else 0
        if spent_ms:
            rate = moved_nl * MS_PER_DAY / span_ms
            in_nl = self._bore.ml_per_cm * NL_PER_ML
            border.variance_nl2 += self._bore.variance_cm2(rate, spent_ms) * in_nl**2

    def _forget(self) -> None:
        for border in list(self._passed):
            if -border.at_nl > _FORGOTTEN_SIGMAS * math.sqrt(border.variance_nl2):
                self._tip += border.step_ng_per_ml
                self._passed.remove(border)


def _borders(slugs: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(distance from the tip in nl, step in ng/ml) of each border."""
    found: list[tuple[float, float]] = []
    at_nl = 0.0
    for (volume, level), (_, after) in pairwise(slugs):
        at_nl += volume
        found.append((at_nl, after - level))
    return found


def _gone(before: Sequence[tuple[float, float]], now: Sequence[tuple[float, float]]) -> int | None:
    """How many slugs have left at the tip; None when ``now`` is not ``before`` moved on."""
    for gone in range(len(before)):
        left = before[gone:]
        same = len(left) <= len(now) and all(a[1] == b[1] for a, b in zip(left, now, strict=False))
        if same and (len(left) == 1 or now[0][0] <= left[0][0]):
            return gone
    return None
