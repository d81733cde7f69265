"""The runtime file of a served simulator: where it can be reached and with which token, for its own user only.

One JSON file a simulator, mode 0600, in a folder of mode 0700: ``$XDG_RUNTIME_DIR/itb-telemetry`` where the system
gives such a folder, else ``$XDG_STATE_HOME/itb-telemetry/run``. The simulator holds it locked for as long as it lives:
a file that can be locked by somebody else belongs to a dead process, whatever its process number means by now.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from telemetry.errors import UsageError

_PREFIX = "sim-"
_SUFFIX = ".json"
_LARGEST_FILE = 1 << 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class LiveSimulator:
    """What a runtime file says. ``control_url`` and ``token`` are empty when there is no back door."""

    pid: int
    urls: tuple[str, ...]
    control_url: str
    token: str
    model: str
    serial: str
    simulated: bool = True

    def __repr__(self) -> str:
        return f"LiveSimulator(pid={self.pid}, urls={self.urls}, control_url={self.control_url!r}, token=…)"


def runtime_folder() -> Path:
    """Where runtime files lie (XDG base directory specification)."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "itb-telemetry"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "itb-telemetry" / "run"


class RuntimeFile:
    """A published runtime file; ``close`` takes it away.

    Raises ``UsageError`` when the folder cannot be made or is open to other users.
    """

    def __init__(self, simulator: LiveSimulator, folder: Path | None = None) -> None:
        place = folder if folder is not None else runtime_folder()
        self.path = place / f"{_PREFIX}{simulator.pid}{_SUFFIX}"
        beside = self.path.with_suffix(".new")
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _keep_private(place)
            with suppress(FileNotFoundError):
                beside.unlink()
            self._descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                f"runtime file {self.path}: it cannot be written ({error.strerror}); make its folder writable, or "
                "choose another by XDG_RUNTIME_DIR or XDG_STATE_HOME"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            text = json.dumps({**asdict(simulator), "urls": list(simulator.urls)}).encode()
            os.write(self._descriptor, text)
            beside.replace(self.path)
        except BaseException:
            os.close(self._descriptor)
            with suppress(FileNotFoundError):
                beside.unlink()
            raise

    def close(self) -> None:
        """Take the file away. Idempotent."""
        if self._descriptor < 0:
            return
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1


def live_simulators(folder: Path | None = None) -> tuple[LiveSimulator, ...]:
    """Every simulator of this user that is alive, by process number; files of dead ones are removed.

    Raises ``UsageError`` for a file that is alive and not understood, or is readable by other users.
    """
    place = folder if folder is not None else runtime_folder()
    if not place.is_dir():
        return ()
    found = [_read(path) for path in sorted(place.glob(f"{_PREFIX}*{_SUFFIX}"))]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.pid))


def _keep_private(folder: Path) -> None:
    known = folder.stat()
    if known.st_uid != os.getuid():
        raise UsageError(f"runtime folder {folder}: it belongs to user {known.st_uid}; remove it or choose another")
    if known.st_mode & _OTHERS:
        folder.chmod(0o700)


def _read(path: Path) -> LiveSimulator | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # its simulator has just ended
    except OSError as error:
        raise UsageError(f"runtime file {path}: it cannot be read ({error.strerror})") from error
    try:
        known = os.fstat(descriptor)
        if known.st_uid != os.getuid() or known.st_mode & _OTHERS:
            raise UsageError(f"runtime file {path}: other users have access to it; remove it (rm {path})")
        if _is_dead(descriptor):
            with suppress(FileNotFoundError):
                path.unlink()
            return None
        text = os.read(descriptor, _LARGEST_FILE)
    finally:
        os.close(descriptor)
    return _parse(path, text)


def _is_dead(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parse(path: Path, text: bytes) -> LiveSimulator:
    try:
        found = json.loads(text)
        return LiveSimulator(
            pid=int(found["pid"]),
            urls=tuple(str(url) for url in found["urls"]),
            control_url=str(found["control_url"]),
            token=str(found["token"]),
            model=str(found["model"]),
            serial=str(found["serial"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"runtime file {path}: it is not understood ({error!r}); stop that simulator and remove the file"
        ) from error
