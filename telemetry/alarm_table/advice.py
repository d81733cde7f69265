"""What whoever hears an alarm is told to do.

In this project's own words, from the sense of domain.md 1, 2.4 to 2.6 and 2.10, for simulated devices: it replaces no
clinic's instructions. No advice names a dose; whatever means *no drug is flowing* says to call at once.
"""

from __future__ import annotations

from telemetry.alarm_table.kinds import Advice, Condition, TabletCondition
from telemetry.model import AlarmKind

_WITHDRAWAL = "more stiffness or spasm, itching, a fast heart beat, fever, confusion"
_CARER_NO_DRUG = (
    "Call the pump team at once and stay with the patient. Call an ambulance for fever, confusion, a fit or rigid "
    "limbs; show the pump's identity card."
)

ADVICE: dict[Condition, Advice] = {
    AlarmKind.LOW_RESERVOIR: Advice(
        "Call your pump team today and ask for an earlier refill. The pump is still working.",
        "Call the pump team today to bring the refill forward; do not wait for the date on the card.",
        "Plan the refill before the calculated empty date. An occluded or over-delivering pump holds another "
        "volume than the calculated one: compare at the refill.",
    ),
    AlarmKind.EMPTY_RESERVOIR: Advice(
        f"Call your pump team at once: you get no medicine from the pump now. Look out for {_WITHDRAWAL}.",
        _CARER_NO_DRUG,
        "Refill at once. Expect withdrawal; have oral or intrathecal replacement ready and watch breathing when "
        "the drug returns.",
    ),
    AlarmKind.ELECTIVE_REPLACEMENT: Advice(
        "Call your pump team this week: the pump has to be replaced in the coming weeks. It is still working.",
        "Call the pump team this week and ask for a date for the replacement.",
        "Book the replacement before the replace-by date. The catheter can usually stay; carry the prescription over.",
    ),
    AlarmKind.END_OF_SERVICE: Advice(
        f"Call your pump team at once: the pump has stopped. Look out for {_WITHDRAWAL}.",
        _CARER_NO_DRUG,
        "Replace the pump at once. It cannot be started again; bridge with oral or intrathecal replacement.",
    ),
    AlarmKind.THERAPY_STOPPED: Advice(
        "Call your pump team at once, unless they have just stopped the pump and told you what comes next. Look "
        f"out for {_WITHDRAWAL}.",
        f"{_CARER_NO_DRUG} If the team itself has stopped the pump, follow what they told you.",
        "Call at once whoever stopped it: why, and since when. Resume, or replace the drug by another way; after "
        "48 h without a stroke the tube may have taken a set.",
    ),
    AlarmKind.STOPPED_PUMP: Advice(
        f"Call your pump team at once: the pump has stood still for two days. Look out for {_WITHDRAWAL}.",
        _CARER_NO_DRUG,
        "Treat withdrawal at once. Before a restart weigh the risk of over-delivery by a tube that has taken a "
        "set; watch the patient afterwards and check the volume early.",
    ),
    AlarmKind.MEMORY_ERROR: Advice(
        "Call your pump team at once: the pump has to be read and may not be giving what was prescribed.",
        "Call the pump team at once. Watch for unusual drowsiness as well as for more stiffness.",
        "Interrogate at once, compare everything read with the chart, program again in full and read back.",
    ),
    AlarmKind.SAFE_STATE: Advice(
        f"Call your pump team at once: the pump gives less than was prescribed. Look out for {_WITHDRAWAL}.",
        _CARER_NO_DRUG,
        "Interrogate at once, read the log for the cause, program in full and read back. Decide whether the pump "
        "can stay.",
    ),
    AlarmKind.MOTOR_STALL: Advice(
        "Call your pump team at once, unless you have come out of an MRI scanner just now: then wait where staff "
        f"can read the pump. Look out for {_WITHDRAWAL}.",
        _CARER_NO_DRUG,
        "Interrogate at once and again later: after MRI a restart takes minutes, rarely up to a day, and may show "
        "only at the second reading. Repeated short stalls announce a lasting one: plan the replacement.",
    ),
    AlarmKind.LOW_BATTERY_RESET: Advice(
        "Call your pump team at once: the pump has restarted by itself and has to be read.",
        "Call the pump team at once. Watch for more stiffness, and for a second alarm.",
        "Interrogate at once: is it delivering, and what? A reset that repeats, or comes with an early ERI, means "
        "a failing battery or a short: plan the replacement.",
    ),
    AlarmKind.MEMORY_WARNING: Advice(
        "Call your pump team this week: the pump has to be read. It is still working.",
        "Call the pump team this week and ask to have the pump read.",
        "Interrogate, compare what is read with the chart, note how often it has happened.",
    ),
    AlarmKind.DOSE_LIMIT: Advice(
        "Call your pump team at once: the pump has stopped itself. Say so if you feel drowsy, weak or dizzy.",
        "Call the pump team at once. Unusual drowsiness or slow breathing is an emergency: call an ambulance.",
        "Check breathing and consciousness at once. Compare the program with what was intended; the pump starts "
        "again only when it is programmed or resumed.",
    ),
    AlarmKind.BOLUS_INTERRUPTED: Advice(
        "Call your pump team at once: an extra dose was broken off. Ask for no other until they have read the pump.",
        "Call the pump team at once and tell them when it sounded.",
        "Interrogate at once: the log bounds what was given. Do not repeat the bolus before you have read it.",
    ),
    TabletCondition.TELEMETRY_LATCH: Advice(
        "Call your pump team at once: the pump waits to be read and gives no medicine meanwhile.",
        _CARER_NO_DRUG,
        "Interrogate once more at once, see that it delivers again, and look into the log for interference (MRI).",
    ),
    TabletCondition.DOSE_MISMATCH: Advice(
        "Stay with your pump team until they have cleared it up.",
        "Stay with the pump team until they have cleared it up.",
        "Do not end the visit. Read again, find which of the two is right, program and read back.",
    ),
    TabletCondition.OUTCOME_UNKNOWN: Advice(
        "Stay with your pump team until they have read the pump again.",
        "Stay with the pump team until they have read the pump again.",
        "Do not repeat the command. Bring the telemeter back over the pump and interrogate: the pump says what "
        "happened.",
    ),
    TabletCondition.TABLET_BATTERY_LOW: Advice(
        "Nothing: it is the clinic's tablet, not your pump.",
        "Nothing: it is the clinic's tablet, not the pump.",
        "Connect the charger before you change a therapy.",
    ),
    TabletCondition.LOG_NEARLY_FULL: Advice(
        "Nothing: your pump works as before.",
        "Nothing: the pump works as before.",
        "Read and keep the log during this visit.",
    ),
}
