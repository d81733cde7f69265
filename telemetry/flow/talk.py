"""How the virtual balance answers: the other side of ``dialects.py``. Its identity says SIMULATED in every dialect."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from telemetry.flow.lines import Outcome, mass_text

if TYPE_CHECKING:
    from telemetry.flow.scale import Display

IDENTITY = {"model": "SIMULATED-BALANCE", "serial": "SIMULATED-0001", "software": "SIMULATED 1"}
_LONGEST_COMMAND = 24
_END = "\r\n"


class Talk(ABC):
    """Cuts what a client sends into commands, and words answers. ``ACTS``: a command to what is to be done.

    Acts: ``now`` (the mass at once), ``stable`` (when it rests), ``repeat`` (at once and again), ``stop``, ``tare``,
    ``zero``, or the name of a fact in ``IDENTITY``.
    """

    ACTS: ClassVar[dict[str, str]]
    UNKNOWN = ""

    def __init__(self) -> None:
        self._rest = b""

    def commands(self, data: bytes) -> list[str]:
        """The commands that these bytes end; an overlong one is cut off."""
        self._rest += data
        found: list[str] = []
        while (cut := self._cut()) is not None:
            found.append(cut)
        self._rest = self._rest[-_LONGEST_COMMAND:]
        return found

    def _cut(self) -> str | None:
        match = re.search(rb"[\r\n]", self._rest)
        if match is None:
            return None
        line, self._rest = self._rest[: match.start()], self._rest[match.end() :]
        return line.decode("latin-1").strip() or self._cut()

    @abstractmethod
    def mass(self, display: Display, step_ng: int) -> str:
        """The answer with a mass, or why there is none."""

    @abstractmethod
    def fact(self, command: str, text: str) -> str:
        """The answer to a question about the balance."""

    def done(self, command: str, display: Display, step_ng: int) -> str:
        """The answer to a tare or zero; empty where the dialect has none."""
        del command, display, step_ng
        return ""

    def busy(self, command: str) -> str:
        """The answer when it cannot be asked now; empty where the dialect has none."""
        del command
        return ""


class SicsTalk(Talk):
    """MT-SICS, levels 0 and 1, as far as weighing needs them."""

    ACTS: ClassVar = {
        "S": "stable",
        "SI": "now",
        "SIR": "repeat",
        "@": "stop",
        "T": "tare",
        "TI": "tare",
        "Z": "zero",
        "ZI": "zero",
        "I2": "model",
        "I3": "software",
        "I4": "serial",
    }
    UNKNOWN = "ES" + _END

    def mass(self, display: Display, step_ng: int) -> str:
        """``S S     100.00 g``: the value stands in ten columns."""
        flags = {Outcome.OVERLOAD: "+", Outcome.UNDERLOAD: "-", Outcome.BUSY: "I"}
        if display.outcome in flags:
            return f"S {flags[display.outcome]}{_END}"
        flag = "S" if display.outcome is Outcome.STABLE else "D"
        return f"S {flag} {mass_text(display.mass_ng, step_ng):>10} g{_END}"

    def fact(self, command: str, text: str) -> str:
        """``I4 A "text"``."""
        return f'{command} A "{text}"{_END}'

    def done(self, command: str, display: Display, step_ng: int) -> str:
        """``T S …`` with the tare, ``Z A``."""
        if command.startswith("Z"):
            return f"Z{command[1:]} {'A' if command == 'Z' else 'S'}{_END}"
        return f"{command} S {mass_text(display.mass_ng, step_ng):>10} g{_END}"

    def busy(self, command: str) -> str:
        """``S I`` and its like."""
        return f"{'S' if command.startswith('S') else command} I{_END}"


class SbiTalk(Talk):
    """SBI with 16 characters: no unit while the mass moves, no answer to a tare."""

    ACTS: ClassVar = {
        "P": "now",
        "T": "zero",
        "U": "tare",
        "V": "zero",
        "x1_": "model",
        "x2_": "serial",
        "x3_": "software",
    }
    _COMMAND = re.compile(rb"\x1b([a-z]\d{0,2}_|[A-Z])(?:\r?\n|\r)?", re.DOTALL)

    def _cut(self) -> str | None:
        match = self._COMMAND.search(self._rest)
        if match is None:
            return None
        self._rest = self._rest[match.end() :]
        return match[1].decode("ascii")

    def mass(self, display: Display, step_ng: int) -> str:
        """Sign, nine columns, a space, three of the unit."""
        words = {Outcome.OVERLOAD: "High", Outcome.UNDERLOAD: "Low", Outcome.BUSY: "C"}
        if display.outcome in words:
            return f"{'':6}{words[display.outcome]:<8}{_END}"
        number = mass_text(abs(display.mass_ng), step_ng)
        if len(number) > 9:
            return f"{'':6}{'High':<8}{_END}"
        unit = "g" if display.outcome is Outcome.STABLE else ""
        return f"{'-' if display.mass_ng < 0 else '+'}{number:>9} {unit:<3}{_END}"

    def fact(self, command: str, text: str) -> str:
        """The bare text."""
        del command
        return f"{text}{_END}"


class AndTalk(Talk):
    """The A&D standard format."""

    ACTS: ClassVar = {
        "Q": "now",
        "SI": "now",
        "S": "stable",
        "SIR": "repeat",
        "C": "stop",
        "T": "tare",
        "Z": "zero",
        "R": "zero",
        "?TN": "model",
        "?SN": "serial",
    }
    UNKNOWN = "EC,E01" + _END

    def mass(self, display: Display, step_ng: int) -> str:
        """Header, sign and eight digits, a unit of three columns."""
        if display.outcome in {Outcome.OVERLOAD, Outcome.UNDERLOAD}:
            sign = "+" if display.outcome is Outcome.OVERLOAD else "-"
            return f"OL,{sign}9999999E+19{_END}"
        if display.outcome is Outcome.BUSY:
            return f"EC,E02{_END}"
        number = mass_text(abs(display.mass_ng), step_ng)
        head = "ST" if display.outcome is Outcome.STABLE else "US"
        return f"{head},{'-' if display.mass_ng < 0 else '+'}{number:0>8}  g{_END}"

    def fact(self, command: str, text: str) -> str:
        """``TN,text``."""
        return f"{command[1:]},{text}{_END}"


TALKS: dict[str, type[Talk]] = {"sics": SicsTalk, "sbi": SbiTalk, "and": AndTalk}
