"""The operator: whoever does numbered acts on the equipment under test and tells what its screen says.

The kit never looks into the equipment. It asks an ``Operator`` to do an ``Act`` and gets an ``Answer``; texts are those
on the screen, letter by letter, so that numbers *and units* are judged. Three adapters: a person at the terminal
(``asking.py``), a program over pipes (``piping.py``), and equipment in this process (``own.py``).

How a change is made, act by act: ``SET_RATE`` (or another of the preparing acts) enters what is wanted and goes as far
as the review, where before and after stand side by side, and no further. ``SHOW`` reads the review. ``ACCEPT`` accepts
one warning that stands in it, explicitly. ``CONFIRM`` lets the change go and waits until the screen says how it ended;
``CANCEL`` leaves without it. The screen that is up after an act stays up until the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ActKind(StrEnum):
    """What an operator may be asked to do."""

    INTERROGATE = "interrogate"
    """Bring the telemeter to the pump, or have it there, and read the pump anew."""
    SHOW = "show"
    """Tell what the field says now, without reading the pump anew; change nothing."""
    SET_RATE = "set_rate"
    """Enter ``text`` as the new rate or daily dose, as written, and go as far as the review."""
    BOLUS = "bolus"
    """Enter the bolus in ``text`` (``20 ug over 10 min``) and go as far as the review."""
    PRIME = "prime"
    """Enter a prime of ``text`` (a volume) and go as far as the review."""
    REFILL = "refill"
    """Enter the refill in ``text`` (fields below it, one a line: volume, concentration, dose) and go to the review."""
    PATIENT_BOLUS = "patient_bolus"
    """Ask for the patient's own bolus."""
    RESUME = "resume"
    """Ask for delivery to go on, as far as the review."""
    ACCEPT = "accept"
    """Accept the warning that stands in the review, by the control that is for it."""
    CONFIRM = "confirm"
    """Let the reviewed change go; wait until the screen says how it ended."""
    CONFIRM_AND_POWER_CUT = "confirm_and_power_cut"
    """Let the reviewed change go, cut the equipment's power as soon as it has been sent, and switch it on again."""
    CANCEL = "cancel"
    """Leave the review without changing anything."""
    STOP = "stop"
    """Stop the pump."""
    SILENCE = "silence"
    """Silence what sounds."""
    ACKNOWLEDGE = "acknowledge"
    """Acknowledge the alarm named in ``text``."""
    RESTART = "restart"
    """Switch the equipment off and on again."""
    READ_LOG = "read_log"
    """Read the pump's log."""
    SET_CLOCK = "set_clock"
    """Set the pump's clock to the time in ``text`` (UTC), as far as the review."""
    WAIT = "wait"
    """Leave the equipment alone for ``ms``; it does by itself what it does."""
    LEAVE = "leave"
    """End the work with this pump, so that somebody else may have it."""


class Field(StrEnum):
    """What can stand on a screen. The manifest says what each is called on the equipment's own."""

    SCREEN = "screen"
    """Everything that is in sight now."""
    RATE = "rate"
    DOSE = "dose"
    CONCENTRATION = "concentration"
    DRUG = "drug"
    MODE = "mode"
    RESERVOIR = "reservoir"
    BATTERY = "battery"
    REPLACE_BY = "replace_by"
    CLOCK = "clock"
    IDENTITY = "identity"
    """Model and serial number of the pump."""
    SIMULATED = "simulated"
    """The mark that this is no pump in a patient."""
    CONTACT = "contact"
    """Whether the pump is in reach, and how well."""
    FRESHNESS = "freshness"
    """From when what is shown is, and the mark when it is out of date."""
    ALARMS = "alarms"
    """One alarm a line: its priority, what it is, and whether it is present, over, silenced or acknowledged."""
    BEFORE = "before"
    """The review's side of what is in force."""
    AFTER = "after"
    """The review's side of what will be in force."""
    WARNINGS = "warnings"
    """Warnings in the review, one a line."""
    RESULT = "result"
    """The word for how the last change ended."""
    REASON = "reason"
    """Why it ended so, or why something could not be done."""
    OPEN_OPERATIONS = "open_operations"
    """Changes whose outcome the equipment does not know."""
    LOG = "log"
    """The pump's log, one record a line."""
    LAST_HOURS = "last_hours"
    """What the pump gave in the last 24 hours."""
    ACTIVITY = "activity"
    """What runs on top of the program: a bolus, a prime, a bridge."""
    CONNECTION = "connection"
    """Of a subscriber: whether the publisher is there."""


class AnswerKind(StrEnum):
    """What came of an act."""

    DONE = "done"
    """It was done; ``text`` is what the screen said to it, if anything."""
    SHOWN = "shown"
    """``text`` stands there."""
    NOTHING = "nothing"
    """Nothing stands there."""
    REFUSED = "refused"
    """The equipment did not let the operator do it (a greyed control, a message); ``text`` is what it said."""
    UNABLE = "unable"
    """The equipment has no such thing."""
    SKIPPED = "skipped"
    """The operator leaves this act out; the step is inconclusive."""


ACT_LIMIT_MS = 600_000
"""Ten minutes of host time for one act of a person; a program is given what its act asks for besides."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to do. ``field`` is a ``Field``'s value for ``SHOW``; ``ms`` the span for ``WAIT``.

    ``words`` says it for a person; ``limit_ms`` bounds the wait for its answer, in host time.
    """

    kind: ActKind
    field: str = ""
    text: str = ""
    ms: int = 0
    words: str = ""
    limit_ms: int = ACT_LIMIT_MS


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    kind: AnswerKind
    text: str = ""


class OperatorGone(Exception):
    """The operator cannot be asked any more (the program ended, the terminal is closed); says why."""


class OperatorSilent(Exception):
    """The operator did not answer within the act's limit; says which act."""


class Operator(Protocol):
    """Does acts, one at a time, and answers each within its limit.

    ``do`` raises ``OperatorSilent`` or ``OperatorGone`` and nothing else on purpose. ``begin`` is told before each step
    which one it is (number and title), ``end`` how it ended. ``close`` never raises.
    """

    async def begin(self, number: str, title: str) -> None:
        """A step begins: the equipment is to be as at the start of a working day, with no pump at hand."""
        ...

    async def do(self, act: Act) -> Answer:
        """Do one act."""
        ...

    async def end(self, number: str, verdict: str) -> None:
        """The step has ended."""
        ...

    async def close(self) -> None:
        """Let go of the equipment."""
        ...


__all__ = [
    "ACT_LIMIT_MS",
    "Act",
    "ActKind",
    "Answer",
    "AnswerKind",
    "Field",
    "Operator",
    "OperatorGone",
    "OperatorSilent",
]
