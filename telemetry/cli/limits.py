"""``telemetry limits``: set the therapy limits, inside those of the device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from telemetry.cli import reading_values, words
from telemetry.cli.changing import Terms, Visit, change
from telemetry.cli.connecting import need_url, url_argument
from telemetry.cli.options import accept_option, change_options
from telemetry.errors import Refused, UsageError
from telemetry.model import RefusalReason
from telemetry.units import DailyDose, Dose, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Change, PumpLimits

_READERS: dict[str, Callable[[str], int]] = {
    "daily_dose_hard_min_ng": lambda text: DailyDose.parse(text).ng_per_day,
    "daily_dose_hard_max_ng": lambda text: DailyDose.parse(text).ng_per_day,
    "daily_dose_soft_min_ng": lambda text: DailyDose.parse(text).ng_per_day,
    "daily_dose_soft_max_ng": lambda text: DailyDose.parse(text).ng_per_day,
    "change_soft_ppm": reading_values.share_ppm,
    "change_hard_ppm": reading_values.share_ppm,
    "bolus_dose_soft_max_ng": lambda text: Dose.parse(text).ng,
    "bolus_dose_hard_max_ng": lambda text: Dose.parse(text).ng,
    "low_reservoir_alarm_nl": lambda text: Volume.parse(text).nl,
    "min_rate_nl_per_day": lambda text: FlowRate.parse(text).nl_per_day,
    "max_rate_nl_per_day": lambda text: FlowRate.parse(text).nl_per_day,
}
_SHOWN: dict[str, Callable[[int], str]] = {
    "daily_dose_hard_min_ng": words.dose,
    "daily_dose_hard_max_ng": words.dose,
    "daily_dose_soft_min_ng": words.dose,
    "daily_dose_soft_max_ng": words.dose,
    "change_soft_ppm": words.percent,
    "change_hard_ppm": words.percent,
    "bolus_dose_soft_max_ng": words.bolus_dose,
    "bolus_dose_hard_max_ng": words.bolus_dose,
    "low_reservoir_alarm_nl": words.volume,
    "min_rate_nl_per_day": words.flow,
    "max_rate_nl_per_day": words.flow,
}
_ORDER = (
    ("daily_dose_hard_min_ng", "daily_dose_soft_min_ng"),
    ("daily_dose_soft_min_ng", "daily_dose_soft_max_ng"),
    ("daily_dose_soft_max_ng", "daily_dose_hard_max_ng"),
    ("change_soft_ppm", "change_hard_ppm"),
    ("bolus_dose_soft_max_ng", "bolus_dose_hard_max_ng"),
    ("min_rate_nl_per_day", "max_rate_nl_per_day"),
)
"""Pairs of which the first may not be above the second (the pump refuses it too)."""
_EPILOG = """\b
Examples:
  telemetry read tcp://127.0.0.1:7410 limits
  telemetry limits tcp://127.0.0.1:7410 --daily-dose-hard-max "900 ug/day" --daily-dose-soft-max "600 ug/day"
  telemetry limits tcp://127.0.0.1:7410 --bolus-dose-hard-max "100 ug" --change-soft 15% --yes
"""


@click.command(epilog=_EPILOG)
@url_argument
@click.option("--daily-dose-hard-min", "daily_dose_hard_min_ng", metavar="DOSE", help="Refuse less a day.")
@click.option("--daily-dose-hard-max", "daily_dose_hard_max_ng", metavar="DOSE", help="Refuse more a day.")
@click.option("--daily-dose-soft-min", "daily_dose_soft_min_ng", metavar="DOSE", help="Warn of less a day.")
@click.option("--daily-dose-soft-max", "daily_dose_soft_max_ng", metavar="DOSE", help="Warn of more a day.")
@click.option("--change-soft", "change_soft_ppm", metavar="SHARE", help="Warn of a larger change, as in 20%.")
@click.option("--change-hard", "change_hard_ppm", metavar="SHARE", help="Refuse a larger change.")
@click.option("--bolus-dose-soft-max", "bolus_dose_soft_max_ng", metavar="DOSE", help="Warn of a larger bolus.")
@click.option("--bolus-dose-hard-max", "bolus_dose_hard_max_ng", metavar="DOSE", help="Refuse a larger bolus.")
@click.option("--low-reservoir-alarm", "low_reservoir_alarm_nl", metavar="VOLUME", help="Alarm at this volume.")
@click.option("--min-rate", "min_rate_nl_per_day", metavar="FLOW", help="Refuse a smaller rate.")
@click.option("--max-rate", "max_rate_nl_per_day", metavar="FLOW", help="Refuse a larger rate.")
@accept_option
@change_options()
def command(
    url: str,
    *,
    accept: tuple[str, ...],
    role: str,
    arm: bool,
    as_json: bool,
    yes: bool,
    **given: str | None,
) -> None:
    """Set the pump's therapy limits; what is not named stays.

    The device's own limits cannot be passed. A therapy in force that would break the new ones is refused too.
    """
    need_url(url)
    wanted = {name: _read(name, text) for name, text in given.items() if text is not None}
    if not wanted:
        raise click.UsageError("name at least one limit; 'telemetry read URL limits' shows those there are")

    async def act(visit: Visit) -> Change:
        limits = replace(visit.limits, **wanted)
        _need_order(limits, wanted)
        try:
            return await visit.programmer.set_limits(limits, accept=visit.terms.accept, confirm=visit.confirm)
        except Refused as refused:
            if refused.reason == RefusalReason.LIMIT_OUTSIDE_DEVICE:
                for name in sorted(wanted):
                    if wanted[name] == refused.value and refused.limit is not None:
                        bound = _SHOWN[name](refused.limit)
                        refused.add_note(f"{_option(name)}: {_SHOWN[name](wanted[name])}; the device allows {bound}")
            raise

    change(Terms(url, role, yes, as_json, arm, accept), act, reads=())


def _need_order(limits: PumpLimits, wanted: dict[str, int]) -> None:
    """Raises ``UsageError`` for two limits of which the lesser would be above the greater."""
    for less, more in _ORDER:
        lower, upper = getattr(limits, less), getattr(limits, more)
        if lower > upper:
            given, other = (less, more) if less in wanted else (more, less)
            relation = "above" if given == less else "below"
            raise UsageError(
                f"{_option(given)}: {_SHOWN[given](getattr(limits, given))} is {relation} {_option(other)}, which is "
                f"{_SHOWN[other](getattr(limits, other))}; set both"
            )


def _read(name: str, text: str) -> int:
    try:
        return _READERS[name](text)
    except UsageError as error:
        raise UsageError(f"{_option(name)}: {error}") from None


def _option(name: str) -> str:
    for unit in ("_ng", "_nl", "_ppm", "_nl_per_day"):
        name = name.removesuffix(unit)
    return f"--{name.replace('_', '-')}"
