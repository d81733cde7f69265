"""The alarms as a table: condition, tones of the pump, who hears them, what to tell whom, priority on the tablet.

Rows of the pump follow domain.md 2.5 (class, tones, repeat) and 5.4 (priority on the tablet); what a tablet finds out
by itself has rows of its own, without tones. How *one* pump family sounds is in its profile, which a test holds against
these rows. Marks: A a primary text, B a secondary one, C from memory and unverified, design a decision of this project.
"""

from __future__ import annotations

from telemetry.alarm_table.kinds import Advice, AlarmRow, Condition, Hearer, TabletCondition, Tone
from telemetry.alarm_table.rows import (
    CRITICAL_REPEAT_MS,
    LOW_RESERVOIR_NEAR_MS,
    NON_CRITICAL_REPEAT_MS,
    PUMP_ROWS,
    ROWS,
    SINGLE_TONE_MS,
    TABLE,
    TWO_TONE_MS,
    parse_condition,
)

__all__ = [
    "CRITICAL_REPEAT_MS",
    "LOW_RESERVOIR_NEAR_MS",
    "NON_CRITICAL_REPEAT_MS",
    "PUMP_ROWS",
    "ROWS",
    "SINGLE_TONE_MS",
    "TABLE",
    "TWO_TONE_MS",
    "Advice",
    "AlarmRow",
    "Condition",
    "Hearer",
    "TabletCondition",
    "Tone",
    "parse_condition",
]
