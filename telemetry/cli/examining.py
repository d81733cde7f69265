"""The checks behind ``telemetry doctor``; each tries the thing itself rather than looking for signs of it."""

from __future__ import annotations

import asyncio
import glob
import grp
import importlib.util
import os
import platform
import pwd
import shutil
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from telemetry import __version__
from telemetry.clock import SystemClock
from telemetry.errors import UsageError
from telemetry.sim.runtime import live_simulators, runtime_folder

_NEEDED = (
    "click",
    "construct",
    "corncobs",
    "cryptography",
    "httpx",
    "jsonschema",
    "msgspec",
    "pyserial",
    "rich",
    "ruamel.yaml",
    "starlette",
    "uvicorn",
)
_EXTRAS = {
    "ble": ("bleak", "bumble"),
    "report": ("jinja2", "matplotlib", "numpy", "pyarrow", "reportlab", "scipy"),
    "mqtt": ("aiomqtt", "amqtt"),
    "hospital": ("fhir.resources", "sdc11073"),
}
_PROGRAMS = {
    "mosquitto": ("a broker for 'telemetry publish'", "telemetry broker serves where there is none; package mosquitto"),
    "tshark": ("Wireshark's dissection of captures on a terminal", "package tshark"),
}
"""Programs of others that some commands have a use for, what for, and what to do without."""
_OLDEST = (3, 11)
_PORTS = ("/dev/ttyUSB*", "/dev/ttyACM*", "/dev/ttyS[0-3]", "/dev/ttyAMA*")
_DEFAULT_PORT = 7410
_CLOCK_READINGS = 1_000
_USB_CLASSES = Path("/sys/bus/usb/devices")
_WIRELESS_CONTROLLER = "e0"
"""Class of a Bluetooth controller's USB interfaces (USB.org, defined class codes)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line: ``verdict`` is ok, warn (something is not possible here) or fail (this release needs it)."""

    verdict: str
    what: str
    found: str
    fix: str = ""


def examine() -> list[Check]:
    """Every check of this machine, in the order in which a person would fix things."""
    return [
        _python(),
        _packages(),
        _terminals(),
        _loopback(),
        _default_port(),
        *(_folder(name, path) for name, path in _folders()),
        _clock(),
        _serial_ports(),
        _simulators(),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
        *(_program(name, use, fix) for name, (use, fix) in _PROGRAMS.items()),
        *_bluetooth(),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} on {platform.system()} {platform.release()}, telemetry {__version__}"
    if sys.version_info[:2] < _OLDEST:
        return Check("fail", "Python", found, "install Python 3.11 or later")
    if sys.platform != "linux":
        return Check("warn", "Python", found, "only Linux is tested")
    return Check("ok", "Python", found)


def _packages() -> Check:
    found, missing = [], []
    for name in _NEEDED:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("fail", "packages", f"missing: {', '.join(missing)}", "pip install itb-telemetry")
    return Check("ok", "packages", ", ".join(found))


def _terminals() -> Check:
    try:
        master, slave = os.openpty()
    except OSError as error:
        return Check("fail", "pseudo-terminals", str(error.strerror), "mount /dev/pts: mount -t devpts devpts /dev/pts")
    name = os.ttyname(slave)
    os.close(master)
    os.close(slave)
    return Check("ok", "pseudo-terminals", f"{name} could be made")


def _loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            return Check("ok", "loopback TCP", "127.0.0.1 connects")
    except OSError as error:
        return Check("fail", "loopback TCP", str(error.strerror), "bring the interface up: ip link set lo up")


def _default_port() -> Check:
    what = f"port {_DEFAULT_PORT}"
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", _DEFAULT_PORT))
        except OSError as error:
            fix = "telemetry sim --listen pty: --listen tcp://127.0.0.1:0"
            return Check("warn", what, f"taken ({error.strerror})", fix)
    return Check("ok", what, "free for 'telemetry sim'")


def _folders() -> list[tuple[str, Path]]:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "itb-telemetry"
    return [("state folder (journals)", state), ("runtime folder", runtime_folder())]


def _folder(what: str, path: Path) -> Check:
    place = next((one for one in (path, *path.parents) if one.exists()), path)
    try:
        with tempfile.NamedTemporaryFile(dir=place) as file:
            file.write(b"telemetry")
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        fix = f"make {place} writable, or set XDG_STATE_HOME or XDG_RUNTIME_DIR to a folder that is"
        return Check("fail", what, f"{path}: {error.strerror}", fix)
    return Check("ok", what, f"{path}: written and synced" if place == path else f"{path}: can be made")


def _clock() -> Check:
    clock = SystemClock()
    readings = [clock.link_ms() for _ in range(_CLOCK_READINGS)]
    if readings != sorted(readings):
        return Check("fail", "clock", "the monotonic clock ran backwards", "report it to the maker of this system")
    return Check("ok", "clock", "monotonic")


def _serial_ports() -> Check:
    ports = sorted(port for pattern in _PORTS for port in glob.glob(pattern))  # noqa: PTH207 - patterns of absolute paths
    if not ports:
        return Check("warn", "serial ports", "none", "plug one in; a pseudo-terminal needs none (telemetry sim)")
    closed = [port for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    if closed:
        return Check("warn", "serial ports", f"no permission: {', '.join(closed)}", _permission_fix(closed[0]))
    return Check("ok", "serial ports", ", ".join(ports))


def _permission_fix(port: str) -> str:
    group = "dialout"
    with suppress(KeyError, OSError):
        group = grp.getgrgid(Path(port).stat().st_gid).gr_name
    user = pwd.getpwuid(os.getuid()).pw_name
    return f"sudo usermod -a -G {group} {user}, then log in anew"


def _simulators() -> Check:
    try:
        alive = live_simulators()
    except UsageError as error:
        return Check("warn", "live simulators", str(error), "remove that file")
    if not alive:
        return Check("ok", "live simulators", "none; 'telemetry sim' starts one")
    return Check("ok", "live simulators", "; ".join(f"pid {one.pid}: {', '.join(one.urls)}" for one in alive))


def _extra(name: str, modules: tuple[str, ...]) -> Check:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    what = f"extra '{name}'"
    if missing:
        return Check("warn", what, f"missing: {', '.join(missing)}", f"pip install 'itb-telemetry[{name}]'")
    versions = ", ".join(f"{module} {metadata.version(module)}" for module in modules)
    return Check("ok", what, versions)


def _program(name: str, use: str, fix: str) -> Check:
    place = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
    if place is None:
        return Check("warn", f"program {name}", f"not here; it is {use}", fix)
    return Check("ok", f"program {name}", place)


def _bluetooth() -> list[Check]:
    """Both sides of Bluetooth; nothing where the extra is missing, which has a line of its own."""
    if any(importlib.util.find_spec(module) is None for module in _EXTRAS["ble"]):
        return []
    return [_bluetooth_central(), _bluetooth_peripheral()]


def _bluetooth_central() -> Check:
    from telemetry.transport.ble_errors import BleOpenError  # noqa: PLC0415 - bleak is behind it
    from telemetry.transport.ble_scan import scan  # noqa: PLC0415 - as above

    what = "Bluetooth, as central"
    try:
        asyncio.run(scan(0))
    except BleOpenError as error:
        return Check("warn", what, error.what.partition(": ")[2], error.cure)
    return Check("ok", what, "a scan could be begun and ended")


def _bluetooth_peripheral() -> Check:
    what = "Bluetooth, as peripheral"
    found = []
    classes = [path.read_text(encoding="ascii").strip() for path in _USB_CLASSES.glob("*/bInterfaceClass")]
    if _WIRELESS_CONTROLLER in classes:
        found.append(f"ble+usb ({classes.count(_WIRELESS_CONTROLLER)} USB interfaces of wireless controllers)")
    with suppress(OSError, AttributeError):  # the kernel has no Bluetooth, or this Python was built without it
        socket.socket(socket.AF_BLUETOOTH, socket.SOCK_RAW, socket.BTPROTO_HCI).close()
        found.append("ble+hci-socket")
    if os.access("/dev/vhci", os.R_OK | os.W_OK):
        found.append("ble+vhci")
    if not found:
        fix = "plug in a USB dongle (ble+usb:0), or name a controller elsewhere: ble+tcp:, ble+unix:, ble+serial:"
        return Check("warn", what, "no controller of this machine can be driven", fix)
    return Check("ok", what, ", ".join(found))
