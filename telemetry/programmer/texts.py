"""Texts that every front end must show a person before something that can harm."""

from __future__ import annotations

WITHDRAWAL = (
    "Abrupt loss of intrathecal baclofen can cause high fever, altered mental state, rebound spasticity, "
    "rhabdomyolysis, organ failure and death. Have a plan (oral or intrathecal replacement, observation) before you "
    "stop."
)
"""Sense of the boxed warning of intrathecal baclofen (domain.md 3.1)."""
PORT_CHECK = (
    "Confirm the port before you fill: inject 5 ml of the new drug, draw them back, then fill slowly. What does not "
    "come back may be in the pocket: do not go on."
)
"""The guard against a pocket fill (domain.md 2.9, step 3)."""
PATIENT_BOLUS_WHY = (
    "patients' own boluses are forbidden on pumps for intrathecal baclofen, in every role: an overdose comes on hours "
    "later, with drowsiness, respiratory depression and coma, so that nobody gives it by the button"
)
"""Why a patient's bolus is refused by a baclofen pump (domain.md 2.8 and 3.1)."""
