"""The virtual telemeter as a Bluetooth LE peripheral, on any controller that bumble drives.

A telemeter goes on advertising while centrals are connected, where the controller can; where it cannot, it begins again
when one leaves. Each central becomes one transport. An adapter that vanishes ends every link with that reason, which
stands in ``failure`` from then on and goes to the loop's exception handler once.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from contextlib import AsyncExitStack
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from bumble import hci
from bumble.core import BaseBumbleError
from bumble.device import Device
from bumble.pairing import PairingConfig, PairingDelegate

from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.transport.ble_gatt import (
    MAX_MTU,
    MIN_MTU,
    SIMULATED_PREFIX,
    Pairing,
    advertisement,
    is_simulated,
)
from telemetry.transport.ble_service import CentralPipe, TelemeterService, TelemeterSettings
from telemetry.transport.bumble_hci import OPEN_S, HciServer, open_hci
from telemetry.transport.bumble_radio import BumbleRadio, radio_of, static_address
from telemetry.transport.pipe import PipeListener

if TYPE_CHECKING:
    from collections.abc import Callable

    from bumble.device import Connection
    from bumble.keys import PairingKeys

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor
    from telemetry.transport.url import TransportURL

DEFAULT_NAME = f"{SIMULATED_PREFIX}0001"
SCHEMES = ("hci-socket", "netsim", "radio", "serial", "tcp", "unix", "usb", "vhci")
"""The controllers that ``ble+…`` listeners stand on."""
_PARAMETERS = ("name", "pairing", "interval_ms", "mtu", "passkey")
_SERIAL_BAUD = 1_000_000
"""What HCI controllers on a serial line usually run at; bumble's own default too."""
_RETRY_S = 1.0
_CLOSE_S = 2.0
_LARGEST_PASSKEY = 999_999
_IO = PairingDelegate.IoCapability
_ABILITIES = {
    Pairing.NONE: _IO.NO_OUTPUT_NO_INPUT,
    Pairing.JUST_WORKS: _IO.NO_OUTPUT_NO_INPUT,
    Pairing.PASSKEY: _IO.DISPLAY_OUTPUT_ONLY,
    Pairing.NUMERIC: _IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
}

logger = logging.getLogger(__name__)


class _Closable(Protocol):
    async def close(self) -> None: ...


class _Display(PairingDelegate):
    """What a telemeter can show and be asked: its display is the log, and its button says yes."""

    def __init__(self, listener: PeripheralListener) -> None:
        super().__init__(io_capability=_ABILITIES[listener.settings.pairing])
        self._listener = listener

    async def display_number(self, number: int, digits: int) -> None:
        self._listener.show(f"{number:0{digits}}")

    async def compare_numbers(self, number: int, digits: int) -> bool:
        self._listener.show(f"{number:0{digits}}")
        return True

    async def generate_passkey(self) -> int:
        chosen = self._listener.settings.passkey
        return await super().generate_passkey() if chosen is None else chosen


class PeripheralListener(PipeListener):
    """One telemeter in the air. ``url`` is ``ble://ADDRESS``; made by ``offer`` and ``listen``."""

    def __init__(self, device: Device, settings: TelemeterSettings, accept: Acceptor) -> None:
        super().__init__(f"ble:{settings.name}", accept)
        self.settings = settings
        self.shown: str | None = None
        """The passkey, or the number to compare, that was displayed last; it goes to the log as a warning too."""
        self.failure: LinkClosedError | None = None
        """Why the telemeter is off the air, when it is: its adapter vanished."""
        self.service = TelemeterService(device, settings)
        self._device = device
        self._advertising: asyncio.Task[None] | None = None
        self._resources = AsyncExitStack()
        self._shut = asyncio.Event()
        self._shutting: asyncio.Task[None] | None = None
        device.pairing_config_factory = lambda _connection: PairingConfig(
            sc=True,
            mitm=settings.pairing in (Pairing.PASSKEY, Pairing.NUMERIC),
            bonding=True,
            delegate=_Display(self),
            identity_address_type=PairingConfig.AddressType.RANDOM,  # the static one that it advertises under
        )
        device.on(Device.EVENT_CONNECTION, self._connected)

    def own(self, resource: _Closable) -> None:
        """Close this, too, when the listener closes; the last one first."""
        self._resources.push_async_callback(resource.close)

    async def start(self) -> None:
        """Switch the adapter on and advertise, within ``OPEN_S`` of host time; ``LinkOpenError`` says what failed."""
        what = f"telemeter {self.settings.name}"
        try:
            async with asyncio.timeout(OPEN_S):
                await self._device.power_on()
                self.url = f"ble://{self._device.random_address.to_string(False)}"  # noqa: FBT003 - bumble's signature
                await self._start_advertising()
        except TimeoutError:
            raise LinkOpenError(
                f"{what}: the Bluetooth controller did not answer within {OPEN_S:.0f} s; is it one (not another "
                f"device on that port), and does no other program drive it? Replug it and try again"
            ) from None
        except (BaseBumbleError, OSError) as error:
            raise LinkOpenError(f"{what}: the Bluetooth controller refuses to advertise: {error!r}") from error

    async def close(self) -> None:
        """Stop advertising, close every link, switch the adapter off and release it; bounded, idempotent."""
        await super().close()
        if self._shutting is None:
            self._shutting = self._loop.create_task(self._shut_down(), name=f"close {self.url}")
        await asyncio.shield(self._shutting)

    def show(self, text: str) -> None:
        """Display a passkey or a number to compare."""
        self.shown = text
        logger.warning("telemeter %s shows %s", self.settings.name, text)

    def adapter_gone(self) -> None:
        """The adapter vanished: every link ends, with that reason."""
        if self._closed or self.failure is not None:
            return
        reason = LinkClosedError(
            f"{self.url}: the Bluetooth adapter of telemeter {self.settings.name} vanished; "
            f"plug it in again and start the telemeter anew"
        )
        self.failure = reason
        if self._advertising is not None:
            self._advertising.cancel()
        for pipe in tuple(self._pipes):
            if isinstance(pipe, CentralPipe):
                pipe.adapter_gone(reason)
        self._loop.call_exception_handler({"message": str(reason), "exception": reason})

    def _stop_accepting(self) -> None:
        self._device.remove_listener(Device.EVENT_CONNECTION, self._connected)
        if self._advertising is not None:
            self._advertising.cancel()

    async def _shut_down(self) -> None:
        try:
            if self._advertising is not None:
                await asyncio.wait({self._advertising})
            if self.failure is None:
                async with asyncio.timeout(_CLOSE_S):
                    await self._device.stop_advertising()
                    await self._device.power_off()
        except (BaseBumbleError, OSError, TimeoutError) as error:
            # Closing goes on without it: the adapter is released next, and a reset comes first when it is opened again.
            logger.info("telemeter %s: its adapter was not switched off: %r", self.settings.name, error)
        finally:
            await self._resources.aclose()

    def _connected(self, connection: Connection) -> None:
        if connection.role != hci.Role.PERIPHERAL:
            return
        peer = connection.peer_address.to_string(False)  # noqa: FBT003 - bumble's signature
        pipe = CentralPipe(self.service, connection, f"{self.url} (central {peer})")
        self.service.admit(pipe)
        connection.on(connection.EVENT_DISCONNECTION, pipe.disconnected)
        connection.on(connection.EVENT_PAIRING, partial(self._paired, pipe))
        pipe.when_lost(self._advertise)
        self._adopt(pipe)
        self._advertise()

    def _paired(self, pipe: CentralPipe, keys: PairingKeys) -> None:
        strong = keys.ltk is not None and keys.ltk.authenticated
        if not self.service.paired(pipe.connection, against_middleman=strong):
            pipe.refuse(
                f"the central paired too weakly: this telemeter asks for {self.settings.pairing.value} "
                f"with LE Secure Connections"
            )

    def _advertise(self) -> None:
        """See to it that the telemeter is on the air, unless it is closing."""
        if not self._closed and self.failure is None and (self._advertising is None or self._advertising.done()):
            self._advertising = self._loop.create_task(self._keep_advertising(), name=f"advertise {self.url}")

    async def _keep_advertising(self) -> None:
        while not self._device.is_advertising:
            try:
                await self._start_advertising()
            except (BaseBumbleError, OSError, TimeoutError) as error:
                if self._pipes:
                    return  # this controller does not advertise while it is connected: again when a central leaves
                self._loop.call_exception_handler({"message": f"{self.url}: cannot advertise", "exception": error})
                await asyncio.sleep(_RETRY_S)

    async def _start_advertising(self) -> None:
        await self._device.start_advertising(
            advertising_data=advertisement(self.settings.name),
            advertising_interval_min=float(self.settings.interval_ms),
            advertising_interval_max=float(self.settings.interval_ms),
        )


async def offer(
    device: Device, settings: TelemeterSettings, accept: Acceptor, *, resources: tuple[_Closable, ...] = ()
) -> PeripheralListener:
    """Offer a virtual telemeter on a bumble device of the caller's; all or nothing.

    ``resources`` are closed with the listener, the last first, and at once when it cannot start. Raises
    ``LinkOpenError``.
    """
    listener = PeripheralListener(device, settings, accept)
    for resource in resources:
        listener.own(resource)
    try:
        await listener.start()
    except BaseException:
        await listener.close()
        raise
    return listener


async def listen(url: TransportURL, accept: Acceptor, clock: Clock) -> PeripheralListener:
    """Offer a virtual telemeter at ``ble+KIND:address?name=SIM-0001&pairing=…&interval_ms=…&mtu=…``.

    ``pairing``: none, just-works, passkey, numeric. ``interval_ms``: 20 to 10 240, from one advertisement to the next
    (Core Specification, Vol 4, Part E, 7.8.5). ``mtu``: largest ATT MTU, 23 to 517 bytes. ``passkey``: six digits to
    show instead of random ones. Raises ``UsageError`` for a bad URL, ``LinkOpenError`` with the cure otherwise.
    """
    settings, kind = _settings(url), url.scheme.partition("+")[2]
    if kind == "radio":
        if url.address:
            raise UsageError(f"{url}: ble+radio: takes no address; the clock knows its radio")
        return await _offer_on_radio(radio_of(clock), settings, accept)
    if kind == "vhci":
        radio = BumbleRadio()
        try:
            await radio.serve_kernel("kernel", url.address)
            return await _offer_on_radio(radio, settings, accept, owns=True)
        except BaseException:
            await radio.close()
            raise
    if kind in ("tcp", "unix") and url.switch("server", default=False):
        return await _offer_to_caller(url, settings, accept)
    port = await open_hci(_spec(url, kind), str(url))
    device = Device.with_hci(settings.name, hci.Address(static_address(settings.name)), port.source, port.sink)
    listener = await offer(device, settings, accept, resources=(port,))
    port.when_lost(listener.adapter_gone)
    return listener


class _RadioPlace:
    """A telemeter's adapter in a radio; closing takes it out again, and the radio with it if that was made for it."""

    def __init__(self, radio: BumbleRadio, name: str, *, owns: bool) -> None:
        self._radio = radio
        self._name = name
        self._owns = owns

    async def close(self) -> None:
        self._radio.remove(self._name)
        await asyncio.sleep(0)  # its last words are callbacks of the loop
        if self._owns:
            await self._radio.close()


async def _offer_on_radio(
    radio: BumbleRadio, settings: TelemeterSettings, accept: Acceptor, *, owns: bool = False
) -> PeripheralListener:
    device = radio.device(settings.name)
    listener = await offer(device, settings, accept, resources=(_RadioPlace(radio, settings.name, owns=owns),))
    radio.when_removed(settings.name, listener.adapter_gone)
    return listener


async def _offer_to_caller(url: TransportURL, settings: TelemeterSettings, accept: Acceptor) -> PeripheralListener:
    """Wait for a program that brings the controller, at a socket of ours."""
    gone: list[Callable[[], None]] = []
    server = HciServer(lambda: gone[0]() if gone else None)
    if url.scheme == "ble+unix":
        await server.listen(path=_path(url))
    else:
        host, number = url.host_port(lowest_port=0)
        if not _is_loopback(host):
            raise UsageError(f"{url}: {host} can be reached from other machines; HCI has no protection, use 127.0.0.1")
        await server.listen(host=host, port=number)
    try:
        async with asyncio.timeout(OPEN_S):
            await server.called.wait()
    except TimeoutError:
        await server.close()
        raise LinkOpenError(
            f"{url}: no controller called at {server.address} within {OPEN_S:.0f} s; start the program that has one "
            f"at the same time"
        ) from None
    except BaseException:
        await server.close()
        raise
    device = Device.with_hci(settings.name, hci.Address(static_address(settings.name)), server, server)
    listener = await offer(device, settings, accept, resources=(server,))
    gone.append(listener.adapter_gone)
    return listener


def _settings(url: TransportURL) -> TelemeterSettings:
    kind = url.scheme.partition("+")[2]
    if kind not in SCHEMES:
        raise UsageError(f"{url}: there is no controller of the kind {kind!r}; known are {', '.join(SCHEMES)}")
    own = {"serial": ("baudrate", "rtscts"), "tcp": ("server",), "unix": ("server",)}.get(kind, ())
    url.allow(*_PARAMETERS, *own)
    name = url.params.get("name", DEFAULT_NAME)
    try:
        advertisement(name)
    except UsageError as error:
        raise UsageError(f"{url}: {error}") from None
    if not is_simulated(name):
        raise UsageError(
            f"{url}: name={name} must begin with {SIMULATED_PREFIX}, so that nobody takes it for a real telemeter"
        )
    pairing = url.params.get("pairing", Pairing.NONE.value)
    if pairing not in [kind.value for kind in Pairing]:
        raise UsageError(f"{url}: pairing={pairing} must be one of {', '.join(Pairing)}")
    passkey = url.optional_integer("passkey", low=0, high=_LARGEST_PASSKEY) if "passkey" in url.params else None
    if passkey is not None and pairing != Pairing.PASSKEY:
        raise UsageError(f"{url}: passkey says nothing without pairing=passkey")
    return TelemeterSettings(
        name=name,
        pairing=Pairing(pairing),
        interval_ms=url.integer("interval_ms", 100, low=20, high=10_240),
        mtu=url.integer("mtu", MAX_MTU, low=MIN_MTU, high=MAX_MTU),
        passkey=passkey,
    )


def _spec(url: TransportURL, kind: str) -> str:
    """How bumble calls the controller of a URL."""
    match kind:
        case "usb":
            if not url.address:
                raise UsageError(f"{url}: which adapter? right would be ble+usb:0, or ble+usb:VENDOR:PRODUCT in hex")
            return f"usb:{url.address}"
        case "hci-socket":
            if not re.fullmatch(r"[0-9]{0,4}", url.address):
                raise UsageError(f"{url}: {url.address!r} is no adapter number; right would be ble+hci-socket:0")
            return f"hci-socket:{url.address or 0}"
        case "serial":
            baud = url.integer("baudrate", _SERIAL_BAUD, low=9_600, high=20_000_000)
            return f"serial:{_path(url)},{baud}" + (",rtscts" if url.switch("rtscts", default=False) else "")
        case "tcp":
            host, port = url.host_port()
            return f"tcp-client:{host}:{port}"
        case "unix":
            return f"unix-client:{_path(url)}"
        case _:
            return f"android-netsim:{url.address}" if url.address else "android-netsim"


def _path(url: TransportURL) -> str:
    if not PurePosixPath(url.address).is_absolute() or re.search(r"[,\[\]]", url.address):
        raise UsageError(
            f"{url}: {url.address!r} must be an absolute path without ',' and brackets, as in {url.scheme}:///dev/ttyACM0"
        )
    return url.address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
