"""Messages that wait for the broker's word, on disk: in order, bounded, whole after a crash.

One file of JSON lines, mode 0600, in a folder that one gateway holds locked. A line is either messages *and* the memory
that goes with them (flushed to the medium before any of them is sent), or the number up to which all is acknowledged
(not flushed: losing it costs a double, which subscribers filter by ``message_id``). A line torn by a crash is cut off.
Where the medium fails, messages are kept in memory and still sent, ``problem`` says so, and the file is written anew as
soon as it can be.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from telemetry.errors import UsageError
from telemetry.publish.memory import Memory, read_memory
from telemetry.publish.messages import Message
from telemetry.publish.observing import Room
from telemetry.publish.topics import STATES, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_FORMAT = 1
_FILE = "spool.jsonl"
_LOCK = "lock"
_LOG_SHARE = (3, 4)
"""The part of the spool that log records may fill: they can wait in the pump, alarm events cannot."""
_SLACK_BYTES = 1 << 20
"""Acknowledged lines that may lie in the file before it is written anew."""
LEAST_MESSAGES, MOST_MESSAGES = 100, 1_000_000
LEAST_BYTES, MOST_BYTES = 1 << 18, 1 << 34


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait. Raises ``UsageError`` outside 100 … 1 000 000 messages and 256 KiB … 16 GiB."""

    messages: int = 20_000
    size_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        if not LEAST_MESSAGES <= self.messages <= MOST_MESSAGES:
            raise UsageError(f"spool messages: {self.messages} is outside {LEAST_MESSAGES} to {MOST_MESSAGES}")
        if not LEAST_BYTES <= self.size_bytes <= MOST_BYTES:
            raise UsageError(f"spool bytes: {self.size_bytes} is outside {LEAST_BYTES} to {MOST_BYTES}")


class Spool:
    """The waiting messages and the gateway's memory. Close it when done; ``with`` does.

    Raises ``UsageError`` when the folder cannot be used, is another gateway's, or holds a file that is broken other
    than at its end.
    """

    def __init__(self, folder: Path, bounds: Bounds | None = None, *, gateway_id: Callable[[], str]) -> None:
        self.folder = folder
        self.bounds = bounds if bounds is not None else Bounds()
        self.problem = ""
        """Why the file cannot be written; empty while it can."""
        self.cut_bytes = 0
        """Bytes of a torn line that were cut off when it was opened."""
        self._path = folder / _FILE
        self._pending: OrderedDict[int, Message] = OrderedDict()
        self._pending_bytes = 0
        self._states: dict[str, int] = {}
        self._file_bytes = 0
        self._descriptor = -1
        with contextlib.ExitStack() as undo:
            self._lock = _hold(folder)
            undo.callback(os.close, self._lock)
            self.memory = self._recover() or Memory(gateway_id())
            self._rewrite()
            if self.problem:
                raise UsageError(f"spool {self._path}: cannot be written ({self.problem}); choose another by --spool")
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let the folder go; what waits stays on the disk. Idempotent."""
        for name in ("_descriptor", "_lock"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of topics and payloads that wait."""
        return self._pending_bytes

    def waiting(self) -> Iterator[Message]:
        """What waits, in order."""
        yield from self._pending.values()

    def next_after(self, sequence: int, window: int) -> Message | None:
        """The first waiting message behind ``sequence``, among the first ``window`` + 1 that wait."""
        return next((one for one in islice(self._pending.values(), window + 1) if one.sequence > sequence), None)

    def log_room(self) -> Room:
        """How much of the pump's log may be taken now; what does not fit had better wait in the pump."""
        part, whole = _LOG_SHARE
        return Room(
            max(0, self.bounds.messages * part // whole - len(self._pending)),
            max(0, self.bounds.size_bytes * part // whole - self._pending_bytes),
        )

    def has_much_room(self) -> bool:
        """Whether less than half of it is taken: what was held back may come now."""
        return 2 * len(self._pending) < self.bounds.messages and 2 * self._pending_bytes < self.bounds.size_bytes

    def put(self, messages: Iterable[Message], memory: Memory) -> None:
        """Take messages and the memory that goes with them; returns when both would survive a crash.

        A state takes the place of an older one on its topic. When there is no room, a waiting status goes first (the
        next reading brings another), then the oldest alarm event, which is counted in ``memory.lost_alarm_events``.
        """
        new = list(messages)
        replaced: list[int] = []
        for one in new:
            replaced += self._superseded(one)
            self._add(one)
        dropped, lost = self._make_room()
        self.memory = replace(memory, lost_alarm_events=memory.lost_alarm_events + lost)
        line: dict[str, Any] = {
            "put": [_plain(one) for one in new if one.sequence in self._pending],
            "memory": self.memory.plain(),
        }
        if gone := [*replaced, *dropped]:
            line["gone"] = gone
        self._write(line, durable=True)

    def acknowledge(self, sequence: int) -> None:
        """The broker has everything up to and including ``sequence``."""
        for waiting in list(islice(self._pending, 64)):
            if waiting > sequence:
                break
            self._remove(waiting)
        self._write({"ack": sequence}, durable=False)

    def _add(self, message: Message) -> None:
        if message.sequence in self._pending:
            raise ValueError(f"message {message.sequence} twice")
        self._pending[message.sequence] = message
        self._pending_bytes += message.size_bytes
        if message.kind in STATES:
            self._states[message.topic] = message.sequence

    def _remove(self, sequence: int) -> None:
        message = self._pending.pop(sequence, None)
        if message is not None:
            self._pending_bytes -= message.size_bytes
            if self._states.get(message.topic) == sequence:
                del self._states[message.topic]

    def _superseded(self, message: Message) -> list[int]:
        """Take off what this message takes the place of; returns its number, if there is one."""
        old = self._states.get(message.topic)
        if message.kind not in STATES or old is None:
            return []
        self._remove(old)
        return [old]

    def _make_room(self) -> tuple[list[int], int]:
        """Drop what must go; returns the numbers, and how many of them were alarm events."""
        dropped: list[int] = []
        lost = 0
        while self._over() and (victim := self._victim()) is not None:
            dropped.append(victim.sequence)
            lost += victim.kind is Kind.ALARM
            self._remove(victim.sequence)
        return dropped, lost

    def _over(self) -> bool:
        return len(self._pending) > self.bounds.messages or self._pending_bytes > self.bounds.size_bytes

    def _victim(self) -> Message | None:
        for kind in (Kind.STATUS, Kind.ALARM):
            for one in self._pending.values():
                if one.kind is kind:
                    return one
        return None

    def _write(self, line: dict[str, Any], *, durable: bool) -> None:
        data = _encoded(line)
        if self.problem or self._file_bytes + len(data) > 2 * self._pending_bytes + _SLACK_BYTES:
            self._rewrite()
            return
        try:
            _write_all(self._descriptor, data)
            if durable:
                os.fsync(self._descriptor)
        except OSError as error:
            self.problem = error.strerror or str(error)
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._file_bytes)
            return
        self._file_bytes += len(data)

    def _rewrite(self) -> None:
        """Write everything that counts into a new file that takes the place of the old one, at once or not at all."""
        beside = self._path.with_suffix(".new")
        lines: list[dict[str, Any]] = [
            {"format": _FORMAT},
            {"put": [_plain(one) for one in self.waiting()], "memory": self.memory.plain()},
        ]
        data = b"".join(_encoded(line) for line in lines)
        descriptor = -1
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            os.fchmod(descriptor, 0o600)
            _write_all(descriptor, data)
            os.fsync(descriptor)
            beside.replace(self._path)
            _sync_folder(self.folder)
        except OSError as error:
            self.problem = error.strerror or str(error)
            if descriptor >= 0:
                os.close(descriptor)
            with contextlib.suppress(OSError):
                beside.unlink()
            return
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._file_bytes, self.problem = descriptor, len(data), ""

    def _recover(self) -> Memory | None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"spool {self._path}: cannot be read ({error.strerror})") from error
        sound = data[: data.rfind(b"\n") + 1]
        self.cut_bytes = len(data) - len(sound)
        memory: Memory | None = None
        for number, line in enumerate(sound.split(b"\n")[:-1], start=1):
            try:
                memory = self._replay(json.loads(line), number) or memory
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
                raise UsageError(
                    f"spool {self._path}, line {number}: unreadable ({error}). It holds what the broker has not "
                    "acknowledged: keep the file aside, then start anew; the pump's log is read again from its start"
                ) from error
        return memory

    def _replay(self, line: Any, number: int) -> Memory | None:  # noqa: ANN401 - whatever the file holds
        if number == 1:
            if line.get("format") != _FORMAT:
                raise ValueError(f"format is {line.get('format')!r}, this release writes {_FORMAT}")
            return None
        if "ack" in line:
            through = _number(line["ack"])
            for sequence in [one for one in self._pending if one <= through]:
                self._remove(sequence)
            return None
        for sequence in line.get("gone", ()):
            self._remove(_number(sequence))
        for one in line["put"]:
            self._add(_message(one))
        return read_memory(line["memory"])


def _number(found: object) -> int:
    if type(found) is not int:
        raise ValueError(f"{found!r} is no number")
    return found


def _plain(message: Message) -> dict[str, object]:
    return {"n": message.sequence, "kind": message.kind.value, "topic": message.topic, "payload": message.payload}


def _message(found: dict[str, Any]) -> Message:
    topic, payload = found["topic"], found["payload"]
    if not isinstance(topic, str) or not isinstance(payload, str):
        raise ValueError("a message without topic or payload")  # noqa: TRY004 - a broken file is a ValueError
    return Message(_number(found["n"]), Kind(found["kind"]), topic, payload)


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _hold(folder: Path) -> int:
    """Make the folder and hold its lock; raises ``UsageError``."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"spool {folder}: cannot be used ({error.strerror}); choose another by --spool") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(
            f"spool {folder}: another gateway holds it; end that one, or give this one a folder of its own by --spool"
        ) from error
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
