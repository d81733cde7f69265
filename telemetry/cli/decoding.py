"""Any bytes in, a list of what they are out: frames with their fields, messages, and garbage with its reason. Total."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.cli.output import facts
from telemetry.errors import BadFrame, BadPayload, UsageError
from telemetry.protocol.codec import decode, unpad
from telemetry.protocol.frame import Frame, Garbage, StreamDecoder, decode_frame, encode_frame
from telemetry.protocol.records import decode_record
from telemetry.protocol.wire import BY_NAME, COUNTER, TAG_SIZE, FrameType
from telemetry.traffic.explaining import explain_bytes, explain_frame, explain_message, explain_segment
from telemetry.traffic.explaining_orders import Orders
from telemetry.traffic.opening import open_capture, says_simulated
from telemetry.transport.capture import CapturedFrame, LinkLost, LinkOpened, Note, SessionKeys, read_capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telemetry.traffic.explaining import Explanation
    from telemetry.traffic.explaining_orders import WholeImage
    from telemetry.traffic.opening import OpenedFrame
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
_HEX = frozenset("0123456789abcdefABCDEF")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that was found. ``kind``: frame, garbage, message, link or note; ``fields`` as JSON has them.

    ``message`` is the name of the message in it, ``explain`` makes its explanation when asked.
    """

    kind: str
    name: str
    fields: dict[str, object]
    at_ms: int | None = None
    direction: str = ""
    sealed: bool = False
    link: int | None = None
    message: str = ""
    explain: Callable[[], Explanation] | None = None

    def as_json(self, *, explained: bool = False) -> dict[str, object]:
        """As one object."""
        where = {"at_ms": self.at_ms, "link": self.link, "direction": self.direction or None}
        found: dict[str, object] = {"kind": self.kind, "name": self.name}
        found |= {name: value for name, value in where.items() if value is not None}
        if self.kind == "frame":
            found["sealed"] = self.sealed
        found["fields"] = self.fields
        if explained and self.explain is not None:
            found["explanation"] = self.explain().as_json()
        return found


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was found; ``simulated`` is None where nobody said; ``capture`` where it came from one."""

    source: str
    items: tuple[Item, ...]
    simulated: bool | None = None
    capture: Capture | None = None

    def chosen(self, link: int | None, kind: str | None) -> list[Item]:
        """The items of one link, of one type of frame or message.

        Raises ``UsageError`` for a link that is not there, or a type that ITP/1 does not have.
        """
        links = sorted({item.link for item in self.items if item.link is not None})
        if link is not None and link not in links:
            there = ", ".join(map(str, links)) or "there is none, for this is no capture"
            raise UsageError(f"--link: {link} is none of the links: {there}")
        wanted = None if kind is None else _type(kind)
        return [
            item
            for item in self.items
            if link in (None, item.link) and (wanted is None or wanted in {item.name, item.message})
        ]


def _type(text: str) -> str:
    """The name of a message or frame type, however it is written."""
    known = {name.lower().replace("_", ""): name for name in (*BY_NAME, *(kind.name for kind in FrameType), "garbage")}
    name = known.get(text.lower().replace("_", "").replace("-", ""))
    if name is None:
        raise UsageError(f"--type: {text!r} is none of {', '.join(known.values())}")
    return name


def find(text: str) -> Findings:
    """Decode the file or the hexadecimal text that ``text`` names.

    Raises ``UsageError`` when it is neither, or a capture whose lines are broken; never anything else.
    """
    if _is_file(text):
        return _file(Path(text))
    data = parse_hex(text)
    if data is None and len(text) > 1 and parse_hex(text + "0") is not None:
        digits = sum(character in _HEX for character in text.removeprefix("0x"))
        raise UsageError(f"{text[:60]!r}: {digits} hex digits are an odd number; a byte of hexadecimal text has two")
    if data is None:
        raise UsageError(
            f"{text[:60]!r} is neither a file nor hexadecimal text; right would be FILE.telcap or pairs of hex digits "
            "such as 02 01 00 00"
        )
    return Findings("hex", tuple(find_in(data)))


def parse_hex(text: str) -> bytes | None:
    """Bytes of hexadecimal text, with spaces, colons or a leading 0x allowed; None for any other text."""
    digits = "".join(text.removeprefix("0x").replace(":", " ").replace("-", " ").split())
    if not digits or len(digits) % 2 or not set(digits) <= _HEX:
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
        return Findings(str(path), tuple(_capture(capture)), says_simulated(capture), capture)
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
        yield Item("garbage", "nothing between delimiters", _sample(data, len(data)), explain=_explains_bytes(data))
        return
    if any(isinstance(one, Frame) for one in (*found, *rest)) or data.startswith(b"\0"):
        yield from (_item(one) for one in (*found, *rest))
        return
    reasons = {"as_frame": not_a_frame, "as_message": _why_no_message(data)}
    fields = {**reasons, **_sample(data, len(data))}
    yield Item("garbage", "neither frame nor stream nor message", fields, explain=_explains_bytes(data))


def _explains_bytes(data: bytes) -> Callable[[], Explanation]:
    return partial(explain_bytes, data)


def _item(found: Frame | Garbage) -> Item:
    if isinstance(found, Frame):
        return _frame(found)
    # Of longer garbage only the beginning is kept, which explains nothing.
    explain = partial(explain_segment, found.data) if found.length == len(found.data) else None
    return Item("garbage", found.reason.value, _sample(found.data, found.length), explain=explain)


def _sample(data: bytes, length: int) -> dict[str, object]:
    return {"length_bytes": length, "first_bytes": data[:_SHOWN].hex()}


def _frame(frame: Frame) -> Item:
    body, explain = frame.body, partial(explain_frame, encode_frame(frame))
    try:
        if frame.type in _SEALED:
            counter = COUNTER.unpack_from(body)[0] if len(body) >= COUNTER.size else None
            fields: dict[str, object] = {"counter": counter, "sealed_bytes": len(body)}
            return Item("frame", frame.type.name, fields, sealed=True, explain=explain)
        if frame.type in _HANDSHAKE:
            record = decode_record(_HANDSHAKE[frame.type], body)
            return Item("frame", frame.type.name, facts(record), explain=explain)
        message = decode(body)
    except BadPayload as error:
        fields = {"unreadable": str(error), **_sample(body, len(body))}
        return Item("frame", frame.type.name, fields, explain=explain)
    name = type(message).__name__
    return Item("frame", frame.type.name, {"message": name, **facts(message)}, message=name, explain=explain)


def _message(data: bytes) -> Item | None:
    padded = False
    try:
        message = decode(data)
    except BadPayload:
        try:
            message = decode(unpad(data))
        except BadPayload:
            return None
        padded = True
    name = type(message).__name__
    fields = facts(message) | _order(Orders().follow(message))
    return Item("message", name, fields, message=name, explain=partial(explain_message, data, padded=padded))


def _order(image: WholeImage | None) -> dict[str, object]:
    """The order in an image that is whole, as fields."""
    if image is None or image.name is None:
        return {}
    try:
        return {"order": {"image": image.name, **facts(decode_record(image.name, image.data))}}
    except BadPayload as error:
        return {"order": {"image": image.name, "unreadable": str(error)}}


def _why_no_message(data: bytes) -> str:
    try:
        decode(data)
    except BadPayload as error:
        return str(error)
    return ""


def _capture(capture: Capture) -> Iterator[Item]:
    frames: dict[int, list[OpenedFrame]] = {}
    for frame in open_capture(capture):
        frames.setdefault(frame.entry, []).append(frame)
    orders: dict[int, Orders] = {}
    for number, entry in enumerate(capture.entries):
        match entry:
            case LinkOpened():
                yield Item("link", "opened", {"link": entry.link, "url": entry.url}, entry.at_ms, link=entry.link)
            case LinkLost():
                yield Item("link", "ended", {"link": entry.link, "reason": entry.reason}, entry.at_ms, link=entry.link)
            case Note():
                yield Item("note", "note", {"text": entry.text})
            case SessionKeys():
                yield Item("note", "session keys of a test device", {"names": sorted(entry.keys)})
            case CapturedFrame():
                for frame in frames.get(number, []):
                    yield _opened(frame, orders.setdefault(frame.link, Orders()))
                if not entry.data.strip(b"\0") and number not in frames:
                    sample = _sample(entry.data, len(entry.data))
                    yield Item("garbage", "nothing", sample, entry.at_ms, entry.direction.value, link=entry.link)
    if capture.torn is not None:
        yield Item("garbage", "unfinished last line", {"line": capture.torn})


def _opened(found: OpenedFrame, orders: Orders) -> Item:
    base = Item("garbage", found.detail, {}, found.at_ms, found.direction.value, link=found.link)
    if found.frame is None:
        explain = partial(explain_frame if found.datagram else explain_segment, found.data.strip(b"\0"))
        return replace(base, fields=_sample(found.data, len(found.data)), explain=explain)
    item = _frame(found.frame)
    base = replace(item, at_ms=base.at_ms, direction=base.direction, link=base.link)
    if not item.sealed:
        return base
    if found.message is None:
        shut = {"shut": None if found.shut is None else found.shut.value, "why": found.detail}
        return replace(base, fields=item.fields | shut, explain=_explains(found, found.frame, None))
    image = orders.follow(found.message)
    name = type(found.message).__name__
    opened = {"name": name, **facts(found.message), **_order(image)}
    fields = item.fields | {"opened": opened, "opened_by": None if found.how is None else found.how.value}
    if found.disagrees:
        fields |= {"recorded_otherwise": dict(found.recorded or {})}
    return replace(base, fields=fields, message=name, explain=_explains(found, found.frame, image))


def _explains(found: OpenedFrame, frame: Frame, image: WholeImage | None) -> Callable[[], Explanation]:
    plaintext = found.payload
    if plaintext is not None:
        # What is opened comes without its padding, which is zeros wherever it was right.
        plaintext = plaintext.ljust(len(frame.body) - COUNTER.size - TAG_SIZE, b"\0")
    return partial(explain_frame, encode_frame(frame), plaintext, image)
