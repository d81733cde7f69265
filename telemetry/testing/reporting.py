"""What a failed test says about its pump: the last frames, and everything that is needed to see it fail again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from telemetry.protocol.plain import describe
from telemetry.testing.marker import mark_text
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.testing.faults import LinkFaults
    from telemetry.testing.watching import SeenFrame, WatchedPump

SHOWN_FRAMES = 24
_LONGEST_LINE = 200
_LONGEST_VALUE = 40
_ARROWS = {"tx": "->", "rx": "<-", None: "--"}


@dataclass(frozen=True, slots=True)
class Scene:
    """What one test has: its pump, what it asked for, and the faults of its link."""

    settings: dict[str, Any]
    pump: WatchedPump
    faults: LinkFaults

    def sections(self) -> list[tuple[str, str]]:
        """Title and text of each section for the report of a failure; never raises."""
        return [
            ("telemetry: last frames (link ms; -> to the pump, <- from it)", _frames(self.pump.frames)),
            ("telemetry: the pump, to see this again", self._pump()),
        ]

    def _pump(self) -> str:
        lines = [mark_text(self.settings)]
        try:
            lines += [
                f"now     {_span(self.pump.now_ms)} ({self.pump.now_ms} ms)",
                f"status  {_record(self.pump.status)}",
                f"truth   {_record(self.pump.truth)}",
                f"ledger  {_record(self.pump.ledger)}",
            ]
        except Exception as error:  # noqa: BLE001 - the report of one failure must not end in another
            lines.append(f"the pump can no longer be asked: {type(error).__name__}: {error}")
        lines.append(f"faults  seed {self.faults.seed}, {self.faults.hits} hits; in force: {self._rules()}")
        return "\n".join(lines)

    def _rules(self) -> str:
        return ", ".join(f"{rule} (seen {rule.seen}, hits {rule.hits})" for rule in self.faults.rules) or "none"


def _frames(seen: tuple[SeenFrame, ...]) -> str:
    if not seen:
        return "none: no programmer was connected"
    lines = [_line(frame) for frame in seen[-SHOWN_FRAMES:]]
    left_out = len(seen) - len(lines)
    return "\n".join([f"({left_out} earlier ones: virtual_pump.frames)", *lines] if left_out else lines)


def _line(frame: SeenFrame) -> str:
    link = f"link {frame.link}" if frame.link else "fault "
    text = f"{frame.at_ms:>12} {link} {_ARROWS[frame.direction]} {frame.name}"
    note = f"  {frame.note}" if frame.note else ""
    content = "" if frame.message is None else _content(frame.message)
    return f"{text}{note}{_cut(f'  {content}', _LONGEST_LINE - len(text)) if content else ''}"


def _content(message: object) -> str:
    return " ".join(f"{name}={_cut(str(value))}" for name, value in describe(message).items() if name != "name")


def _record(record: object) -> str:
    shown = ((field.name, getattr(record, field.name)) for field in fields(record))  # type: ignore[arg-type]
    return " ".join(f"{name}={_cut(_value(value))}" for name, value in shown)


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)


def _cut(text: str, longest: int = _LONGEST_VALUE) -> str:
    return text if len(text) <= longest else f"{text[: max(1, longest - 1)]}…"


def _span(ms: int) -> str:
    days, rest = divmod(ms, MS_PER_DAY)
    hours, rest = divmod(rest, MS_PER_HOUR)
    minutes, rest = divmod(rest, MS_PER_MINUTE)
    seconds, rest = divmod(rest, MS_PER_SECOND)
    return f"day {days} {hours:02}:{minutes:02}:{seconds:02}.{rest:03}"
