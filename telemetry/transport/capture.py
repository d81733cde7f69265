"""``.telcap``: recorded traffic as readable text, one JSON object a line.

====================================================================  =================================================
line                                                                  meaning
====================================================================  =================================================
``{"format":"telcap","version":1,"simulated":…,"tool":…,"started":…}``  first line; ``started`` is UTC, null on a manual
                                                                      clock; ``simulated`` true, or null when unknown;
                                                                      ``layout``, where given, names the wire table
``{"link":1,"at_ms":…,"opened":URL,"datagrams":…}``                   a link begins; its frames carry its number
``{"link":1,"at_ms":…,"dir":"tx","hex":…[,"message":{…}]}``           a frame as on the wire (streams: COBS with its
                                                                      zero), and what was in it where somebody knew
``{"link":1,"at_ms":…,"lost":REASON}``                                the link ended; null when we closed it
``{"keys":{…}}``                                                      session keys of a test device
``{"note":…}``                                                        a remark of the recorder
====================================================================  =================================================

``at_ms`` is link time. The file grows by whole lines, each written through at once, and a later recording to the same
file goes behind the earlier one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from telemetry.clock import ManualClock, host_utc_s
from telemetry.errors import UsageError
from telemetry.transport.capture_lines import (
    BadLineError,
    bytes_of,
    direction,
    mapping,
    parse_line,
    take,
    text_of,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from telemetry.clock import Clock
    from telemetry.transport.faults import Direction

FORMAT = "telcap"
VERSION = 1
_BEGINNING = re.compile(rb'\s*\{\s*"format"\s*:\s*"telcap"')
_ENOUGH_BYTES = 100
LARGEST_FILE_BYTES = 1 << 28
"""More is not read: a device such as /dev/zero never ends."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of a frame besides its bytes: the opened message as plain data, session keys, a remark."""

    message: Mapping[str, object] | None = None
    keys: Mapping[str, str] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """A link began. ``datagrams`` false: frames are COBS-encoded with their zero delimiter."""

    link: int
    at_ms: int
    url: str
    datagrams: bool


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link ended; ``reason`` None when it was closed by the recording side."""

    link: int
    at_ms: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame as on the wire; ``at_ms`` is link time, ``message`` what was in it where the recorder knew."""

    link: int
    at_ms: int
    direction: Direction
    data: bytes
    message: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """Keys of a test device's session, as the annotator named them."""

    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Note:
    """A remark of the recorder."""

    text: str


Entry = LinkOpened | LinkLost | CapturedFrame | SessionKeys | Note


@dataclass(frozen=True, slots=True)
class Capture:
    """A whole file. ``torn`` numbers an unfinished last line that was left out; None when there is none.

    ``layout`` is the fingerprint of its frames' wire table, None where the recorder did not say.
    """

    simulated: bool | None
    tool: str
    started: str | None
    entries: tuple[Entry, ...]
    torn: int | None
    layout: str | None = None

    def frames(self) -> list[CapturedFrame]:
        """Only the frames, in order."""
        return [entry for entry in self.entries if isinstance(entry, CapturedFrame)]


def tool_version() -> str:
    """Name and version of what wrote a capture."""
    try:
        return f"itb-telemetry {metadata.version('itb-telemetry')}"
    except metadata.PackageNotFoundError:
        return "itb-telemetry, not installed"


class CaptureWriter:
    """Appends to a capture file, making it when it is not there.

    ``layout`` is the fingerprint of the wire table, for the header. Holds the file locked. Raises ``UsageError`` when
    it cannot be written, is in use, is no capture, or is one of another wire table; a torn last line of an earlier
    recording is cut off, and a note says so. Later failures are ``OSError`` from the call that met them.
    """

    def __init__(self, path: Path, clock: Clock, *, simulated: bool | None, layout: str | None = None) -> None:
        self._clock = clock
        self._layout = layout
        self._links = 0
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"capture {path}: it cannot be written: {error.strerror}") from error
        try:
            _ordinary(self._descriptor, path)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin(path, simulated=simulated)
        except BlockingIOError:
            os.close(self._descriptor)
            raise UsageError(f"capture {path}: somebody is recording to it; choose another file") from None
        except BaseException:
            os.close(self._descriptor)
            raise

    def _begin(self, path: Path, *, simulated: bool | None) -> None:
        if os.fstat(self._descriptor).st_size == 0:
            manual = isinstance(self._clock, ManualClock)
            started = None if manual else datetime.fromtimestamp(host_utc_s(), UTC).isoformat()
            header = {"format": FORMAT, "version": VERSION, "simulated": simulated, "tool": tool_version()}
            self._put({**header, "started": started} | ({"layout": self._layout} if self._layout else {}))
            return
        present = read_capture(path)
        if None not in (present.layout, self._layout) and present.layout != self._layout:
            raise UsageError(
                f"capture {path}: its frames are laid out by the wire table {present.layout}, ours is {self._layout}; "
                "record to another file"
            )
        self._links = max((entry.link for entry in present.entries if isinstance(entry, LinkOpened)), default=0)
        torn = 0
        if present.torn is not None:
            text = path.read_bytes()
            torn = len(text) - text.rfind(b"\n") - 1
            os.ftruncate(self._descriptor, len(text) - torn)
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        if os.pread(self._descriptor, 1, end - 1) != b"\n":
            os.write(self._descriptor, b"\n")
        if torn:
            self._put({"note": f"an unfinished last line of {torn} bytes was cut off"})

    def opened(self, url: str, *, datagrams: bool) -> int:
        """Note that a link began; returns its number."""
        self._links += 1
        self._put({"link": self._links, "at_ms": self._clock.link_ms(), "opened": url, "datagrams": datagrams})
        return self._links

    def frame(self, frame: CapturedFrame) -> None:
        """Append one frame."""
        line: dict[str, object] = {
            "link": frame.link,
            "at_ms": frame.at_ms,
            "dir": frame.direction.value,
            "hex": frame.data.hex(),
        }
        if frame.message is not None:
            line["message"] = frame.message
        self._put(line)

    def keys(self, keys: Mapping[str, str]) -> None:
        """Append session keys of a test device."""
        self._put({"keys": dict(keys)})

    def note(self, text: str) -> None:
        """Append a remark."""
        self._put({"note": text})

    def lost(self, link: int, reason: str | None) -> None:
        """Note that a link ended."""
        self._put({"link": link, "at_ms": self._clock.link_ms(), "lost": reason})

    def close(self) -> None:
        """Give the file free; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _put(self, line: Mapping[str, object]) -> None:
        rest = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]


def refuse_capture(path: Path, what: str) -> None:
    """Hold something else from being written over a capture, which could not be had again; raises ``UsageError``."""
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            begun = file.read(_ENOUGH_BYTES)
    except (OSError, ValueError):
        return  # writing to it will tell
    if _BEGINNING.match(begun):
        raise UsageError(f"{what}: {path} is a capture and would be lost; name another file")


def _ordinary(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UsageError(f"capture {path}: it is no ordinary file; a capture is continued and read again, so name one")


def read_capture(path: Path) -> Capture:
    """Read a capture; raises ``UsageError`` naming file, line and what is wrong with it.

    Strict, but for one thing that a killed recorder leaves behind: an unfinished last line is left out and reported.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"capture {path}: it cannot be read: {error.strerror}") from error
    if len(text) > LARGEST_FILE_BYTES:
        raise UsageError(
            f"capture {path}: it has more than {LARGEST_FILE_BYTES} bytes; cut it into parts, each with the header"
        )
    *ended, last = text.split(b"\n")
    entries: list[Entry] = []
    torn: int | None = None
    header: Mapping[str, object] | None = None
    for number, line in enumerate([*ended, last] if last else ended, 1):
        try:
            found = parse_line(line)
            if header is None:
                header = _header(found)
            else:
                entries.append(_entry(found))
        except BadLineError as error:
            if last and number == len(ended) + 1 and header is not None and not _is_json(line):
                torn = number
                break
            whose = "it is no capture, for " if header is None and not line.lstrip().startswith(b"{") else ""
            raise UsageError(f"capture {path}, line {number}: {whose}{error}") from None
    if header is None:
        raise UsageError(f"capture {path}: it is empty; a capture begins with its header line")
    _known_links(path, entries)
    simulated, started = header["simulated"], header["started"]
    return Capture(
        simulated=simulated if isinstance(simulated, bool) else None,
        tool=str(header["tool"]),
        started=started if isinstance(started, str) else None,
        entries=tuple(entries),
        torn=torn,
        layout=None if header.get("layout") is None else str(header["layout"]),
    )


def _is_json(line: bytes) -> bool:
    try:
        parse_line(line)
    except BadLineError:
        return False
    return True


def _header(line: Mapping[str, object]) -> Mapping[str, object]:
    if line.get("format") != FORMAT:
        raise BadLineError(f'it is no capture: the first line must hold "format":"{FORMAT}"')
    version = line.get("version")
    if type(version) is not int or version != VERSION:
        raise BadLineError(
            f"version {version!r} cannot be read, only {VERSION}; use the release that recorded it "
            f"({line.get('tool', 'it does not say which')!s:.80})"
        )
    take(line, ("format", "version", "simulated", "tool", "started"), optional="layout")
    kinds_of = {"simulated": (bool, type(None)), "tool": (str,), "started": (str, type(None)), "layout": (str,)}
    for name, kinds in kinds_of.items():
        if name in line and not isinstance(line[name], kinds):
            raise BadLineError(f"{name} is {line[name]!r}")
    return line


def _entry(line: Mapping[str, object]) -> Entry:
    if "keys" in line:
        take(line, ("keys",))
        keys = mapping(line, "keys")
        return SessionKeys({name: text_of(keys, name) for name in keys})
    if "note" in line:
        take(line, ("note",))
        return Note(text_of(line, "note"))
    if "opened" in line:
        take(line, ("link", "at_ms", "opened", "datagrams"))
        if not isinstance(line["datagrams"], bool):
            raise BadLineError(f"datagrams is {line['datagrams']!r}, not true or false")
        return LinkOpened(whole(line, "link", 1), whole(line, "at_ms", 0), text_of(line, "opened"), line["datagrams"])
    if "lost" in line:
        take(line, ("link", "at_ms", "lost"))
        reason = None if line["lost"] is None else text_of(line, "lost")
        return LinkLost(whole(line, "link", 1), whole(line, "at_ms", 0), reason)
    take(line, ("link", "at_ms", "dir", "hex"), optional="message")
    return CapturedFrame(
        whole(line, "link", 1),
        whole(line, "at_ms", 0),
        direction(line),
        bytes_of(line),
        mapping(line, "message") if "message" in line else None,
    )


def _known_links(path: Path, entries: list[Entry]) -> None:
    opened: set[int] = set()
    for number, entry in enumerate(entries, 2):
        if isinstance(entry, LinkOpened):
            opened.add(entry.link)
        elif isinstance(entry, CapturedFrame | LinkLost) and entry.link not in opened:
            raise UsageError(f"capture {path}, line {number}: link {entry.link} was never opened")


__all__ = [
    "Annotation",
    "Capture",
    "CaptureWriter",
    "CapturedFrame",
    "Entry",
    "LinkLost",
    "LinkOpened",
    "Note",
    "SessionKeys",
    "read_capture",
    "tool_version",
]
