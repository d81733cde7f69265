"""A simulator's state on disk: replaced atomically, durable when ``save`` returns, owned by one process at a time.

What a verdict rests on must be on disk before the verdict leaves (protocol.md, Decided 14). A reader sees the old
state or the new one, never a part: temporary file, fsync, rename, fsync of the folder. Only the owner may read it
(mode 0600). The lock is an advisory one on ``<file>.lock``, which the system releases when its holder dies.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

FORMAT = "itb-telemetry-state"
VERSION = 1
_MODE = 0o600


class StateFile:
    """One locked state file. Raises ``UsageError`` when another process holds it or its folder cannot be written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            self._lock: int | None = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            raise UsageError(f"state file {self.path}: its lock cannot be made ({error.strerror}: {lock})") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise UsageError(
                f"state file {self.path}: another simulator uses it; stop that one or give another --state"
            ) from error

    def load(self) -> dict[str, object] | None:
        """The state last saved, None when there is none; raises ``UsageError`` naming what is wrong with the file."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"state file {self.path}: cannot be read ({error})") from error
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"state file {self.path}: is no JSON ({error}); move it away to start anew") from error
        if not isinstance(content, dict) or set(content) != {"format", "version", "state"}:
            raise UsageError(f"state file {self.path}: is no state file of this program; give another --state")
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise UsageError(
                f"state file {self.path}: {content['format']!r} version {content['version']!r}; "
                f"this program reads {FORMAT} version {VERSION}"
            )
        if not isinstance(content["state"], dict):
            raise UsageError(f"state file {self.path}: state is no table")
        return content["state"]

    def save(self, state: dict[str, object]) -> None:
        """Replace the state; on return it survives the loss of power. Raises ``UsageError`` when it cannot."""
        if self._lock is None:
            raise UsageError(f"state file {self.path}: is closed")
        text = json.dumps({"format": FORMAT, "version": VERSION, "state": state}, separators=(",", ":"))
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchmod(descriptor, _MODE)  # one left over from a crash may have another mode
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            fresh.replace(self.path)
            self._sync_folder()
        except OSError as error:
            raise UsageError(f"state file {self.path}: cannot be written ({error.strerror})") from error

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Give the lock back. Idempotent."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
