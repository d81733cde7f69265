"""A real mosquitto for a measurement: its own configuration and folder, on a free port of the loopback."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from typing import IO, TYPE_CHECKING, Any

from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_PATIENCE_S = 20
# Everything that is acknowledged is to be on the disk at once: the default writes every half hour only.
_CONFIGURATION = """\
listener {port} 127.0.0.1
{settings}
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
log_dest file {folder}/mosquitto.log
"""


def _program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        raise FileNotFoundError(f"no {name}; install it with: sudo apt-get install mosquitto mosquitto-clients")
    return found


def version() -> str:
    """What mosquitto calls itself (its help, first line)."""
    done = subprocess.run([_program("mosquitto"), "-h"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


class Mosquitto:
    """Debian's mosquitto with persistence; ``kill`` is ``kill -9``, ``start`` brings it back on the same port.

    ``settings``: lines of the configuration that say who may come in.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "mosquitto.conf"
        self._file.write_text(_CONFIGURATION.format(port=self.port, folder=folder, settings=settings), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
            self._process = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self._process = subprocess.Popen([_program("mosquitto"), "-c", str(self._file)], stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                if self._process.poll() is not None:
                    break  # somebody else answers at this port
                return
        raise TimeoutError(f"mosquitto did not start at port {self.port}; {self.folder / 'mosquitto.log'} says why")

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None  # noqa: S101 - it was started
        self._process.kill()
        self._process.wait(_PATIENCE_S)
        self._process = None


class Subscriber:
    """``mosquitto_sub`` with a session that the broker keeps: one line a message, with the host's time it came at.

    It ends when the broker dies; ``again`` starts it anew with the same session.
    """

    def __init__(self, port: int, file: Path, topic: str = "#", *, name: str = "kept") -> None:
        self._command = [
            *(_program("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(port), "-i", name, "-c", "-q", "1", "-t", topic),
            *("-F", '{"at_s":%U,"topic":"%t","retain":%r,"body":%p}'),
        ]
        self._file = file
        self._output: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def again(self) -> None:
        """Start, or start anew after the broker was away."""
        self._end()
        self._output = self._file.open("ab")
        self._process = subprocess.Popen(self._command, stdout=self._output, stderr=subprocess.DEVNULL)

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_PATIENCE_S)
        if self._output is not None:
            self._output.close()
        self._process = self._output = None

    def received(self) -> list[dict[str, Any]]:
        """Every message that has come, in its order; a line that is still being written is left out."""
        lines = self._file.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]
