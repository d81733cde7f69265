"""An emulated computer that runs one job on the host's own files, and ends.

QEMU without acceleration (so it needs no rights and runs inside other virtual machines), Debian's kernel, the host's
root read-only over 9p under a layer in memory, no network. Two serial ports: the console, kept as a log, and a channel
on which the job reports, a JSON object a line.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.bluez.image import archive
from tools.debian import Failed, command

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from tools.bluez.image import Image

HERE = Path(__file__).parent
REPORT_PORT = "/dev/ttyS1"
_CONSOLE_TAIL = 40
_POLL_S = 0.2
_END_LIMIT_S = 5
_MEMORY_MIB = 2048


@dataclass(frozen=True, slots=True)
class Run:
    """What a machine did: its reports in order, the host's seconds it took, and where its console was kept."""

    reports: tuple[dict[str, object], ...]
    wall_s: float
    console: Path


def boot(
    image: Image,
    job: str,
    folder: Path,
    *,
    limit_s: float,
    on_report: Callable[[dict[str, object]], None] = lambda _: None,
) -> Run:
    """Run the shell script ``job`` as root of the machine until it powers off; its console is kept in ``folder``.

    Raises ``Failed`` with the end of the console when it is not off after ``limit_s`` seconds or QEMU fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    console, channel = folder / "console.log", folder / "report.jsonl"
    for path in (console, channel):
        path.write_bytes(b"")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="initrd-", dir=folder) as place:
        initrd = Path(place) / "initrd"
        initrd.write_bytes(first_files(image, job))
        reports, problem = _watch(
            _qemu(image, initrd, console, channel), folder / "qemu.log", channel, limit_s, on_report
        )
    if problem:
        raise Failed(f"{problem}\n{tail(console)}")
    return Run(tuple(reports), time.monotonic() - begun, console)


def tail(console: Path, lines: int = _CONSOLE_TAIL) -> str:
    """The end of a console for a person, with where the rest is."""
    text = console.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"--- the last lines of {console}", *text[-lines:], "---"])


def first_files(image: Image, job: str) -> bytes:
    """The archive that the kernel unpacks into memory and starts from: ours, then the modules of the cache."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name in ("bin", "proc", "sys", "dev", "lower", "upper", "top"):
            (root / name).mkdir()
        shutil.copy(command("busybox", "busybox-static"), root / "bin" / "busybox")
        shutil.copy(HERE / "init.sh", root / "init")
        (root / "init").chmod(0o755)
        (root / "job").write_text(job, encoding="utf-8")
        # The uncompressed archive first: its padding leaves the compressed one where the kernel looks for it.
        return archive(root) + image.modules.read_bytes()


def _qemu(image: Image, initrd: Path, console: Path, channel: Path) -> list[str]:
    return [
        command("qemu-system-x86_64", "qemu-system-x86"),
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(_MEMORY_MIB)),
        *("-nodefaults", "-display", "none", "-nic", "none", "-no-reboot"),
        *("-serial", f"file:{console}", "-serial", f"file:{channel}"),
        *("-kernel", str(image.kernel), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off"),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
    ]


def _watch(
    arguments: list[str], log: Path, channel: Path, limit_s: float, on_report: Callable[[dict[str, object]], None]
) -> tuple[list[dict[str, object]], str]:
    """Follow the reports until QEMU ends; returns them, and what was wrong with QEMU, if anything."""
    reports: list[dict[str, object]] = []
    deadline = time.monotonic() + limit_s
    with log.open("wb") as output, channel.open("rb") as source:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                _collect(source, reports, on_report)
            status = process.poll()
        finally:
            _end(process)
        _collect(source, reports, on_report)
    if status is None:
        return reports, f"the machine was still running after {limit_s:g} s; its last report: {reports[-1:] or 'none'}"
    if status:
        return reports, f"QEMU ended with status {status}: {log.read_text(encoding='utf-8', errors='replace').strip()}"
    return reports, ""


def _collect(
    source: IO[bytes], reports: list[dict[str, object]], on_report: Callable[[dict[str, object]], None]
) -> None:
    while line := source.readline():
        if not line.endswith(b"\n"):
            source.seek(-len(line), 1)  # the rest of it is still on its way
            return
        report: dict[str, object] = json.loads(line)
        reports.append(report)
        on_report(report)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
