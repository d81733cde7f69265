"""A refusal in readable units: the value, the pump's rule, and what would be right at this concentration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.cli import words
from telemetry.errors import Refused
from telemetry.model import RefusalReason, Warn
from telemetry.units import NL_PER_ML

if TYPE_CHECKING:
    from telemetry.model import PumpLimits, PumpStatus

_FLOW = frozenset({RefusalReason.RATE_BELOW_MINIMUM, RefusalReason.RATE_ABOVE_MAXIMUM})
_DOSE = frozenset({RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT, RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT})
_CHANGE = frozenset({RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT})
_PLAIN = {
    RefusalReason.ROLE_FORBIDS: "this role may not do that; repeat with --role clinician",
    RefusalReason.NO_CONTACT: "the telemeter lost the pump; lay it over the pump and repeat",
    RefusalReason.BASE_CHANGED: "somebody changed the program meanwhile; read it again and decide anew",
    RefusalReason.PROPOSAL_EXPIRED: "the proposal expired before it was confirmed; nothing was changed: repeat",
    RefusalReason.PROPOSAL_VOIDED: "the proposal was voided (time jumped, contact lost); nothing was changed: repeat",
    RefusalReason.NOT_STOPPED: "the pump is not stopped; there is nothing to resume",
    RefusalReason.RESERVOIR_EMPTY: "the reservoir is empty; it must be refilled first",
    RefusalReason.SAFE_STATE: "the pump is in its safe state; it needs a new program before that",
    RefusalReason.END_OF_SERVICE: "the pump is at its end of service and delivers no more; it must be replaced",
    RefusalReason.LEDGER_FULL: "the pump's ledger of operations is full; read the pump, then repeat",
    RefusalReason.NO_SUCH_ALARM: "there is no such alarm now; 'telemetry read URL alarms' lists what there is",
    RefusalReason.MEMORY_UNRELIABLE: "the pump's memory is unreliable; it must be replaced",
}


def explain(refused: Refused, limits: PumpLimits | None = None, status: PumpStatus | None = None) -> Refused:
    """The same refusal with a message in readable units; reason, value and limit stay what the pump measured."""
    return Refused(
        refused.reason,
        _message(refused, limits, status),
        warnings=refused.warnings,
        field=refused.field or _field(refused.reason),
        value=refused.value,
        limit=refused.limit,
        status=refused.status,
        transaction=refused.transaction,
    )


def _field(reason: str) -> str:
    if reason in _FLOW:
        return "rate_nl_per_day"
    if reason in _DOSE | _CHANGE:
        return "dose_ng_per_day"
    return ""


def _message(refused: Refused, limits: PumpLimits | None, status: PumpStatus | None) -> str:
    reason = refused.reason
    if refused.warnings:
        named = "; ".join(f"{words.WARNINGS[Warn(name)]} ({name})" for name in refused.warnings)
        accept = " ".join(f"--accept-warning {name}" for name in refused.warnings)
        soft = _soft_limits(limits) if limits is not None else ""
        return f"not changed, the pump warns: {named}{soft}. If it is meant, repeat with {accept}"
    if reason in _FLOW:
        return f"refused: {_flow(refused, limits, status)}"
    if reason in _DOSE:
        return f"refused: {_dose(refused, limits)}"
    if reason in _CHANGE:
        rule = f" (change at most {words.percent(limits.change_hard_ppm)})" if limits is not None else ""
        return (
            f"refused: {words.dose(refused.value or 0)} is too far from the present daily dose; in one step the pump "
            f"goes as far as {words.dose(refused.limit or 0)}{rule}: go in smaller steps"
        )
    if reason == RefusalReason.SILENCE_TOO_LONG:
        most = f"at most {words.duration((refused.limit or 0) * 1_000)}" if refused.limit else "a shorter time"
        return f"refused: the pump silences for {most} at once"
    plain = next((text for known, text in _PLAIN.items() if known == reason), None)
    return f"refused: {plain}" if plain is not None else str(refused)


def _flow(refused: Refused, limits: PumpLimits | None, status: PumpStatus | None) -> str:
    asked = refused.value or 0
    low = limits.min_rate_nl_per_day if limits is not None else refused.limit or 0
    high = limits.max_rate_nl_per_day if limits is not None else refused.limit or 0
    below = refused.reason == RefusalReason.RATE_BELOW_MINIMUM
    rule = "below the pump's minimum" if below else "above the pump's maximum"
    bound = low if below else high
    if status is None:
        return f"{words.flow(asked)} is {rule} of {words.flow(bound)}"
    strength = status.concentration_ng_per_ml
    text = (
        f"at {words.concentration(strength)}, {words.flow(asked)} ({_as_dose(asked, strength)}) is {rule} of "
        f"{words.flow(bound)} ({_as_dose(bound, strength)})"
    )
    if limits is not None:
        text += f"; it delivers {words.flow(low)} to {words.flow(high)}, here {_as_dose(low, strength)} to "
        text += f"{_as_dose(min(high, _most_flow(limits, strength, high)), strength)}"
    return text


def _most_flow(limits: PumpLimits, strength: int, high: int) -> int:
    return limits.daily_dose_hard_max_ng * NL_PER_ML // strength if strength else high


def _dose(refused: Refused, limits: PumpLimits | None) -> str:
    below = refused.reason == RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT
    rule = "below the least" if below else "above the greatest"
    text = f"{words.dose(refused.value or 0)} is {rule} daily dose of {words.dose(refused.limit or 0)}"
    if limits is not None:
        text += (
            f"; this pump accepts {words.dose(limits.daily_dose_hard_min_ng)} to "
            f"{words.dose(limits.daily_dose_hard_max_ng)}"
        )
    return text


def _soft_limits(limits: PumpLimits) -> str:
    return (
        f" (soft limits: {words.dose(limits.daily_dose_soft_min_ng)} to {words.dose(limits.daily_dose_soft_max_ng)}, "
        f"change {words.percent(limits.change_soft_ppm)})"
    )


def _as_dose(nl_per_day: int, ng_per_ml: int) -> str:
    return words.dose(nl_per_day * ng_per_ml // NL_PER_ML)
