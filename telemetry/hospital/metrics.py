"""What of a reading is a metric: one table, from which both views are made."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.hospital import codes
from telemetry.hospital.codes import Term, Unit
from telemetry.model import Activity, PumpMode
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.interrogation import Interrogation

_MILLION = 6
_THOUSAND = 3
CALCULATED = "as the pump counts it; what is so may differ"
"""Said wherever a number is of the pump's books (domain.md 0, fact 1)."""


class Channel(StrEnum):
    """Where in the pump a metric belongs."""

    SOURCE = "source"
    DELIVERY = "delivery"
    SERVICE = "service"


class Category(StrEnum):
    """What kind of number it is: programmed, or worked out by the pump. Nothing here is measured."""

    SETTING = "setting"
    CALCULATION = "calculation"


class DeliveryStatus(StrEnum):
    """Whether the pump says that it gives drug now."""

    INFUSING = "infusing"
    NOT_INFUSING = "not_infusing"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: ``read`` gives its value in ``unit``, exact. ``values`` lists what a text may be; () is any."""

    handle: str
    term: Term
    unit: Unit
    channel: Channel
    category: Category
    read: Callable[[Interrogation], Decimal | str]
    resolution: Decimal = Decimal(1)
    values: tuple[str, ...] = ()
    numeric: bool = True


def exact(count: int, decimals: int) -> Decimal:
    """So many thousandths, millionths, …, without zeros at the end and never in powers of ten."""
    number = Decimal(count).scaleb(-decimals)
    short = number.normalize()
    return short if short == 0 or short.as_tuple().exponent <= 0 else short.quantize(Decimal(1))  # type: ignore[operator]


def ml(nl: int) -> Decimal:
    """Nanolitres as millilitres."""
    return exact(nl, _MILLION)


def ug(ng: int) -> Decimal:
    """Nanograms as micrograms."""
    return exact(ng, _THOUSAND)


def _delivery_status(seen: Interrogation) -> str:
    return DeliveryStatus.INFUSING if seen.status.rate_nl_per_day > 0 else DeliveryStatus.NOT_INFUSING


def _days_to_replacement(seen: Interrogation) -> Decimal:
    return Decimal((seen.status.replace_by_ms - seen.status.now_ms) // MS_PER_DAY)


METRICS: tuple[Metric, ...] = (
    Metric(
        "flow-rate",
        Term("flow-rate", "flow rate in force", 157784, "MDC_FLOW_FLUID_PUMP"),
        codes.ML_PER_DAY,
        Channel.DELIVERY,
        Category.SETTING,
        lambda seen: ml(seen.status.rate_nl_per_day),
        exact(1, _MILLION),
    ),
    Metric(
        "dose-rate",
        Term("dose-rate", "dose rate in force", 157924, "MDC_RATE_DOSE"),
        codes.UG_PER_DAY,
        Channel.DELIVERY,
        Category.SETTING,
        lambda seen: ug(seen.status.dose_ng_per_day),
        exact(1, _THOUSAND),
    ),
    Metric(
        "mode",
        Term("mode", "mode of the pump", 184504, "MDC_PUMP_MODE"),
        codes.NO_UNIT,
        Channel.DELIVERY,
        Category.SETTING,
        lambda seen: seen.status.mode.value,
        values=tuple(mode.value for mode in PumpMode),
        numeric=False,
    ),
    Metric(
        "delivery-status",
        Term("delivery-status", "whether drug is given now", 184508, "MDC_PUMP_STAT"),
        codes.NO_UNIT,
        Channel.DELIVERY,
        Category.CALCULATION,
        _delivery_status,
        values=tuple(status.value for status in DeliveryStatus),
        numeric=False,
    ),
    Metric(
        "activity",
        Term("activity", "what runs on top of the program, or instead of it"),
        codes.NO_UNIT,
        Channel.DELIVERY,
        Category.CALCULATION,
        lambda seen: seen.delivery.activity.value,
        values=tuple(activity.value for activity in Activity),
        numeric=False,
    ),
    Metric(
        "volume-24h",
        Term("volume-24h", "volume commanded in the last 24 hours"),
        codes.ML,
        Channel.DELIVERY,
        Category.CALCULATION,
        lambda seen: ml(seen.delivery.window_24h_nl),
        exact(1, _MILLION),
    ),
    Metric(
        "dose-24h",
        Term("dose-24h", "dose commanded in the last 24 hours"),
        codes.UG,
        Channel.DELIVERY,
        Category.CALCULATION,
        lambda seen: ug(seen.delivery.window_24h_ng),
        exact(1, _THOUSAND),
    ),
    Metric(
        "patient-boluses-24h",
        Term("patient-boluses-24h", "patient's boluses in the last 24 hours"),
        codes.COUNT,
        Channel.DELIVERY,
        Category.CALCULATION,
        lambda seen: Decimal(seen.delivery.patient_boluses_24h),
    ),
    Metric(
        "drug",
        Term("drug", "drug in the reservoir, as the pump was told", 184330, "MDC_DRUG_NAME_TYPE"),
        codes.NO_UNIT,
        Channel.SOURCE,
        Category.SETTING,
        lambda seen: seen.status.drug.value,
        numeric=False,
    ),
    Metric(
        "concentration",
        Term("concentration", "concentration, as the pump was told", 157760, "MDC_CONC_DRUG"),
        codes.MG_PER_ML,
        Channel.SOURCE,
        Category.SETTING,
        lambda seen: exact(seen.status.concentration_ng_per_ml, _MILLION),
        exact(1, _MILLION),
    ),
    Metric(
        "reservoir-volume",
        # An implanted pump has no volume to be infused: the standard's term is near, not the same.
        Term("reservoir-volume", "calculated volume remaining", 157872, "MDC_VOL_FLUID_TBI_REMAIN", nearest=True),
        codes.ML,
        Channel.SOURCE,
        Category.CALCULATION,
        lambda seen: ml(seen.status.reservoir_nl),
        exact(1, _MILLION),
    ),
    Metric(
        "battery",
        Term("battery", "battery charge remaining", 67996, "MDC_ATTR_VAL_BATT_CHARGE"),
        codes.PERCENT,
        Channel.SERVICE,
        Category.CALCULATION,
        lambda seen: Decimal(seen.status.battery_percent),
    ),
    Metric(
        "days-to-replacement",
        Term("days-to-replacement", "whole days to the replace-by date; below 0 it has passed"),
        codes.DAYS,
        Channel.SERVICE,
        Category.CALCULATION,
        _days_to_replacement,
    ),
)
BY_HANDLE = {metric.handle: metric for metric in METRICS}
