"""The patient, ILLUSTRATIVE: drug in the CSF, its effect, and graded labels of too much and too little.

The kinetics are domain.md 3.3; signs are the labels of domain.md 1 and 3.1. Thresholds, habituation and the pocket are
design numbers of this project, chosen to order what happens, not to predict it. Nothing here feeds back into the pump.

============  ===========================================================================  ===========
state         equation (rates per hour)                                                    unit
============  ===========================================================================  ===========
pocket        dB/dt = -ka B                                                                ng
csf           dC/dt = (R + potency ka B) / V - k C                                         ng/ml
effect        dE/dt = ke0 (C - E)                                                          ng/ml
accustomed    dH/dt = (E - H) / habituation                                                ng/ml
lagging       dL/dt = (E - L) / withdrawal                                                 ng/ml
============  ===========================================================================  ===========

R is what leaves the catheter's tip, constant between two looks at it; a bolus is an impulse of mass over V.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Self

from telemetry.errors import UsageError
from telemetry.sim.kinetics import Matrix, propagate
from telemetry.units import HOURS_PER_DAY, MS_PER_HOUR, DailyDose, Dose

if TYPE_CHECKING:
    from collections.abc import Mapping

ILLUSTRATIVE = "ILLUSTRATIVE MODEL - not measured, not a prediction, not for clinical use"
FORMAT = "itb-patient"
VERSION = 1
CLEARANCE_RANGE_ML_PER_H = (13.0, 80.0)
HALF_LIFE_RANGE_H = (0.9, 5.0)
"""Range measured in four patients (domain.md 3.2, A)."""
OVERDOSE_RATIOS = (1.5, 2.0, 3.0, 5.0)
"""Effect level over the accustomed one from which grade 1, 2, 3, 4 of overdose is shown (design)."""
WITHDRAWAL_DEFICITS = (0.25, 0.5, 0.7, 0.85)
"""Missing share of the accustomed level from which grade 1 … 4 of withdrawal is shown (design)."""
OVERDOSE_SIGNS = (
    ("drowsiness", "leg weakness", "dizziness"),
    ("weakness of trunk and arms", "nausea", "low blood pressure", "slurred speech"),
    ("difficulty in breathing", "seizure"),
    ("respiratory arrest", "coma"),
)
WITHDRAWAL_SIGNS = (
    ("itch without rash", "goosebumps", "more stiffness and spasm"),
    ("fast heart", "low or labile blood pressure", "rebound spasticity"),
    ("high fever", "confusion or hallucination"),
    ("seizure", "muscle breakdown (rhabdomyolysis)", "organ failure"),
)
_STATE = ("pocket_ng", "csf_ng_per_ml", "effect_ng_per_ml", "accustomed_ng_per_ml", "lagging_ng_per_ml")


@dataclass(frozen=True, slots=True)
class PatientParameters:
    """One patient. Raises ``UsageError`` naming field, value and limit.

    ``half_life_h``, ``clearance_ml_per_h``, ``ke0_per_h`` (0.1167, 0.0635, 0.0363: peak effect after 4, 5, 6 h) and
    ``near_tip_multiplier`` (1 to 10: samples beside the tip read that much more) are domain.md 3.2 and 3.3.
    ``emax_percent``, ``ec50_ng_per_ml``, ``hill`` shape the effect; display only. A bolus *responds* from
    ``response_percent`` on. Nobody is accustomed to less than ``naive_ng_per_ml``, and below it nothing is withdrawn.
    ``pocket_potency``: share of drug beside the port that acts as if given at the tip (1/100: the leaflet's ratio of
    intrathecal to oral dose).
    """

    half_life_h: float = 1.51
    clearance_ml_per_h: float = 30.0
    ke0_per_h: float = 0.0635
    emax_percent: float = 100.0
    ec50_ng_per_ml: float = 100.0
    hill: float = 2.0
    near_tip_multiplier: float = 5.5
    response_percent: float = 30.0
    naive_ng_per_ml: float = 100.0
    habituation_h: float = 336.0
    withdrawal_h: float = 24.0
    pocket_half_life_h: float = 2.0
    pocket_potency: float = 0.01

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least, most = _LIMITS[field.name]
            if type(value) not in {int, float} or not math.isfinite(value) or not least <= value <= most:
                raise UsageError(f"patient {field.name}: {value!r} is no number from {least} to {most}")

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Self:
        """Parameters by name, the rest as they are; raises ``UsageError`` listing the names."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UsageError(f"patient {name}: is no parameter; there are: {', '.join(known)}")
        return cls(**values)

    @property
    def elimination_per_h(self) -> float:
        """K = ln 2 / half-life."""
        return math.log(2) / self.half_life_h

    @property
    def volume_ml(self) -> float:
        """V = CL / k."""
        return self.clearance_ml_per_h / self.elimination_per_h

    @property
    def peak_effect_h(self) -> float:
        """How long after a bolus the effect is greatest: ln(k / ke0) / (k - ke0)."""
        k, ke0 = self.elimination_per_h, self.ke0_per_h
        return 1 / k if math.isclose(k, ke0, rel_tol=1e-9) else math.log(k / ke0) / (k - ke0)

    def steady_ng_per_ml(self, dose: DailyDose) -> float:
        """The level that a constant dose settles at: D / 24 / CL."""
        return dose.ng_per_day / HOURS_PER_DAY / self.clearance_ml_per_h

    def effect_percent(self, effect_ng_per_ml: float) -> float:
        """Emax E^g / (EC50^g + E^g)."""
        if effect_ng_per_ml <= 0:
            return 0.0
        return self.emax_percent / (1 + math.pow(self.ec50_ng_per_ml / effect_ng_per_ml, self.hill))


_LIMITS: dict[str, tuple[float, float]] = {
    "half_life_h": (0.1, 100),
    "clearance_ml_per_h": (1, 1000),
    "ke0_per_h": (0.001, 10),
    "emax_percent": (0, 100),
    "ec50_ng_per_ml": (0.1, 1e6),
    "hill": (0.1, 20),
    "near_tip_multiplier": (1, 10),
    "response_percent": (0, 100),
    "naive_ng_per_ml": (0.1, 1e6),
    "habituation_h": (1, 1e5),
    "withdrawal_h": (0.1, 1e4),
    "pocket_half_life_h": (0.01, 1000),
    "pocket_potency": (0, 1),
}


def drawn(seed: int, base: PatientParameters | None = None) -> PatientParameters:
    """A patient whose half-life and clearance lie somewhere in the measured ranges, the same for the same seed."""
    random = Random(f"patient {seed}")  # noqa: S311 - repeatable on purpose, and nothing is secret
    return replace(
        base or PatientParameters(),
        half_life_h=random.uniform(*HALF_LIFE_RANGE_H),
        clearance_ml_per_h=random.uniform(*CLEARANCE_RANGE_ML_PER_H),
    )


@dataclass(frozen=True, slots=True)
class Signs:
    """How the patient is at one instant. Grades run from 0 (nothing) to 4; signs are all up to the grade."""

    at_ms: int
    csf_ng_per_ml: float
    near_tip_ng_per_ml: float
    effect_ng_per_ml: float
    effect_percent: float
    accustomed_ng_per_ml: float
    pocket_ng: float
    overdose_grade: int
    overdose_signs: tuple[str, ...]
    withdrawal_grade: int
    withdrawal_signs: tuple[str, ...]
    illustrative: bool = True
    label: str = ILLUSTRATIVE


class Patient:
    """One patient living through time; told what has left the tip, says how it goes.

    ``accustomed_to``: the constant dose that he or she has been on for long, reached everywhere at ``now_ms``.
    """

    def __init__(
        self,
        parameters: PatientParameters | None = None,
        *,
        now_ms: int = 0,
        tip_ng_cumulated: float = 0,
        accustomed_to: DailyDose | None = None,
    ) -> None:
        self.parameters = PatientParameters() if parameters is None else parameters
        self.now_ms = now_ms
        self._tip_ng = tip_ng_cumulated
        level = 0.0 if accustomed_to is None else self.parameters.steady_ng_per_ml(accustomed_to)
        self._state: tuple[float, ...] = (0.0, level, level, level, level)

    @property
    def tip_ng_cumulated(self) -> float:
        """The total that it was last told to have left the tip."""
        return self._tip_ng

    def advance(self, to_ms: int, tip_ng_cumulated: float) -> None:
        """Live until ``to_ms``; what left the tip since the last call came evenly (at once, if no time passed).

        Raises ``UsageError`` when time or the total runs backwards.
        """
        span_ms = to_ms - self.now_ms
        given = tip_ng_cumulated - self._tip_ng
        if span_ms < 0:
            raise UsageError(f"patient to_ms: {to_ms} lies before {self.now_ms}, and time never runs backwards")
        if given < 0:
            raise UsageError(f"patient tip_ng_cumulated: {tip_ng_cumulated} is less than {self._tip_ng} before it")
        if span_ms:
            inflow = given * MS_PER_HOUR / span_ms / self.parameters.volume_ml
            pocket, *levels = self._state
            pocket, _, *levels = propagate(_system(self.parameters), (pocket, inflow, *levels), span_ms)
            self._state = (pocket, *levels)
            self.now_ms = to_ms
        elif given:
            self._add(csf=given / self.parameters.volume_ml)
        self._tip_ng = tip_ng_cumulated

    def bolus(self, dose: Dose) -> None:
        """Drug straight into the CSF now (lumbar puncture, side port)."""
        self._add(csf=dose.ng / self.parameters.volume_ml)

    def pocket(self, dose: Dose) -> None:
        """Drug beside the port now: it reaches the body slowly and acts ``pocket_potency`` as strongly."""
        self._add(pocket=float(dose.ng))

    def _add(self, *, csf: float = 0.0, pocket: float = 0.0) -> None:
        beside, level, *rest = self._state
        self._state = (beside + pocket, level + csf, *rest)

    def signs(self) -> Signs:
        """How it is now."""
        parameters = self.parameters
        pocket, csf, effect, accustomed, lagging = self._state
        used_to = max(accustomed, parameters.naive_ng_per_ml)
        dependence = min(1.0, used_to / parameters.naive_ng_per_ml - 1)
        over = _grade(effect / used_to, OVERDOSE_RATIOS)
        under = _grade(dependence * (1 - lagging / used_to), WITHDRAWAL_DEFICITS)
        return Signs(
            at_ms=self.now_ms,
            csf_ng_per_ml=csf,
            near_tip_ng_per_ml=csf * parameters.near_tip_multiplier,
            effect_ng_per_ml=effect,
            effect_percent=parameters.effect_percent(effect),
            accustomed_ng_per_ml=accustomed,
            pocket_ng=pocket,
            overdose_grade=over,
            overdose_signs=_up_to(over, OVERDOSE_SIGNS),
            withdrawal_grade=under,
            withdrawal_signs=_up_to(under, WITHDRAWAL_SIGNS),
        )

    def snapshot(self) -> dict[str, object]:
        """Everything, JSON-able and versioned."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "illustrative": True,
            "parameters": {field.name: getattr(self.parameters, field.name) for field in fields(PatientParameters)},
            "now_ms": self.now_ms,
            "tip_ng_cumulated": self._tip_ng,
            **dict(zip(_STATE, self._state, strict=True)),
        }

    @classmethod
    def restore(cls, snapshot: object) -> Self:
        """The patient of a snapshot, going on identically; raises ``UsageError`` naming what is wrong."""
        keys = {"format", "version", "illustrative", "parameters", "now_ms", "tip_ng_cumulated", *_STATE}
        if not isinstance(snapshot, dict) or set(snapshot) != keys:
            raise UsageError(f"patient snapshot: is no table with exactly the keys {', '.join(sorted(keys))}")
        if snapshot["format"] != FORMAT or snapshot["version"] != VERSION:
            raise UsageError(
                f"patient snapshot: {snapshot['format']!r} version {snapshot['version']!r}; "
                f"this program restores {FORMAT} version {VERSION}"
            )
        if not isinstance(snapshot["parameters"], dict):
            raise UsageError("patient snapshot parameters: is no table")
        if type(snapshot["now_ms"]) is not int:
            raise UsageError(f"patient snapshot now_ms: {snapshot['now_ms']!r} is no whole number")
        for name in ("tip_ng_cumulated", *_STATE):
            value = snapshot[name]
            if type(value) not in {int, float} or not math.isfinite(value) or value < 0:
                raise UsageError(f"patient snapshot {name}: {value!r} is no number from 0 on")
        patient = cls(PatientParameters.of(snapshot["parameters"]), now_ms=snapshot["now_ms"])
        patient._tip_ng = snapshot["tip_ng_cumulated"]
        patient._state = tuple(float(snapshot[name]) for name in _STATE)
        return patient


@lru_cache(maxsize=64)
def _system(parameters: PatientParameters) -> Matrix:
    """The equations in the order pocket, inflow, csf, effect, accustomed, lagging; inflow in ng/ml per hour."""
    k, ke0 = parameters.elimination_per_h, parameters.ke0_per_h
    ka = math.log(2) / parameters.pocket_half_life_h
    habit, lag = 1 / parameters.habituation_h, 1 / parameters.withdrawal_h
    return (
        (-ka, 0.0, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (parameters.pocket_potency * ka / parameters.volume_ml, 1.0, -k, 0.0, 0.0, 0.0),
        (0.0, 0.0, ke0, -ke0, 0.0, 0.0),
        (0.0, 0.0, 0.0, habit, -habit, 0.0),
        (0.0, 0.0, 0.0, lag, 0.0, -lag),
    )


def _grade(value: float, thresholds: tuple[float, ...]) -> int:
    return sum(value >= threshold for threshold in thresholds)


def _up_to(grade: int, signs: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(sign for level in signs[:grade] for sign in level)
