"""What is in Bluetooth range: telemeters with their names, and how many other devices. bleak loads at the first use."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from telemetry.transport.ble_errors import BleOpenError, BleReason, reason_of, within, words_for
from telemetry.transport.ble_gatt import is_simulated, service_version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    from bleak import BleakScanner
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

_START_S = 5.0
"""Longest wait for the system to begin or end a scan; BlueZ takes some 50 ms (measured), a hung service forever."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One device as it advertises itself.

    ``rssi_dbm`` of the latest advertisement; ``service_version`` of the telemeter service, None for a device that
    does not advertise it; ``simulated`` by the name, which is a label and no proof.
    """

    address: str
    name: str | None
    rssi_dbm: int
    service_version: int | None
    simulated: bool


class BleBackend(Protocol):
    """Whatever has bleak's two backend classes: a ``Backend``, a ``BumbleAdapter``."""

    @property
    def client(self) -> type[BaseBleakClient] | None:
        """The class of clients; None for the system's own."""
        ...

    @property
    def scanner(self) -> type[BaseBleakScanner] | None:
        """The class of scanners; None for the system's own."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """Which bleak backend classes are used; None for the system's own."""

    client: type[BaseBleakClient] | None = None
    scanner: type[BaseBleakScanner] | None = None


class _Chosen:
    """The backend of every Bluetooth link that is opened from now on, in the whole process."""

    backend = Backend()


class BackendUse:
    """What ``use_backend`` returns: leave it (``with``) or call ``restore`` to have the former backend back."""

    def __init__(self, former: Backend) -> None:
        self._former = former

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def restore(self) -> None:
        """Use the former backend again."""
        _Chosen.backend = self._former


def use_backend(
    *, client: type[BaseBleakClient] | None = None, scanner: type[BaseBleakScanner] | None = None
) -> BackendUse:
    """Have bleak use these backend classes for every scan and link opened from now on; None is the system's own.

    For the process, until the returned handle is left or restored; links that are open keep theirs.
    """
    former, _Chosen.backend = _Chosen.backend, Backend(client, scanner)
    return BackendUse(former)


def backend_in_use() -> Backend:
    """The backend classes that the next scan or link uses."""
    return _Chosen.backend


def no_bleak(what: str, error: ImportError) -> BleOpenError:
    """Say that the extra is missing; raise it from ``error``."""
    return BleOpenError(BleReason.NOT_INSTALLED, f"{what}: Bluetooth needs bleak, which cannot be loaded ({error})")


class Scan:
    """A scan that is under way inside its ``async with``: ``sightings`` grows, ``on_sighting`` is called with each.

    ``on_sighting`` also gets bleak's own device, for connecting to it. ``adapter`` is BlueZ's name (``hci1``), None for
    the first; ``backend`` None for the process's. Entering raises ``BleOpenError`` when there is no Bluetooth; leaving
    is bounded and raises nothing.
    """

    def __init__(
        self,
        what: str,
        on_sighting: Callable[[Sighting, BLEDevice], None],
        *,
        adapter: str | None = None,
        backend: BleBackend | None = None,
    ) -> None:
        self.sightings: dict[str, Sighting] = {}
        self._what = what
        self._on_sighting = on_sighting
        self._adapter = adapter
        self._backend = backend or backend_in_use()
        self._scanner: BleakScanner | None = None

    async def __aenter__(self) -> Self:
        try:
            import bleak  # noqa: PLC0415 - nobody pays for bleak before Bluetooth is used
        except ImportError as error:
            raise no_bleak(self._what, error) from error
        options: dict[str, Any] = {} if self._adapter is None else {"bluez": {"adapter": self._adapter}}
        try:
            scanner = bleak.BleakScanner(self._seen, backend=self._backend.scanner, **options)
            self._scanner = scanner
            await within(_START_S, scanner.start())
        except Exception as error:
            await self._stop()
            reason = reason_of(error)
            if reason in {BleReason.FAILED, BleReason.NOT_FOUND} and self._adapter is not None:
                reason = BleReason.NO_ADAPTER
            raise BleOpenError(reason, f"{self._what}: no scan is possible: {words_for(error)}") from error
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        scanner, self._scanner = self._scanner, None
        if scanner is None:
            return
        with suppress(Exception):  # over for us either way: what was seen counts, or the error that came before
            await within(_START_S, scanner.stop())

    def _seen(self, device: BLEDevice, advertised: AdvertisementData) -> None:
        versions = (service_version_of(uuid) for uuid in advertised.service_uuids)
        version = next((one for one in versions if one is not None), None)
        known = self.sightings.get(device.address)
        if known is not None:
            version = version if version is not None else known.service_version
        name = advertised.local_name or device.name or (known.name if known is not None else None)
        sighting = Sighting(device.address, name, advertised.rssi, version, is_simulated(name))
        self.sightings[device.address] = sighting
        self._on_sighting(sighting, device)


async def scan(
    seconds: float,
    *,
    on_sighting: Callable[[Sighting], None] | None = None,
    adapter: str | None = None,
    backend: BleBackend | None = None,
) -> list[Sighting]:
    """Listen for ``seconds`` (host time) and give every device seen, telemeters first, the nearest first.

    ``on_sighting`` is called with each advertisement; ``backend`` is this scan's own, None the process's. Raises
    ``BleOpenError`` with the cure when there is no Bluetooth.
    """

    def tell(sighting: Sighting, _device: BLEDevice) -> None:
        if on_sighting is not None:
            on_sighting(sighting)

    async with Scan("scan", tell, adapter=adapter, backend=backend) as under_way:
        await asyncio.sleep(seconds)
    return ranked(under_way.sightings.values())


def ranked(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Put telemeters first, the nearest (strongest) first."""
    return sorted(sightings, key=lambda one: (one.service_version is None, -one.rssi_dbm, one.address))
