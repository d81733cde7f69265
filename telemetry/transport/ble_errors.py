"""Why Bluetooth fails, as a person can act on it: reasons with their cures, and the translation of bleak's errors."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError, LinkOpenError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any, TypeVar

    _Result = TypeVar("_Result")

GRACE_S = 0.2
"""How long a cancelled call of the Bluetooth library may take to clean up before it is left to itself."""


class BleReason(StrEnum):
    """Why a Bluetooth link could not be opened or ended; ``CURES`` says what to do."""

    NOT_INSTALLED = "not_installed"
    NO_SERVICE = "no_bluetooth_service"
    NO_ADAPTER = "no_adapter"
    ADAPTER_OFF = "adapter_off"
    NO_PERMISSION = "no_permission"
    NOT_FOUND = "not_found"
    TIMEOUT = "timeout"
    VANISHED = "vanished"
    CLOSED_BY_TELEMETER = "closed_by_telemeter"
    WRONG_SERVICE = "wrong_service"
    OTHER_VERSION = "other_service_version"
    NOTIFICATIONS_REFUSED = "notifications_refused"
    PAIRING_NEEDED = "pairing_needed"
    PAIRING_REFUSED = "pairing_refused"
    STALE_BOND = "stale_bond"
    NOT_TAKING = "not_taking"
    FAILED = "failed"


CURES = {
    BleReason.NOT_INSTALLED: "install the extra: pip install 'itb-telemetry[ble]'",
    BleReason.NO_SERVICE: "start the system's Bluetooth service (systemctl start bluetooth; package bluez)",
    BleReason.NO_ADAPTER: "plug in a Bluetooth LE adapter, or load its driver",
    BleReason.ADAPTER_OFF: "switch Bluetooth on (rfkill unblock bluetooth; bluetoothctl power on)",
    BleReason.NO_PERMISSION: "allow this user to use Bluetooth (sudo usermod -aG bluetooth $USER, then log in again; "
    "elsewhere the system's privacy settings)",
    BleReason.NOT_FOUND: "is it switched on, in range, and free? A telemeter that is connected to another host does "
    "not advertise; 'telemetry scan' lists what is in range",
    BleReason.TIMEOUT: "bring the telemeter closer, or raise timeout_ms",
    BleReason.VANISHED: "it went out of range or was switched off, or the adapter was unplugged; bring it back and "
    "repeat",
    BleReason.CLOSED_BY_TELEMETER: "switch it on again, or connect later",
    BleReason.WRONG_SERVICE: "it is no telemeter of this protocol; 'telemetry scan' lists those in range",
    BleReason.OTHER_VERSION: "update the telemeter's firmware, or use the release of this package that belongs to it",
    BleReason.NOTIFICATIONS_REFUSED: "remove the telemeter from the system's list of devices, switch it off and on, "
    "and connect again",
    BleReason.PAIRING_NEEDED: "add pair=yes to the URL and confirm at the telemeter, or pair in the system's settings",
    BleReason.PAIRING_REFUSED: "remove the telemeter from the system's list of devices, run a pairing agent "
    "(bluetoothctl agent on) where it asks for a number, and pair again",
    BleReason.STALE_BOND: "if it is near, it has forgotten this host, or another has its address: remove the device "
    "from the system's Bluetooth list (bluetoothctl remove ADDRESS), then pair again (pair=yes)",
    BleReason.NOT_TAKING: "bring it closer; if that does not help, switch it off and on",
    BleReason.FAILED: "repeat; if it stays, switch Bluetooth off and on",
}


class BleOpenError(LinkOpenError):
    """A Bluetooth link, or the search for one, could not begin: ``reason`` and ``what`` say why, ``cure`` how to."""

    def __init__(self, reason: BleReason, what: str) -> None:
        self.reason = reason
        self.what = what
        self.cure = CURES[reason]
        super().__init__(f"{what}; {CURES[reason]}")


class BleClosedError(LinkClosedError):
    """A Bluetooth link ended; ``reason`` and ``what`` say why, ``cure`` what to do."""

    def __init__(self, reason: BleReason, what: str) -> None:
        self.reason = reason
        self.what = what
        self.cure = CURES[reason]
        super().__init__(f"{what}; {CURES[reason]}")


_UNAVAILABLE = {
    "POWERED_OFF": BleReason.ADAPTER_OFF,
    "DENIED_BY_USER": BleReason.NO_PERMISSION,
    "DENIED_BY_SYSTEM": BleReason.NO_PERMISSION,
    "DENIED_BY_UNKNOWN": BleReason.NO_PERMISSION,
}
_DBUS = {
    "org.bluez.Error.NotReady": BleReason.ADAPTER_OFF,
    "org.bluez.Error.NotPermitted": BleReason.PAIRING_NEEDED,
    "org.bluez.Error.NotAuthorized": BleReason.PAIRING_NEEDED,
    "org.bluez.Error.AuthenticationCanceled": BleReason.PAIRING_REFUSED,
    "org.bluez.Error.AuthenticationFailed": BleReason.PAIRING_REFUSED,
    "org.bluez.Error.AuthenticationRejected": BleReason.PAIRING_REFUSED,
    "org.bluez.Error.AuthenticationTimeout": BleReason.PAIRING_REFUSED,
    "org.bluez.Error.ConnectionAttemptFailed": BleReason.VANISHED,
    "org.bluez.Error.NotConnected": BleReason.VANISHED,
    "org.freedesktop.DBus.Error.AccessDenied": BleReason.NO_PERMISSION,
    "org.freedesktop.DBus.Error.NameHasNoOwner": BleReason.NO_SERVICE,
    "org.freedesktop.DBus.Error.ServiceUnknown": BleReason.NO_SERVICE,
    "org.freedesktop.DBus.Error.UnknownObject": BleReason.VANISHED,
}
# Insufficient authentication, authorization, encryption key size, encryption (Core Specification, Part F, 3.4.1.1).
_ATT_UNPAIRED = (0x05, 0x08, 0x0C, 0x0F)


def reason_of(error: BaseException) -> BleReason:  # noqa: PLR0911 - one return a kind of error
    """Which reason an exception out of bleak, its backends or the system below them stands for; total.

    An error whose ``reason`` is one of ours keeps it: so does a backend say what bleak has no name for.
    """
    from bleak import exc  # noqa: PLC0415 - nobody pays for bleak before Bluetooth is used

    own = getattr(error, "reason", None)
    if isinstance(own, BleReason):
        return own
    match error:
        case exc.BleakBluetoothNotAvailableError():
            return _UNAVAILABLE.get(error.reason.name, BleReason.NO_ADAPTER)
        case exc.BleakGATTProtocolError():
            return BleReason.PAIRING_NEEDED if error.code in _ATT_UNPAIRED else BleReason.FAILED
        case exc.BleakDBusError():
            if any(f"ATT error: 0x{code:02x}" in str(error) for code in _ATT_UNPAIRED):
                return BleReason.PAIRING_NEEDED
            return _DBUS.get(error.dbus_error, BleReason.FAILED)
        case exc.BleakCharacteristicNotFoundError():
            return BleReason.WRONG_SERVICE
        case exc.BleakDeviceNotFoundError():
            return BleReason.NOT_FOUND
        case PermissionError():
            return BleReason.NO_PERMISSION
        case TimeoutError():
            return BleReason.TIMEOUT
        case FileNotFoundError() | ConnectionRefusedError():
            return BleReason.NO_SERVICE  # no socket of the system's message bus, or nobody at it
        case EOFError() | ConnectionError():
            return BleReason.VANISHED
        case _:
            return BleReason.FAILED


def words_for(error: BaseException) -> str:
    """What an exception says of itself, in one line; its type where it says nothing."""
    if isinstance(error, FileNotFoundError) and error.filename is None:
        return "the system's message bus (D-Bus) is not there"  # all that the missing socket's own words leave out
    return " ".join(str(error).split()) or type(error).__name__


async def within(
    seconds: float, call: Coroutine[Any, Any, _Result], *, unless: asyncio.Future[None] | None = None
) -> _Result:
    """Await a call of the Bluetooth library, no longer than ``seconds`` of host time, whatever it does.

    Raises ``TimeoutError`` when the time is over, ``ConnectionResetError`` once ``unless`` is done: systems tend to
    keep a call waiting whose device is gone. A call that does not end when it is cancelled is left to itself after
    ``GRACE_S``: an operating system's stack may hang, and we must not with it.
    """
    task = asyncio.ensure_future(call)
    try:
        ends: set[asyncio.Future[Any]] = {task} if unless is None else {task, unless}
        await asyncio.wait(ends, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and unless is not None and unless.done():
            # The call may be about to say better why: what it raises within the grace counts.
            await asyncio.wait({task}, timeout=GRACE_S)
            if not task.done():
                await _give_up(task)
                raise ConnectionResetError("the telemeter disconnected")
        if not task.done():
            await _give_up(task)
            raise TimeoutError(f"no answer within {max(seconds, 0):.1f} s")
    except asyncio.CancelledError:
        await _give_up(task)
        raise
    return task.result()


async def _give_up(task: asyncio.Future[Any]) -> None:
    task.cancel()
    task.add_done_callback(_look_at)
    await asyncio.wait({task}, timeout=GRACE_S)


def _look_at(task: asyncio.Future[Any]) -> None:
    """The outcome of a call that was given up is of no more interest; asking for it keeps asyncio from complaining."""
    if not task.cancelled():
        task.exception()
