"""A refusal in readable units: the value, the pump's rule, and what would be right at this concentration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.cli import words
from telemetry.errors import Refused
from telemetry.model import RefusalReason, Warn
from telemetry.programmer.texts import PATIENT_BOLUS_WHY
from telemetry.units import MS_PER_SECOND, NL_PER_ML

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import PumpLimits, PumpStatus

_FLOW = frozenset({RefusalReason.RATE_BELOW_MINIMUM, RefusalReason.RATE_ABOVE_MAXIMUM})
_DOSE = frozenset({RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT, RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT})
_CHANGE = frozenset({RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT})
_VOLUMES = {
    RefusalReason.RESERVOIR_OVERFILLED: "{value} is more than the reservoir holds ({limit}); a reservoir is never "
    "overfilled",
    RefusalReason.PRIME_TOO_LARGE: "a prime of {value} is more than twice what tubing and catheter hold; at most "
    "{limit}: beyond it drug goes to the patient",
}
_COUNTS = {
    RefusalReason.TOO_MANY_STEPS: "{value} steps are more than this pump holds ({limit})",
    RefusalReason.BOLUS_COUNT_REACHED: "{value} boluses were given in the last 24 hours, {limit} are allowed: wait",
}
_BOLUS_DOSES = {
    RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT: "a bolus of {value} is above the greatest of {limit}",
    RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT: "some 24 hours would hold {value}, at most {limit} are allowed (basal, "
    "boluses and primes together): give less, or later",
}
_SPANS = {
    RefusalReason.LOCKED_OUT: "the lock-out of {limit} is not over: wait {value}",
    RefusalReason.BOLUS_LONGER_THAN_INTERVAL: "a bolus over {value} does not fit into {limit}; look at "
    "the units of both",
}
_PLAIN = {
    RefusalReason.UNKNOWN_MESSAGE: "this pump does not know that request",
    RefusalReason.BAD_LAYOUT: "the pump could not read the request; this is a defect, please report it",
    RefusalReason.ROLE_FORBIDS: "this role may not do that; repeat with --role clinician",
    RefusalReason.NO_CONTACT: "the telemeter lost the pump; lay it over the pump and repeat",
    RefusalReason.MODE_UNSUPPORTED: "this pump does not have that mode or operation",
    RefusalReason.DOSE_VOLUME_MISMATCH: "dose and volume do not agree at the concentration in the reservoir; nothing "
    "was changed",
    RefusalReason.DRUG_MISMATCH: "the program is for another drug than the reservoir holds",
    RefusalReason.CONCENTRATION_MISMATCH: "the program is for another concentration than the reservoir holds; read "
    "the pump again",
    RefusalReason.RESERVOIR_GENERATION_MISMATCH: "the pump was refilled meanwhile; read it again and decide anew",
    RefusalReason.BASE_CHANGED: "somebody changed the program meanwhile; read it again and decide anew",
    RefusalReason.TOKEN_WRONG: "the confirmation did not fit the proposal; nothing was changed: repeat",
    RefusalReason.PROPOSAL_EXPIRED: "the proposal expired before it was confirmed; nothing was changed: repeat",
    RefusalReason.PROPOSAL_VOIDED: "the proposal was voided (time jumped, contact lost); nothing was changed: repeat",
    RefusalReason.NO_PROPOSAL: "the pump holds no proposal any more; nothing was changed: repeat",
    RefusalReason.IMAGE_INCOMPLETE: "the pump got only a part of the order; nothing was changed: repeat",
    RefusalReason.IMAGE_DIGEST_MISMATCH: "the pump read back another order than was sent; nothing was changed",
    RefusalReason.IMAGE_OUT_OF_BOUNDS: "the order is longer than this pump takes",
    RefusalReason.OPERATION_CONFLICT: "that operation number was used for something else; repeat",
    RefusalReason.OPERATION_FORGOTTEN: "that operation is too old to be told about; read the pump's log",
    RefusalReason.LEDGER_FULL: "the pump's ledger of operations is full; read the pump, then repeat",
    RefusalReason.NOT_STOPPED: "the pump is not stopped; there is nothing to resume",
    RefusalReason.RESERVOIR_EMPTY: "the reservoir is empty; it must be refilled first",
    RefusalReason.SAFE_STATE: "the pump is in its safe state; it needs a new program before that",
    RefusalReason.END_OF_SERVICE: "the pump is at its end of service and delivers no more; it must be replaced",
    RefusalReason.MEMORY_UNRELIABLE: "the pump's memory is unreliable; it must be replaced",
    RefusalReason.NO_SUCH_ALARM: "there is no such alarm now; 'telemetry read URL alarms' lists what there is",
    RefusalReason.SCHEDULE_MALFORMED: "the pump cannot carry out that schedule: every day begins with a step at 00:00, "
    "steps come in order, and the stated daily dose is their sum",
    RefusalReason.ACTIVITY_RUNNING: "a bolus, prime or bridge is running; wait for its end ('telemetry read URL "
    "delivery' says when), or stop the pump",
    RefusalReason.NOT_DELIVERING: "the pump is not delivering its program; a bolus or prime goes with one that runs",
    RefusalReason.PATIENT_BOLUS_FORBIDDEN: PATIENT_BOLUS_WHY,
    RefusalReason.PATIENT_BOLUS_NOT_PRESCRIBED: "no bolus was prescribed for the patient's own use",
    RefusalReason.CRITICAL_ALARM_PRESENT: "a critical alarm is present; no bolus is given before its cause is dealt "
    "with: call the pump team",
    RefusalReason.BRIDGE_MISMATCH: "the bridge is not of the drug that the path holds, or larger than the path",
    RefusalReason.LIMIT_OUTSIDE_DEVICE: "a limit lies outside those of the device, or limits contradict each other",
    RefusalReason.STORED_ERROR: "the pump holds a stored error code and takes no order, although it delivers; its "
    "memory must be reset",
    RefusalReason.DOSE_LIMIT_TRIPPED: "the pump withheld delivery because of its dose limit; a clinician must program "
    "or resume it",
    RefusalReason.PUMP_ON_SHELF: "the pump is on the shelf and not filled; tell it its first filling (refill, implant)",
}
"""What each refusal means, where no number has to be told with it."""
_WITHOUT_NUMBERS = {
    RefusalReason.RATE_BELOW_MINIMUM: "a rate is below the pump's minimum; 'telemetry read URL limits' shows it",
    RefusalReason.RATE_ABOVE_MAXIMUM: "a rate is above the pump's maximum; 'telemetry read URL limits' shows it",
    RefusalReason.DAILY_DOSE_BELOW_HARD_LIMIT: "the daily dose is below the least that this pump accepts",
    RefusalReason.DAILY_DOSE_ABOVE_HARD_LIMIT: "the daily dose is above the greatest that this pump accepts",
    RefusalReason.DOSE_CHANGE_ABOVE_HARD_LIMIT: "the dose is too far from the present one: go in smaller steps",
    RefusalReason.WARNINGS_NOT_ACCEPTED: "the pump warns of something that was not accepted by name; repeat to see it",
    RefusalReason.RESERVOIR_OVERFILLED: "that is more than the reservoir holds; it is never overfilled",
    RefusalReason.PRIME_TOO_LARGE: "the prime is more than twice what tubing and catheter hold",
    RefusalReason.TOO_MANY_STEPS: "more steps than this pump holds; 'telemetry read URL limits' shows how many it does",
    RefusalReason.BOLUS_COUNT_REACHED: "all boluses that are allowed in 24 hours were given: wait",
    RefusalReason.BOLUS_DOSE_ABOVE_HARD_LIMIT: "the bolus is above the greatest that this pump accepts",
    RefusalReason.WINDOW_DOSE_ABOVE_HARD_LIMIT: "some 24 hours would hold more than is allowed: give less, or later",
    RefusalReason.LOCKED_OUT: "the lock-out after the last bolus is not over: wait",
    RefusalReason.BOLUS_LONGER_THAN_INTERVAL: "a bolus does not fit into its interval; look at the units of both",
}
"""The same for refusals that have numbers, when a verdict tells them without (a verdict has room for the name only)."""


def explain(refused: Refused, limits: PumpLimits | None = None, status: PumpStatus | None = None) -> Refused:
    """The same refusal with a message in readable units; reason, value and limit stay what the pump measured."""
    made = Refused(
        refused.reason,
        _message(refused, limits, status),
        warnings=refused.warnings,
        field=refused.field or _field(refused.reason),
        value=refused.value,
        limit=refused.limit,
        status=refused.status,
        transaction=refused.transaction,
    )
    for note in getattr(refused, "__notes__", ()):
        made.add_note(note)
    return made


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
        soft = _soft_limits(refused.warnings, limits) if limits is not None else ""
        return f"not changed, the pump warns: {named}{soft}. If it is meant, repeat with {accept}"
    if refused.value is None and reason in _WITHOUT_NUMBERS:
        return f"refused: {_WITHOUT_NUMBERS[RefusalReason(reason)]}"
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
    for texts, unit in _UNITS:
        if reason in texts and refused.value is not None and refused.limit is not None:
            text = texts[RefusalReason(reason)].format(value=unit(refused.value), limit=unit(refused.limit))
            return f"refused: {text}"
    plain = next((text for known, text in _PLAIN.items() if known == reason), None)
    return f"refused: {plain}" if plain is not None else str(refused)


_UNITS: tuple[tuple[dict[RefusalReason, str], Callable[[int], str]], ...] = (
    (_VOLUMES, words.exact_volume),
    (_COUNTS, str),
    (_BOLUS_DOSES, words.bolus_dose),
    (_SPANS, lambda seconds: words.duration(seconds * MS_PER_SECOND)),
)


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


_DOSE_WARNINGS = frozenset({Warn.DAILY_DOSE_CHANGE, Warn.DAILY_DOSE_HIGH, Warn.DAILY_DOSE_LOW})


def _soft_limits(warnings: tuple[str, ...], limits: PumpLimits) -> str:
    """The soft limits that these warnings are about."""
    named: list[str] = []
    if _DOSE_WARNINGS & set(warnings):
        low, high = words.dose(limits.daily_dose_soft_min_ng), words.dose(limits.daily_dose_soft_max_ng)
        named.append(f"{low} to {high}, change {words.percent(limits.change_soft_ppm)}")
    if Warn.BOLUS_DOSE_HIGH in warnings:
        named.append(f"one bolus {words.bolus_dose(limits.bolus_dose_soft_max_ng)}")
    return f" (soft limits: {'; '.join(named)})" if named else ""


def _as_dose(nl_per_day: int, ng_per_ml: int) -> str:
    return words.dose(nl_per_day * ng_per_ml // NL_PER_ML)
