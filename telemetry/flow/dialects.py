"""The print protocols of balances as data: what is sent, and which line means what.

Written from public descriptions only; each says from which, and how sure we are (the marks of domain.md). A line is
read by the first pattern that fits all of it, so a dialect is a table and one function reads all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from telemetry.errors import UsageError
from telemetry.flow.lines import NG_PER_UNIT, Line, Outcome, is_number, parse_mass

_O = Outcome


@dataclass(frozen=True, slots=True)
class Pattern:
    """One kind of line. Groups ``value`` and ``unit`` make a mass of it, ``text`` is what it says."""

    expression: re.Pattern[str]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one family of balances talks. ``identify``: commands by what they tell, answered by one line each."""

    name: str
    title: str
    source: str
    confidence: str
    ask: bytes
    tare: bytes
    zero: bytes
    identify: tuple[tuple[str, bytes], ...]
    patterns: tuple[Pattern, ...]
    acknowledges: bool
    """Whether taring and zeroing are answered."""

    def read(self, line: bytes) -> Line:
        """What a line says; total: whatever fits no pattern is ``GARBAGE``."""
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError:
            return Line(_O.GARBAGE, text=shown(line))
        for pattern in self.patterns:
            found = pattern.expression.fullmatch(text)
            if found is not None:
                return _line(pattern.outcome, found, line)
        return Line(_O.GARBAGE, text=shown(line))


def _line(outcome: Outcome, found: re.Match[str], raw: bytes) -> Line:
    groups = found.groupdict()
    if "value" not in groups:
        return Line(outcome, text=(groups.get("text") or "").strip())
    number, unit = re.sub(r"[\[\]]", "", groups["value"]), (groups.get("unit") or "").strip()
    if not is_number(number):
        return Line(_O.GARBAGE, text=shown(raw))
    if not unit:
        return Line(_O.UNITLESS, text=number.strip())
    if unit not in NG_PER_UNIT:
        return Line(_O.FOREIGN_UNIT, text=f"{number.strip()} {unit}")
    mass = parse_mass(number, unit)
    if mass is None:
        return Line(_O.GARBAGE, text=shown(raw))
    return Line(outcome, *mass, text=unit)


def shown(line: bytes) -> str:
    """Bytes as a person can read them, on one line and no longer than needed."""
    text = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in line[:24])
    return f"{text}…" if len(line) > 24 else text


def _table(*rows: tuple[str, Outcome]) -> tuple[Pattern, ...]:
    return tuple(Pattern(re.compile(expression), outcome) for expression, outcome in rows)


_SICS_MASS = r" {1,10}(?P<value>[+-]?[\d.]{1,14}) (?P<unit>[A-Za-z%]{1,5})"
SICS = Dialect(
    name="sics",
    title="Mettler-Toledo MT-SICS (levels 0 and 1)",
    source="MT-SICS reference manuals, public: response formats of S, SI, SIR, Z, T, I1 to I4",
    confidence="B",
    ask=b"SI\r\n",
    tare=b"TI\r\n",
    zero=b"ZI\r\n",
    identify=(("model", b"I2\r\n"), ("software", b"I3\r\n"), ("serial", b"I4\r\n")),
    patterns=_table(
        (rf"S S{_SICS_MASS}", _O.STABLE),
        (rf"S D{_SICS_MASS}", _O.DYNAMIC),
        (r"S \+", _O.OVERLOAD),
        (r"S -", _O.UNDERLOAD),
        (r"S I", _O.BUSY),
        (r"[ZT]I? I", _O.BUSY),
        (r"[ZT]I? \+", _O.OVERLOAD),
        (r"[ZT]I? -", _O.UNDERLOAD),
        (r"ZI? [ASD]|TI? [SD] .{1,24}", _O.DONE),
        (r"(?:ES|ET|EL)", _O.NOT_UNDERSTOOD),
        (r"[A-Z]+\d* L", _O.NOT_UNDERSTOOD),
        (r'I\d+ [AB](?: \d+)? "(?P<text>[^"]{0,60})".{0,20}', _O.TEXT),
        (r"I\d+ I", _O.BUSY),
    ),
    acknowledges=True,
)
_SBI_MASS = r"(?:(?P<id>[A-Za-z0-9# .]{6}))?(?P<value>[+\- ][ \d.\[\]]{9,11}) ?(?P<unit>[A-Za-z%/ ]{0,3})"
_SBI_SPECIAL = r"(?:Stat)? *"
SBI = Dialect(
    name="sbi",
    title="Sartorius SBI (16 or 22 characters)",
    source="Sartorius operating instructions, public: output with 16 and 22 characters, special codes, ESC commands",
    confidence="B",
    ask=b"\x1bP\r\n",
    tare=b"\x1bU\r\n",
    zero=b"\x1bV\r\n",
    identify=(("model", b"\x1bx1_\r\n"), ("serial", b"\x1bx2_\r\n"), ("software", b"\x1bx3_\r\n")),
    patterns=_table(
        (_SBI_MASS, _O.STABLE),
        (rf"{_SBI_SPECIAL}H(?:igh)? *", _O.OVERLOAD),
        (rf"{_SBI_SPECIAL}L(?:ow)? *", _O.UNDERLOAD),
        (rf"{_SBI_SPECIAL}(?P<text>C(?:al\.?.{{0,6}})?|-+) *", _O.BUSY),
        (rf"{_SBI_SPECIAL}(?P<text>E(?:RR|rr) +\d+|[A-Z]{{3}}\.ER) *", _O.BUSY),
    ),
    acknowledges=False,
)
_AND_MASS = r"(?P<value>[+-][\d.]{1,9}) *(?P<unit>[A-Za-z%]{1,3}) *"
AND = Dialect(
    name="and",
    title="A&D standard format",
    source="a driver of others for A&D FX balances (headers, commands); the columns from memory",
    confidence="C",
    ask=b"Q\r\n",
    tare=b"T\r\n",
    zero=b"Z\r\n",
    identify=(("model", b"?TN\r\n"), ("serial", b"?SN\r\n")),
    patterns=_table(
        (rf"(?:ST|WT),{_AND_MASS}", _O.STABLE),
        (rf"US,{_AND_MASS}", _O.DYNAMIC),
        (r"OL,\+.{1,14}", _O.OVERLOAD),
        (r"OL,-.{1,14}", _O.UNDERLOAD),
        (r"QT,(?P<value>[+-][\d.]{1,9}) *(?P<unit>[A-Z]{2}) *", _O.STABLE),
        (r"EC,E02", _O.BUSY),
        (r"EC,(?P<text>E\d\d)", _O.NOT_UNDERSTOOD),
        (r"(?:ID|SN|TN),(?P<text>.{0,40})", _O.TEXT),
        (r"\x06", _O.DONE),
    ),
    acknowledges=False,
)
DIALECTS = {dialect.name: dialect for dialect in (SICS, SBI, AND)}


def dialect_named(name: str) -> Dialect:
    """The dialect of that name; raises ``UsageError`` listing all of them."""
    if name not in DIALECTS:
        known = ", ".join(f"{one.name} ({one.title})" for one in DIALECTS.values())
        raise UsageError(f"protocol: {name!r} is unknown; known: auto, {known}")
    return DIALECTS[name]


def advice(raw: bytes, dialect: Dialect) -> str:
    """What to do about bytes that ``dialect`` cannot read: one sentence.

    Seven data bits with parity read as eight look like text whose top bits come and go; a wrong baud rate gives
    bytes from all over; another dialect's lines are read by that one.
    """
    lines = [line for line in re.split(rb"[\r\n]+", raw) if line]
    for other in DIALECTS.values():
        if other is not dialect and any(other.read(line).outcome in _TELLING for line in lines):
            return f"it prints as {other.title} does: say --protocol {other.name}"
    stripped = [bytes(byte & 0x7F for byte in line) for line in re.split(rb"[\r\n\x8a\x8d]+", raw) if line]
    for one in (dialect, *DIALECTS.values()):
        if any(one.read(line).outcome in _TELLING for line in stripped):
            return (
                "it sends seven data bits with parity: set the balance to 8 data bits, no parity, 1 stop bit "
                "(and this end's ?baudrate= to the same rate)"
            )
    strange = sum(not (32 <= byte < 127 or byte in {9, 10, 13}) for byte in raw)
    if strange * 4 >= len(raw):
        return (
            "most of it is no text, so the baud rate is probably wrong: compare the balance's interface menu with "
            "?baudrate= in the URL (9600, 2400, 1200, 19200 are usual), then try another cable (straight or null modem)"
        )
    return (
        f"it is text, but not {dialect.title}: choose the balance's host or computer protocol in its menu "
        f"(no printer layout), or another --protocol ({', '.join(DIALECTS)})"
    )


_TELLING = frozenset({_O.STABLE, _O.DYNAMIC, _O.OVERLOAD, _O.UNDERLOAD})
