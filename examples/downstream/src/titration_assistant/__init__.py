"""A titration assistant: the next dose, programmed with care. An example for simulated pumps; not for clinical use."""

from titration_assistant.plan import TitrationPlan
from titration_assistant.visit import NotToday, Uncertain, Visit, titrate

__all__ = ["NotToday", "TitrationPlan", "Uncertain", "Visit", "titrate"]
