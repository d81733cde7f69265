"""Any bytes in, a list of what they are out: frames with their fields, messages, and garbage with its reason. Total."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.cli.output import facts
from telemetry.errors import BadFrame, BadPayload, UsageError
from telemetry.protocol.codec import decode, unpad
from telemetry.protocol.frame import Frame, Garbage, StreamDecoder, decode_frame
from telemetry.protocol.records import decode_record
from telemetry.protocol.wire import COUNTER, FrameType
from telemetry.transport.capture import CapturedFrame, LinkLost, LinkOpened, Note, SessionKeys, read_capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telemetry.transport.capture import Capture

_HANDSHAKE = {
    FrameType.PROBE: "probe",
    FrameType.BEACON: "beacon",
    FrameType.HELLO: "hello",
    FrameType.ACCEPT: "accept",
}
_SEALED = frozenset({FrameType.REQ, FrameType.RSP})
_LARGEST_FILE_BYTES = 1 << 28
_SHOWN = 32


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was found. ``kind``: frame, garbage, message, link or note; ``fields`` as JSON has them."""

    kind: str
    name: str
    fields: dict[str, object]
    at_ms: int | None = None
    direction: str = ""
    sealed: bool = False

    def as_json(self) -> dict[str, object]:
        """As one object."""
        found: dict[str, object] = {"kind": self.kind, "name": self.name}
        if self.at_ms is not None:
            found["at_ms"] = self.at_ms
        if self.direction:
            found["direction"] = self.direction
        if self.kind == "frame":
            found["sealed"] = self.sealed
        return found | {"fields": self.fields}


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was found; ``simulated`` is None where nobody said."""

    source: str
    items: tuple[Item, ...]
    simulated: bool | None = None


def find(text: str) -> Findings:
    """Decode the file or the hexadecimal text that ``text`` names.

    Raises ``UsageError`` when it is neither, or a capture whose lines are broken; never anything else.
    """
    if _is_file(text):
        return _file(Path(text))
    data = parse_hex(text)
    if data is None:
        raise UsageError(
            f"{text[:60]!r} is neither a file nor hexadecimal text; right would be FILE.telcap or pairs of hex digits "
            "such as 02 01 00 00"
        )
    return Findings("hex", tuple(find_in(data)))


def parse_hex(text: str) -> bytes | None:
    """Bytes of hexadecimal text, with spaces, colons or a leading 0x allowed; None for any other text."""
    digits = "".join(text.removeprefix("0x").replace(":", " ").replace("-", " ").split())
    if not digits or len(digits) % 2 or not set(digits) <= set("0123456789abcdefABCDEF"):
        return None
    return bytes.fromhex(digits)


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False  # too long or with a zero byte: no name of a file


def _file(path: Path) -> Findings:
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE_BYTES:
            raise UsageError(f"{path}: {size} bytes are more than {_LARGEST_FILE_BYTES}; cut it into parts")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: it cannot be read: {error.strerror}") from error
    if path.suffix == ".telcap" or data.lstrip().startswith(b"{"):
        capture = read_capture(path)
        return Findings(str(path), tuple(_capture(capture)), capture.simulated)
    hexadecimal = parse_hex(data.decode("ascii", errors="replace")) if data.isascii() else None
    return Findings(str(path), tuple(find_in(data if hexadecimal is None else hexadecimal)))


def find_in(data: bytes) -> Iterator[Item]:
    """What bytes are: one bare frame, a stream of frames, one message, or garbage; yields at least one item."""
    try:
        yield _frame(decode_frame(data))
    except BadFrame as error:
        not_a_frame = str(error)
    else:
        return
    message = _message(data)
    if message is not None:
        yield message
        return
    decoder = StreamDecoder()
    found = decoder.feed(data)
    # Whatever follows the last delimiter may be a frame whose delimiter is missing; this asks.
    rest = decoder.feed(b"\0") if decoder.pending_bytes else []
    if not found and not rest:
        yield Item("garbage", "nothing between delimiters", _sample(data, len(data)))
        return
    if any(isinstance(one, Frame) for one in (*found, *rest)) or b"\0" in data:
        yield from (_item(one) for one in (*found, *rest))
        return
    reasons = {"as_frame": not_a_frame, "as_message": _why_no_message(data)}
    yield Item("garbage", "neither frame nor stream nor message", {**reasons, **_sample(data, len(data))})


def _item(found: Frame | Garbage) -> Item:
    if isinstance(found, Frame):
        return _frame(found)
    return Item("garbage", found.reason.value, _sample(found.data, found.length))


def _sample(data: bytes, length: int) -> dict[str, object]:
    return {"length_bytes": length, "first_bytes": data[:_SHOWN].hex()}


def _frame(frame: Frame) -> Item:
    body = frame.body
    try:
        if frame.type in _SEALED:
            counter = COUNTER.unpack_from(body)[0] if len(body) >= COUNTER.size else None
            return Item("frame", frame.type.name, {"counter": counter, "sealed_bytes": len(body)}, sealed=True)
        if frame.type in _HANDSHAKE:
            return Item("frame", frame.type.name, facts(decode_record(_HANDSHAKE[frame.type], body)))
        message = decode(body)
    except BadPayload as error:
        return Item("frame", frame.type.name, {"unreadable": str(error), **_sample(body, len(body))})
    return Item("frame", frame.type.name, {"message": type(message).__name__, **facts(message)})


def _message(data: bytes) -> Item | None:
    try:
        message = decode(data)
    except BadPayload:
        try:
            message = decode(unpad(data))
        except BadPayload:
            return None
    return Item("message", type(message).__name__, facts(message))


def _why_no_message(data: bytes) -> str:
    try:
        decode(data)
    except BadPayload as error:
        return str(error)
    return ""


def _capture(capture: Capture) -> Iterator[Item]:
    datagrams: dict[int, bool] = {}
    for entry in capture.entries:
        match entry:
            case LinkOpened():
                datagrams[entry.link] = entry.datagrams
                yield Item("link", "opened", {"link": entry.link, "url": entry.url}, entry.at_ms)
            case LinkLost():
                yield Item("link", "ended", {"link": entry.link, "reason": entry.reason}, entry.at_ms)
            case CapturedFrame():
                yield from _captured(entry, bare=datagrams[entry.link])
            case Note():
                yield Item("note", "note", {"text": entry.text})
            case SessionKeys():
                yield Item("note", "session keys of a test device", {"names": sorted(entry.keys)})
    if capture.torn is not None:
        yield Item("garbage", "unfinished last line", {"line": capture.torn})


def _captured(entry: CapturedFrame, *, bare: bool) -> Iterator[Item]:
    found = list(_bare(entry.data)) if bare else [_item(one) for one in StreamDecoder().feed(entry.data + b"\0")]
    for item in found or [Item("garbage", "nothing", _sample(entry.data, len(entry.data)))]:
        fields = item.fields
        if item.sealed and entry.message is not None:
            fields = {**fields, "opened": dict(entry.message)}
        yield Item(item.kind, item.name, fields, entry.at_ms, entry.direction.value, item.sealed)


def _bare(data: bytes) -> Iterator[Item]:
    try:
        yield _frame(decode_frame(data))
    except BadFrame as error:
        yield Item("garbage", str(error).partition(":")[0], _sample(data, len(data)))
