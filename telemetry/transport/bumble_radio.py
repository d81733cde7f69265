"""An in-process Bluetooth LE radio: air, and any number of adapters in it, with no hardware, kernel or daemon.

A radio belongs to whoever made it; there is no table of radios, so two tests can never meet. Whoever needs one by URL
(``ble+radio:``) finds it through the clock that it was joined to, as the worlds of ``sim:`` are found.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from bumble.device import Device, DeviceConfiguration
from bumble.hci import Address
from bumble.host import Host
from bumble.pairing import PairingConfig

from telemetry.errors import UsageError
from telemetry.transport.bumble_hci import HciServer, open_hci
from telemetry.transport.bumble_link import LinkModel, RadioController, RadioLink

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from telemetry.clock import Clock

COMPANION = "ble+radio:"
"""Under which name a clock knows its radio."""


def static_address(name: str) -> str:
    """The static random address of whoever is called ``name``: always the same, so that bonds stay with their device.

    The first six bytes of the name's SHA-256, the two highest bits set (Core Specification, Vol 6, Part B, 1.3.2.1).
    """
    digest = hashlib.sha256(name.encode()).digest()
    return ":".join(f"{octet:02X}" for octet in bytes((digest[0] | 0xC0,)) + digest[1:6])


class BumbleRadio:
    """Air with adapters in it; ``async with`` it, or ``close`` it.

    ``model`` says what the air does to what is sent, and may be replaced through ``link.model`` at any time. Needs a
    running event loop and the host's clock: bumble's controllers run on host timers. What runs over it is slower than
    memory but has all of a Bluetooth LE stack: HCI, L2CAP, ATT, GATT, SMP. An adapter's address follows from its name
    (``static_address``): one that leaves and returns is the same device to those who bonded with it.
    """

    def __init__(self, model: LinkModel | None = None) -> None:
        self.link = RadioLink(model)
        self._adapters: dict[str, RadioController] = {}
        self._when_removed: dict[str, Callable[[], None]] = {}
        self._served = AsyncExitStack()
        self._clocks: list[Clock] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def join(self, clock: Clock) -> Self:
        """Make this the radio that ``ble+radio:`` names on a clock; ``UsageError`` when the clock has one already."""
        if clock.companions.get(COMPANION, self) is not self:
            raise UsageError("this clock has a radio already; close that one first, or use another clock")
        clock.companions[COMPANION] = self
        self._clocks.append(clock)
        return self

    def device(self, name: str) -> Device:
        """Put one more adapter into the air and give the bumble ``Device`` on it, not powered on yet.

        ``name`` is what ``move_out_of_range`` and the like call it; ``UsageError`` when it, or its address, is taken.
        """
        controller = self._add(name)
        host = Host()
        host.controller = controller
        address = Address(_text(controller))
        # Bonds are kept under the address that others see, the static one; bumble's own choice is the public one.
        config = DeviceConfiguration(identity_address_type=PairingConfig.AddressType.RANDOM)
        return Device(name=name, address=address, config=config, host=host)

    def remove(self, name: str) -> None:
        """Take an adapter out of the air: to the others it falls silent, and their connections to it end."""
        controller = self._adapters.pop(name, None)
        told = self._when_removed.pop(name, None)
        if controller is not None:
            controller.power_down()
            self.link.remove_controller(controller)
        if told is not None:
            told()

    def when_removed(self, name: str, callback: Callable[[], None]) -> None:
        """Call back when an adapter is taken out of the air: pulled out, to the program that uses it."""
        self._when_removed[name] = callback

    def move_out_of_range(self, name: str) -> None:
        """Carry an adapter out of range; after the model's supervision time its connections are lost at both ends."""
        self.link.set_range(self._adapter(name), reachable=False)

    def move_into_range(self, name: str) -> None:
        """Bring an adapter back; connections that have not timed out go on, nothing is missing."""
        self.link.set_range(self._adapter(name), reachable=True)

    def cut(self, name: str) -> None:
        """End every connection of an adapter at once, as a connection timeout would: the abrupt end."""
        self.link.cut(self._adapter(name))

    async def serve_hci(self, name: str, *, host: str = "127.0.0.1", port: int = 0, path: str = "") -> str:
        """Offer one more adapter to another program, over TCP or at a path; returns the address it listens at.

        One program at a time; when it hangs up, its adapter falls silent and is as new for the next. Served until the
        radio closes. Port 0 lets the system choose. Raises ``LinkOpenError`` when the place cannot be had.
        """

        def hung_up() -> None:
            controller.power_down()

        server = HciServer(hung_up)
        await server.listen(host=host, port=port, path=path)
        self._served.push_async_callback(server.close)
        controller = self._add(name, host_source=server, host_sink=server)
        return server.address

    async def lend_hci(self, spec: str, name: str) -> None:
        """Bring one more adapter to a program that waits for one, at what bumble calls ``tcp-client:host:port``.

        Until the radio closes. Raises ``LinkOpenError``.
        """
        port = await open_hci(spec, f"adapter {name}")
        self._served.push_async_callback(port.close)
        self._add(name, host_source=port.source, host_sink=port.sink)

    async def serve_kernel(self, name: str, device: str = "") -> None:
        """Give this machine's kernel one more adapter, through ``/dev/vhci``: its Bluetooth service then sees one.

        ``device`` is another path than ``/dev/vhci``. Until the radio closes. Raises ``LinkOpenError``.
        """
        await self.lend_hci(f"vhci:{device}" if device else "vhci", name)

    async def close(self) -> None:
        """Take every adapter out of the air and release what was served; idempotent."""
        for name in tuple(self._adapters):
            self.remove(name)
        self.link.close()
        await self._served.aclose()
        for clock in self._clocks:
            clock.companions.pop(COMPANION, None)
        self._clocks.clear()
        await asyncio.sleep(0)  # the last words of the controllers, each a callback of the loop

    def _add(self, name: str, **ports: object) -> RadioController:
        if name in self._adapters:
            raise UsageError(f"adapter name: {name!r} is taken in this radio; remove that adapter or choose another")
        address = static_address(name)
        for other, adapter in self._adapters.items():
            if _text(adapter) == address:
                raise UsageError(
                    f"adapter name: {name!r} and {other!r} of this radio have the same address, {address}, since "
                    f"addresses follow from names; choose another name"
                )
        controller = self._adapters[name] = RadioController(name, self.link, address, **ports)
        return controller

    def _adapter(self, name: str) -> RadioController:
        if name not in self._adapters:
            known = ", ".join(self._adapters) or "none"
            raise UsageError(f"adapter name: no adapter of this radio is called {name!r}; there are: {known}")
        return self._adapters[name]


def _text(controller: RadioController) -> str:
    return str(controller.public_address).split("/", maxsplit=1)[0]


def radio_of(clock: Clock) -> BumbleRadio:
    """The radio that was joined to a clock; ``UsageError`` says how to make one."""
    radio = clock.companions.get(COMPANION)
    if not isinstance(radio, BumbleRadio):
        raise UsageError("ble+radio: this clock has no radio; make one first: BumbleRadio().join(clock)")
    return radio
