"""How ``telemetry publish`` looks on a terminal: one picture that changes, or a line for each change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from telemetry.cli import words
from telemetry.cli.output import SIMULATED
from telemetry.clock import host_utc_s
from telemetry.interrogation import NotRead
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from telemetry.interrogation import Interrogation
    from telemetry.publish.gateway import Progress


class Board:
    """Shows every ``Progress``; a context manager, since a live picture has to be left whole."""

    def __init__(self, screen: Console, url: str, broker: str) -> None:
        self._screen = screen
        self._url = url
        self._broker = broker
        self._live = Live(console=screen, auto_refresh=False) if screen.is_terminal else None
        self._read: Interrogation | None = None
        self._last: object = None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, at: Progress) -> None:
        """Show where the gateway stands."""
        if at.look is not None and not isinstance(at.look, NotRead):
            self._read = at.look
        parts = [self._pump(at), self._there(at), _counts(at), *_troubles(at)]
        if self._live is not None:
            self._live.update(Group(*parts, Text("Ctrl-C ends.", style="dim")), refresh=True)
        elif (news := (at.look, at.connected, at.broker_problem, _troubles(at))) != self._last:
            self._last = news
            self._screen.print(Text("  ").join(parts), soft_wrap=True)

    def _pump(self, at: Progress) -> Text:
        if self._read is None:
            who = Text.from_markup(f"{SIMULATED} {escape(self._url)}")
        else:
            mark = SIMULATED if self._read.identity.simulated else "[bold white on red] NOT A SIMULATION [/]"
            who = Text.from_markup(f"{mark} pump {escape(self._read.identity.serial)}")
        if isinstance(at.look, NotRead):
            return who.append(f"  NOT READ at {words.host_moment(host_utc_s())}: {at.look.reason}", style="bold red")
        if self._read is None:
            return who.append("  not read yet", style="dim")
        who.append(f"  read at {words.host_moment(self._read.read_utc_ms // MS_PER_SECOND)}: ")
        who.append(words.therapy_now(self._read.status))
        for kind in self._read.status.alarms:
            who.append(f"  {kind.value.upper()}", style="bold red")
        return who

    def _there(self, at: Progress) -> Text:
        place = f"{self._broker} {at.root}".rstrip()
        if at.connected:
            return Text(f"broker connected: {place}", style="green")
        return Text(f"broker AWAY: {at.broker_problem or f'connecting to {place}'}", style="bold yellow")


def _counts(at: Progress) -> Text:
    return Text(f"published {at.sent}, acknowledged {at.acknowledged}, waiting {at.waiting} ({at.waiting_bytes} bytes)")


def _troubles(at: Progress) -> list[Text]:
    said: list[str] = []
    if at.log_held_back:
        said.append("the spool is nearly full: log records wait in the pump")
    if at.lost_alarm_events:
        said.append(f"{at.lost_alarm_events} alarm events were LOST: the spool was full")
    if at.lost_log_records:
        said.append(f"{at.lost_log_records} log records were overwritten in the pump before they could be read")
    if at.spool_problem:
        said.append(f"the spool cannot be written ({at.spool_problem}): what waits would not survive a crash")
    return [Text(text, style="bold red") for text in said]
