"""The driver's durable memory of what it asked pumps to do (trust.md 5.3–5.4).

Before a frame of an operation leaves, its line is on the disk; before COMMIT (or STOP) leaves, the line that says
so is. One journal per pump and credential slot, append-only JSON lines, locked while a number is taken so that two
programmers on one machine cannot give the same operation number. A line torn by a crash was never acted on and is
cut off at the next opening.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from telemetry.clock import pause_host_ms
from telemetry.errors import SecurityError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_FORMAT = 1
_LOCK_TRIES = 40
_LOCK_PAUSE_MS = 50


class Stage(StrEnum):
    """How far an operation came, by the driver's knowledge."""

    PENDING = "pending"
    """Staged at most: COMMIT was not sent, so it cannot have happened."""
    SENT = "sent"
    """COMMIT or STOP may have reached the pump: uncertain until the pump says."""
    APPLIED = "applied"
    REFUSED = "refused"
    ABANDONED = "abandoned"
    SETTLED = "settled"
    """Closed by a person, with both hypotheses recorded."""


_OPEN = (Stage.SENT,)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One operation: its identity, what was wanted, how far it came."""

    op_id: str
    counter: int
    kind: str
    intent: str
    digest: str
    stage: Stage
    note: str = ""


class Journal(Protocol):
    """What the driver needs of a journal. ``record`` returns only when the line would survive a crash."""

    def entries(self) -> list[JournalEntry]:
        """Latest line of every operation, in order of their numbers."""
        ...

    def record(self, entry: JournalEntry) -> None:
        """Append the present state of one operation, durably."""
        ...

    def locked(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Hold the journal while a number is taken and noted; raises ``UsageError`` when it cannot be had."""
        ...


class JournalStore(Protocol):
    """Gives the journal of a pump and credential slot."""

    def journal(self, pump_id: bytes, slot: int) -> Journal:
        """The journal of this pump and slot, made when it does not exist."""
        ...


def next_counter(journal: Journal, last_on_pump: int) -> int:
    """The next operation number: above every number of the journal *and* of the pump.

    A journal restored from a backup would otherwise repeat numbers (trust.md 7.2).
    """
    return max([last_on_pump, *(entry.counter for entry in journal.entries())]) + 1


def acked_through(journal: Journal, counter: int) -> int:
    """The highest number at and below which this driver needs no verdict any more."""
    unresolved = [entry.counter for entry in journal.entries() if entry.stage in _OPEN]
    return min([counter, *unresolved]) - 1


def unresolved(journal: Journal) -> list[JournalEntry]:
    """Operations whose outcome is unknown, oldest first."""
    return [entry for entry in journal.entries() if entry.stage in _OPEN]


class _Book:
    """The latest line of every operation, kept in order of their numbers."""

    def __init__(self) -> None:
        self._by_op: dict[str, JournalEntry] = {}

    def add(self, entry: JournalEntry) -> None:
        self._by_op[entry.op_id] = entry

    def entries(self) -> list[JournalEntry]:
        return sorted(self._by_op.values(), key=lambda entry: entry.counter)


class MemoryJournal:
    """A journal that ends with the process: for pumps that do so too (``sim:`` in one process)."""

    def __init__(self) -> None:
        self._book = _Book()

    def entries(self) -> list[JournalEntry]:
        """Latest line of every operation, in order of their numbers."""
        return self._book.entries()

    def record(self, entry: JournalEntry) -> None:
        """Append the present state of one operation."""
        self._book.add(entry)

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Nothing to hold: one event loop owns a memory journal, and the holder never awaits."""
        yield


class MemoryJournalStore:
    """Memory journals, one per pump and slot."""

    def __init__(self) -> None:
        self._journals: dict[tuple[bytes, int], MemoryJournal] = {}

    def journal(self, pump_id: bytes, slot: int) -> Journal:
        """The journal of this pump and slot."""
        return self._journals.setdefault((pump_id, slot), MemoryJournal())


class FileJournal:
    """A journal in a file of JSON lines; every line is flushed to the medium before ``record`` returns.

    Raises ``SecurityError`` when the file cannot be trusted (a broken line that is not the last, another format).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._book = _Book()
        self._sound_bytes = 0

    def entries(self) -> list[JournalEntry]:
        """Latest line of every operation, in order of their numbers."""
        self._refresh()
        return self._book.entries()

    def record(self, entry: JournalEntry) -> None:
        """Append the present state of one operation; returns when it is on the medium."""
        self._refresh()
        new = self._sound_bytes == 0
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        line = (json.dumps({"format": _FORMAT, **asdict(entry)}, separators=(",", ":")) + "\n").encode()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, self._sound_bytes)
            os.lseek(descriptor, 0, os.SEEK_END)
            _write_all(descriptor, line)
            os.fsync(descriptor)
        except OSError as error:
            raise SecurityError(
                f"journal {self.path}: cannot be written ({error.strerror}); no therapy is changed without it"
            ) from error
        finally:
            os.close(descriptor)
        if new:
            _sync_folder(self.path.parent)
        self._sound_bytes += len(line)
        self._book.add(entry)

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the file's lock; raises ``UsageError`` when another programmer keeps it for two seconds."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_path = self.path.with_suffix(".lock")
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _take(descriptor, lock_path)
            yield
        finally:
            os.close(descriptor)

    def _refresh(self) -> None:
        """Read what another programmer appended since, or everything when the file was replaced."""
        try:
            size = self.path.stat().st_size
            if size == self._sound_bytes:
                return
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise SecurityError(f"journal {self.path}: cannot be read ({error.strerror})") from error
        sound = data[: data.rfind(b"\n") + 1]
        book = _Book()
        for number, line in enumerate(sound.splitlines(), start=1):
            book.add(self._entry(line, number))
        self._book, self._sound_bytes = book, len(sound)

    def _entry(self, line: bytes, number: int) -> JournalEntry:
        try:
            fields = json.loads(line)
            known = fields.pop("format") == _FORMAT
            entry = JournalEntry(**{**fields, "stage": Stage(fields["stage"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unreadable(number, str(error)) from error
        if not known or type(entry.counter) is not int:
            raise self._unreadable(number, "another format")
        return entry

    def _unreadable(self, number: int, why: str) -> SecurityError:
        return SecurityError(
            f"journal {self.path}, line {number}: unreadable ({why}). It says which operations may have reached "
            f"the pump: look at the pump's log before moving the file away"
        )


async def _take(descriptor: int, lock_path: Path) -> None:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await pause_host_ms(_LOCK_PAUSE_MS)
        else:
            return
    raise UsageError(
        f"journal: another programmer on this machine is changing this pump (it holds {lock_path}); wait for it to end"
    )


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


class FileJournalStore:
    """Journals in one folder; the default is ``$XDG_STATE_HOME/itb-telemetry/journal``."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else default_folder()
        self._journals: dict[tuple[bytes, int], FileJournal] = {}

    def journal(self, pump_id: bytes, slot: int) -> Journal:
        """The journal of this pump and slot."""
        path = self.folder / f"{pump_id.hex()}-slot{slot}.jsonl"
        return self._journals.setdefault((pump_id, slot), FileJournal(path))


def default_folder() -> Path:
    """Where journals live unless told otherwise (XDG base directory specification)."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "itb-telemetry" / "journal"


def moved_to(entry: JournalEntry, stage: Stage, note: str = "") -> JournalEntry:
    """The same operation, one stage on."""
    return replace(entry, stage=stage, note=note)
