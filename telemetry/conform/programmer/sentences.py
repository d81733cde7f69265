"""What an operator is asked, in plain words: one sentence an act."""

from __future__ import annotations

from telemetry.conform.operator import ActKind, Field
from telemetry.units import Duration

_ACTS = {
    ActKind.INTERROGATE: "Have the telemeter at the pump and interrogate the pump anew.",
    ActKind.SET_RATE: "Enter the new rate or daily dose {text} and go as far as the review; do not confirm.",
    ActKind.BOLUS: "Enter a bolus of {text} and go as far as the review; do not confirm.",
    ActKind.PRIME: "Enter a prime of {text} and go as far as the review; do not confirm.",
    ActKind.REFILL: "Enter this refill and go as far as the review; do not confirm: {text}",
    ActKind.PATIENT_BOLUS: "Ask for the patient's own bolus.",
    ActKind.RESUME: "Ask for delivery to be resumed, as far as the review; do not confirm.",
    ActKind.ACCEPT: "Accept the warning that stands there, by the control that is for it.",
    ActKind.CONFIRM: "Confirm the change, and wait until the screen says how it ended.",
    ActKind.CONFIRM_AND_POWER_CUT: "Confirm the change, cut the power at once, and switch on again.",
    ActKind.CANCEL: "Leave the review without changing anything.",
    ActKind.STOP: "Stop the pump.",
    ActKind.SILENCE: "Silence the alarms.",
    ActKind.ACKNOWLEDGE: "Acknowledge the alarm {text}.",
    ActKind.RESTART: "Switch the equipment off and on again.",
    ActKind.READ_LOG: "Read the pump's log.",
    ActKind.SET_CLOCK: "Enter {text} UTC as the pump's clock and go as far as the review; do not confirm.",
    ActKind.LEAVE: "End the work with this pump.",
}
_FIELDS = {
    Field.SCREEN: "everything that is in sight",
    Field.RATE: "the rate",
    Field.DOSE: "the daily dose",
    Field.CONCENTRATION: "the drug's concentration",
    Field.DRUG: "the drug",
    Field.MODE: "the pump's mode",
    Field.RESERVOIR: "the reservoir's volume",
    Field.BATTERY: "the pump's battery",
    Field.REPLACE_BY: "the date by which the pump must be replaced",
    Field.CLOCK: "the pump's clock",
    Field.IDENTITY: "model and serial number of the pump",
    Field.SIMULATED: "the mark that this is a simulated pump",
    Field.CONTACT: "whether the pump is in reach",
    Field.FRESHNESS: "how old the shown values are, or the mark that they are out of date",
    Field.ALARMS: "the alarms, one a line, each with its priority",
    Field.BEFORE: "the review's side of what is in force",
    Field.AFTER: "the review's side of what will be in force",
    Field.WARNINGS: "the warnings, one a line",
    Field.RESULT: "the word for how the change ended",
    Field.REASON: "the reason",
    Field.OPEN_OPERATIONS: "changes whose outcome is not known",
    Field.LOG: "the pump's log, one record a line",
    Field.LAST_HOURS: "what was given in the last 24 hours",
    Field.ACTIVITY: "what runs on top of the program",
    Field.CONNECTION: "whether the connection is there",
}


def sentence(kind: ActKind, *, text: str = "", field: str = "", ms: int = 0, called: str = "") -> str:
    """The act for a person; ``called`` is the field's name on the equipment's own screen."""
    if kind is ActKind.WAIT:
        return f"Leave the equipment alone for {Duration(ms)}."
    if kind is ActKind.SHOW:
        named = f" (“{called}”)" if called else ""
        return f"Tell what the screen says now, letter by letter: {_FIELDS[Field(field)]}{named}."
    return _ACTS[kind].format(text=text.replace("\n", ", "))


__all__ = ["sentence"]
