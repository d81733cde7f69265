"""Bad programmers that show what is not so: each is the reference tablet but for one thing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from telemetry.conform.bad.declaring import Bad
from telemetry.conform.own import Tablet
from telemetry.model import AlarmPriority
from telemetry.units import DailyDose

if TYPE_CHECKING:
    from telemetry.conform.operator import Act, Answer
    from telemetry.conform.own_screen import Reading
    from telemetry.model import Alarm

# ruff: noqa: D102 - each class says in its docstring what its methods do wrong

_UNITS = re.compile(r"\s*(?:ml/day|µg/day|µg/ml|ml|%)")


class DropsUnits(Tablet):
    """Shows numbers and leaves their units out."""

    def show_rate(self, reading: Reading) -> str:
        return _UNITS.sub("", super().show_rate(reading))

    def show_dose(self, reading: Reading) -> str:
        return _UNITS.sub("", super().show_dose(reading))

    def show_concentration(self, reading: Reading) -> str:
        return _UNITS.sub("", super().show_concentration(reading))


class MicroAsMilli(Tablet):
    """Shows micrograms as milligrams."""

    def show_dose(self, reading: Reading) -> str:
        return super().show_dose(reading).replace("µg", "mg")


class HourAsDay(Tablet):
    """Shows what the pump gives in an hour as what it gives in a day."""

    def show_dose(self, reading: Reading) -> str:
        return str(DailyDose(reading.status.dose_ng_per_day // 24))


class FullReservoir(Tablet):
    """Shows the reservoir's capacity for what is in it."""

    def show_reservoir(self, reading: Reading) -> str:
        full = replace(reading.status, reservoir_nl=reading.identity.reservoir_capacity_nl)
        return super().show_reservoir(replace(reading, status=full))


class StoppedLooksRunning(Tablet):
    """Shows the mode of a stopped pump in the words of a running one."""

    def show_mode(self, reading: Reading) -> str:
        del reading
        return "simple continuous"


class NotMarkedSimulated(Tablet):
    """Does not say that the pump is a simulated one."""

    def show_simulated(self) -> str:
        return ""

    def show_identity(self, reading: Reading) -> str:
        return super().show_identity(reading).replace("SIMULATED", "")


class KeepsAStaleScreen(Tablet):
    """Lets the last values stand as if they were the present ones."""

    def stale(self) -> str:
        return ""

    def show_contact(self) -> str:
        return "in contact"


class NeverLooks(Tablet):
    """Reads the pump when it is told to, and never by itself; says that all is up to date."""

    async def poll(self) -> None:
        pass

    def stale(self) -> str:
        return ""


class PollsTooSlowly(Tablet):
    """Looks at the pump half as often as it claims."""

    poll_ms = 4_000


class MixesTwoPumps(Tablet):
    """Goes on with the name of one pump above the values of another."""

    def known_pump(self, reading: Reading) -> bool:
        del reading
        return True

    def take(self, reading: Reading) -> None:
        shown = self.screen.reading
        super().take(reading if shown is None else replace(reading, identity=shown.identity))


class SaysNothing(Tablet):
    """Gives up and does not say so."""

    async def look(self, *, interrogate: bool = False) -> bool:
        found = await super().look(interrogate=interrogate)
        self.screen.problem = ""
        return found

    def show_contact(self) -> str:
        return ""


class HoldsThePump(Tablet):
    """Keeps its session open while it only looks, so that nobody else gets in."""

    async def read(self) -> Reading:
        driver, release = self.driver(), type(self.driver()).release

        async def keep() -> None:
            pass

        driver.release = keep  # type: ignore[method-assign]
        try:
            return await super().read()
        finally:
            driver.release = release.__get__(driver)  # type: ignore[method-assign]


class NeverGivesUp(Tablet):
    """Tries, and tries, and tries."""

    async def look(self, *, interrogate: bool = False) -> bool:
        for _ in range(60):
            if await super().look(interrogate=interrogate):
                return True
        return False


# --- alarms ----------------------------------------------------------------------------------------------------------


class HidesLowAlarms(Tablet):
    """Leaves alarms of low priority out."""

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        return "" if getattr(one, "priority", None) is AlarmPriority.LOW else super().alarm_line(one, alarms)


class OnlyTheHighest(Tablet):
    """Shows the most severe alarm and no other."""

    def show_alarms(self) -> str:
        return super().show_alarms().partition("\n")[0]


class SaysNoAlarm(Tablet):
    """Shows an empty field where there is no alarm, which looks like one that was not read."""

    def show_alarms(self) -> str:
        text = super().show_alarms()
        return "" if text.startswith("none") else text


class MixesUpPriorities(Tablet):
    """Ranks medium alarms low."""

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        return super().alarm_line(one, alarms).replace("MEDIUM", "LOW   ")


class SilencingHides(Tablet):
    """Takes an alarm that was silenced off the screen, for good."""

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        line = super().alarm_line(one, alarms)
        return "" if "silenced" in line else line


class SilencesWhatComes(Tablet):
    """Once silenced, marks every later alarm as silenced too."""

    silenced = False

    async def silence(self, act: Act) -> Answer:
        self.silenced = True
        return await super().silence(act)

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        line = super().alarm_line(one, alarms)
        return f"{line}, silenced" if line and self.silenced and "silenced" not in line else line


class LatchedAsPresent(Tablet):
    """Shows an alarm whose cause is over as if it were there."""

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        line = super().alarm_line(one, alarms)
        line = line.replace(" (over; not yet acknowledged)", "").replace("– over, latched", "– present")
        return line.replace("latched, sounding", "sounding")


class PresentAsOver(Tablet):
    """Shows an alarm that is present as over."""

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        return super().alarm_line(one, alarms).replace("– present", "– over, latched")


class AcknowledgedIsGone(Tablet):
    """Takes an alarm off the screen when it is acknowledged, whether or not its cause is over."""

    def alarm_line(self, one: object, alarms: tuple[Alarm, ...]) -> str:
        line = super().alarm_line(one, alarms)
        return "" if "acknowledged" in line else line


class LateAlarms(Tablet):
    """Reads mode and alarms when it is told to, and with every fifth look by itself."""

    looks = 0

    async def look(self, *, interrogate: bool = False) -> bool:
        self.looks = 0 if interrogate else self.looks + 1
        return await super().look(interrogate=interrogate)

    def take(self, reading: Reading) -> None:
        shown = self.screen.reading
        if shown is not None and self.looks % 5:
            status = replace(reading.status, alarms=shown.status.alarms, mode=shown.status.mode)
            reading = replace(reading, alarms=shown.alarms, status=status)
        super().take(reading)


class LosesTheLog(Tablet):
    """Shows the newest records of the log and drops the rest."""

    async def read_log(self, act: Act) -> Answer:
        answer = await super().read_log(act)
        if self.screen.log is not None:
            self.screen.log = self.screen.log[len(self.screen.log) // 2 :]
        return answer


class BusyIsFine(Tablet):
    """Says nothing of a pump that somebody else uses."""

    async def look(self, *, interrogate: bool = False) -> bool:
        found = await super().look(interrogate=interrogate)
        if "in use" in self.screen.problem:
            self.screen.problem = ""
        return found

    def show_contact(self) -> str:
        return super().show_contact() if self.screen.problem else ""


BAD_SHOWING: tuple[Bad[Tablet], ...] = (
    Bad("drops units", "shows numbers and leaves their units out", "P-60", DropsUnits),
    Bad("µg as mg", "shows micrograms as milligrams", "P-03", MicroAsMilli),
    Bad("hour as day", "shows an hour's dose as a day's", "P-03", HourAsDay),
    Bad("full reservoir", "shows the capacity for what is in the reservoir", "P-04", FullReservoir),
    Bad("stopped looks running", "shows a stopped pump as running", "P-07", StoppedLooksRunning),
    Bad("not marked", "does not say that the pump is simulated", "P-08", NotMarkedSimulated),
    Bad("loses the log", "shows the newest page of the log for the whole", "P-11", LosesTheLog),
    Bad("says nothing", "gives up without a word", "P-12", SaysNothing),
    Bad("mixes two pumps", "shows one pump's name above another's values", "P-15", MixesTwoPumps),
    Bad("stale screen", "keeps what stood there when the link was lost", "P-16", KeepsAStaleScreen),
    Bad("never looks", "does not see what another programmer changed", "P-18", NeverLooks),
    Bad("polls too slowly", "looks half as often as it claims", "P-19", PollsTooSlowly),
    Bad("says no alarm by nothing", "shows nothing where there is no alarm", "P-70", SaysNoAlarm),
    Bad("late alarms", "reads the alarms at every fifth look", "P-71", LateAlarms),
    Bad("hides an alarm", "leaves low-priority alarms out", "P-72", HidesLowAlarms),
    Bad("mixes up priorities", "ranks medium alarms low", "P-73", MixesUpPriorities),
    Bad("only the highest", "shows the most severe alarm alone", "P-74", OnlyTheHighest),
    Bad("silencing hides", "takes a silenced alarm off the screen for good", "P-75", SilencingHides),
    Bad("silences what comes", "marks new alarms as silenced", "P-76", SilencesWhatComes),
    Bad("latched as present", "shows what is over as present", "P-77", LatchedAsPresent),
    Bad("present as over", "shows what is present as over", "P-78", PresentAsOver),
    Bad("acknowledged is gone", "drops an acknowledged alarm that is present", "P-79", AcknowledgedIsGone),
    Bad("never gives up", "tries a dead link for ever", "P-80", NeverGivesUp),
    Bad("busy is fine", "says nothing of a pump that somebody else uses", "P-85", BusyIsFine),
    Bad("holds the pump", "keeps its session while it only looks", "P-86", HoldsThePump),
)
"""Programmers that show what is not so, with the step that must find each."""
