"""What the tests need from Debian: which packages are missing, and how they get here.

The kernel is not among them: it is downloaded and unpacked, never installed (``tools/bluez/image.py``). Run as a
program (``make test`` begins so) this installs them where it may; else it says what will be skipped, and with CI=true
it fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BLUEZ = ("qemu-system-x86", "busybox-static", "cpio", "kmod", "bluez", "dbus")
BROKER = ("mosquitto", "mosquitto-clients")
WIRESHARK = ("tshark",)
PACKAGES = (*BLUEZ, *BROKER, *WIRESHARK)
_INSTALL_LIMIT_S = 600
_ASK_LIMIT_S = 60
# Where an ordinary user's PATH does not look: depmod and modprobe.
_SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


class NotHere(Exception):
    """This machine cannot do the run; the message says what is missing and what to type."""


class Failed(Exception):
    """A step that this machine should be able to do went wrong; the message holds the end of what it said."""


def command(name: str, package: str) -> str:
    """Give the path of a command; raises ``NotHere`` naming the package that brings it."""
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        raise NotHere(f"no command {name!r}; install it with: sudo apt-get install {package}")
    return found


def run(arguments: Sequence[str], *, limit_s: float = _ASK_LIMIT_S, cwd: Path | None = None) -> str:
    """Run a command and give what it printed; raises ``Failed`` with the end of its output, ``limit_s`` in seconds."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(arguments)} was not done within {limit_s:g} s") from None
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise Failed(f"{' '.join(arguments)} ended with status {done.returncode}:\n{said}")
    return done.stdout


def installed_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Name to version of those of ``packages`` that are installed; raises ``NotHere`` where there is no dpkg."""
    query = command("dpkg-query", "dpkg (this needs Debian or a system made from it)")
    done = subprocess.run(  # status 1 only says that one of them is unknown
        [query, "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\n", *packages],
        capture_output=True,
        text=True,
        timeout=_ASK_LIMIT_S,
        check=False,
    )
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[1]: row[2] for row in rows if row[:1] == ["installed"]}


def as_root() -> list[str] | None:
    """What stands in front of a command that needs root: nothing or ``sudo -n``; None where root is not to be had."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode:
        return None
    return [sudo, "-n"]


def ensure_packages(packages: Sequence[str] = PACKAGES) -> Mapping[str, str]:
    """Install what is missing and give name to version of all; raises ``NotHere`` with the command to type instead."""
    have = installed_versions(packages)
    missing = [name for name in packages if name not in have]
    if not missing:
        return have
    typed = f"sudo apt-get update && sudo apt-get install --no-install-recommends {' '.join(missing)}"
    front = as_root()
    if front is None:
        raise NotHere(f"missing packages: {', '.join(missing)}; install them with: {typed}")
    print(f"Installing {', '.join(missing)} ...", flush=True)
    apt = command("apt-get", "apt (this needs Debian or a system made from it)")
    try:
        run([*front, apt, "update"], limit_s=_INSTALL_LIMIT_S)
        run([*front, apt, "install", "--yes", "--no-install-recommends", *missing], limit_s=_INSTALL_LIMIT_S)
    except Failed as error:
        raise NotHere(f"missing packages: {', '.join(missing)}; installing them failed: {error}") from error
    return installed_versions(packages)


def main() -> int:
    """Install what is missing; status 1 when that cannot be and CI=true."""
    try:
        ensure_packages()
    except NotHere as error:
        print(f"Tests with BlueZ, mosquitto or tshark will be skipped: {error}", file=sys.stderr)
        return int(os.environ.get("CI") == "true")
    return 0


if __name__ == "__main__":
    sys.exit(main())
