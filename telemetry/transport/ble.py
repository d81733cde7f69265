"""A telemeter over Bluetooth LE, as its central: found by address or name, frames in segments, every wait bounded.

Normative: docs/protocol.md, Bluetooth LE. bleak loads with the first link or scan, never before, and talks through the
system's Bluetooth or through the backend classes that ``use_backend`` names.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from telemetry.errors import BadPayload, LinkClosedError, UsageError
from telemetry.transport.base import TransportInfo
from telemetry.transport.ble_errors import BleClosedError, BleOpenError, BleReason, reason_of, within, words_for
from telemetry.transport.ble_gatt import (
    ATT_OVERHEAD,
    COMMAND_UUID,
    INFORMATION_UUID,
    LINK_STATUS_UUID,
    MAX_MTU,
    MIN_MTU,
    PROPERTIES,
    REPLY_UUID,
    SERVICE_UUID,
    SERVICE_VERSION,
    LinkStatus,
    decode_information,
    service_version_of,
)
from telemetry.transport.ble_scan import (
    Backend,
    BleBackend,
    Scan,
    Sighting,
    backend_in_use,
    ranked,
    scan,
    use_backend,
)
from telemetry.transport.ble_segments import LONGEST_FRAME, BadSegment, Reassembler, Segmenter, SegmentFault
from telemetry.transport.pipe import FLUSH_S, Pipe

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice
    from bleak.backends.service import BleakGATTServiceCollection

    from telemetry.clock import Clock
    from telemetry.transport.base import Receiver, Transport
    from telemetry.transport.ble_gatt import TelemeterInformation
    from telemetry.transport.url import TransportURL

OPEN_MS = 10_000
"""Finding, connecting and subscribing together; a telemeter that advertises once a second is found in about one."""
PAIR_MS = 60_000
"""The same where a person may have to confirm or type a number."""
_LONGEST_OPEN_MS = 300_000
DISCONNECT_S = 3.0
"""A disconnection that the system does not confirm by then is taken for done."""
WRITE_S = 5.0
"""One write; the attribute protocol's own limit is 30 s (Core Specification, Part F, 3.3.3)."""
QUEUE_FRAMES = 64
"""More frames than this waiting to be sent mean that the telemeter takes none; the driver has one under way."""
_EARLY_FRAMES = 16
_SEEN_LISTED = 8
_ADDRESS = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
_PARAMETERS = ("name", "timeout_ms", "mtu", "pair", "adapter")
_EXAMPLES = "ble://AA:BB:CC:DD:EE:FF or ble://?name=SIM-0001"
_PAIRING = (BleReason.PAIRING_NEEDED, BleReason.PAIRING_REFUSED, BleReason.STALE_BOND)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the URL asks for; one of ``address`` and ``name`` is None."""

    url: TransportURL
    address: str | None
    name: str | None
    timeout_ms: int
    mtu: int
    pair: bool
    adapter: str | None

    def fits(self, sighting: Sighting) -> bool:
        """Whether this is the device; by name only one that advertises a telemeter's service."""
        if self.address is not None:
            return sighting.address.upper() == self.address
        return sighting.name == self.name and sighting.service_version is not None


def _wanted(url: TransportURL) -> _Wanted:
    url.allow(*_PARAMETERS)
    address, name = url.address.upper(), url.params.get("name")
    if bool(address) == (name is not None):
        raise UsageError(f"{url}: give either the telemeter's address or its name: {_EXAMPLES}")
    if address and not _ADDRESS.fullmatch(address):
        raise UsageError(f"{url}: {url.address!r} is no Bluetooth address; right would be {_EXAMPLES}")
    pair = url.switch("pair", default=False)
    return _Wanted(
        url,
        address or None,
        name,
        url.integer("timeout_ms", PAIR_MS if pair else OPEN_MS, low=1, high=_LONGEST_OPEN_MS),
        url.integer("mtu", MAX_MTU, low=MIN_MTU, high=MAX_MTU),
        pair,
        url.params.get("adapter"),
    )


async def connect(
    url: TransportURL, receiver: Receiver, clock: Clock, *, backend: BleBackend | None = None
) -> Transport:
    """Open ``ble://ADDRESS`` or ``ble://?name=NAME``; everything or nothing. Datagrams of at most 256 bytes.

    Parameters: ``timeout_ms`` (10000, with ``pair`` 60000; host time for the whole opening), ``mtu`` (517; the
    segments' limit in bytes of ATT MTU, under what is negotiated), ``pair`` (no), ``adapter`` (BlueZ's ``hci0``).
    ``backend`` is this link's own, instead of the process's.
    Raises ``UsageError`` for a bad parameter and ``BleOpenError``, a ``LinkOpenError`` with ``reason`` and the cure.
    """
    del clock  # the radio runs on the host's time, whatever clock the conversation over it runs on
    wanted = _wanted(url)
    backend = backend or backend_in_use()
    deadline_s = asyncio.get_running_loop().time() + wanted.timeout_ms / 1000
    device = await _find(wanted, deadline_s, backend)
    pipe = BlePipe(wanted, device, backend)
    try:
        await pipe.establish(deadline_s)
    except BaseException:
        await pipe.abandon()
        raise
    pipe.start(receiver)
    return pipe


async def _find(wanted: _Wanted, deadline_s: float, backend: BleBackend) -> BLEDevice:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[Sighting, BLEDevice]] = loop.create_future()

    def look(sighting: Sighting, device: BLEDevice) -> None:
        if wanted.fits(sighting) and not found.done():
            found.set_result((sighting, device))

    async with Scan(wanted.url.text, look, adapter=wanted.adapter, backend=backend) as under_way:
        await asyncio.wait({found}, timeout=max(deadline_s - loop.time(), 0))
    if not found.done():
        raise _not_found(wanted, under_way.sightings)
    sighting, device = found.result()
    if sighting.service_version not in (None, SERVICE_VERSION):
        raise _other_version(wanted, sighting.service_version)
    return device


def _not_found(wanted: _Wanted, seen: Mapping[str, Sighting]) -> BleOpenError:
    for one in seen.values():
        if wanted.name is not None and one.name == wanted.name:
            return BleOpenError(
                BleReason.WRONG_SERVICE,
                f"{wanted.url}: {one.name} ({one.address}) is in range, but does not advertise a telemeter's service",
            )
    telemeters = [one for one in ranked(seen.values()) if one.service_version is not None]
    listed = ", ".join(f"{one.name} ({one.address}, {one.rssi_dbm} dBm)" for one in telemeters[:_SEEN_LISTED])
    others = len(seen) - len(telemeters)
    return BleOpenError(
        BleReason.NOT_FOUND,
        f"{wanted.url}: {wanted.name or wanted.address} was not seen within {wanted.timeout_ms} ms; telemeters in "
        f"range: {listed or 'none'}; other devices: {others}",
    )


def _other_version(wanted: _Wanted, version: int | None) -> BleOpenError:
    return BleOpenError(
        BleReason.OTHER_VERSION,
        f"{wanted.url}: the telemeter has version {version} of the Bluetooth service, this package speaks "
        f"{SERVICE_VERSION}",
    )


def _bonded(device: BLEDevice) -> bool:
    """Whether BlueZ has a bond with a device; it says so to bleak with every device that it shows.

    It is asked since BlueZ does not say that a bond is refused: the call to connect just does not end (measured on
    Debian's 5.66 with Linux 6.1). A device that was heard a moment ago and is bonded, and cannot be opened, has rather
    forgotten the bond than gone out of range.
    """
    details = device.details
    return isinstance(details, dict) and bool(details.get("props", {}).get("Paired"))


class BlePipe(Pipe):
    """One link to a telemeter; made by ``connect``.

    Frames go out in order from one task. Where a frame takes several segments the last one is written with response,
    and so is the first frame of a link, whose refusal would else go unseen; all other writes are without. While the
    telemeter says *busy* nothing is written; more than ``QUEUE_FRAMES`` waiting end the link.
    """

    def __init__(self, wanted: _Wanted, device: BLEDevice, backend: BleBackend) -> None:
        super().__init__(TransportInfo(wanted.url.text, datagrams=True, mtu=LONGEST_FRAME))
        self.information: TelemeterInformation | None = None
        """What the telemeter said of itself."""
        self._wanted = wanted
        self._device = device
        self._backend = backend
        self._client: BleakClient | None = None
        self._command: BleakGATTCharacteristic | None = None
        self._gone_early: asyncio.Future[None] = self._loop.create_future()
        self._segmenter = Segmenter(MIN_MTU)
        self._incoming = Reassembler()
        self._early: list[bytes] | None = []
        self._status = LinkStatus.READY
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._proved = False
        self._letting_go: asyncio.Task[None] | None = None

    @property
    def att_mtu(self) -> int:
        """The ATT MTU in bytes that segments are cut to: what was negotiated, under the URL's limit."""
        if self._command is None:
            return MIN_MTU
        negotiated = self._command.max_write_without_response_size + ATT_OVERHEAD
        return max(MIN_MTU, min(negotiated, self._wanted.mtu))

    @property
    def segment_faults(self) -> Mapping[SegmentFault, int]:
        """How many times each fault was met in what the telemeter sent."""
        return self._incoming.faults

    async def establish(self, deadline_s: float) -> None:
        """Connect, check the service, pair where asked, subscribe; raises ``BleOpenError``."""
        try:
            import bleak  # noqa: PLC0415 - nobody pays for bleak before Bluetooth is used
        except ImportError as error:  # pragma: no cover - the scan before would have said so
            raise BleOpenError(BleReason.NOT_INSTALLED, f"{self.info.url}: {error}") from error
        options: dict[str, Any] = {}
        if self._wanted.adapter is not None:
            options["bluez"] = {"adapter": self._wanted.adapter}
        client = self._client = bleak.BleakClient(
            self._device,
            self._disconnected,
            timeout=max(deadline_s - self._loop.time(), 0.001),
            backend=self._backend.client,
            **options,
        )
        await self._step("connecting", client.connect(), deadline_s)
        command, reply, information, link_status = self._characteristics(client.services)
        value = await self._step("reading its information", client.read_gatt_char(information), deadline_s)
        self._inform(bytes(value))
        if self._wanted.pair:
            await self._step("pairing", client.pair(), deadline_s, failing=BleReason.PAIRING_REFUSED)
        for characteristic, callback in ((link_status, self._status_came), (reply, self._segment_came)):
            await self._step(
                "subscribing",
                client.start_notify(characteristic, callback),
                deadline_s,
                failing=BleReason.NOTIFICATIONS_REFUSED,
            )
        self._command = command

    def start(self, receiver: Receiver) -> None:
        """Begin to deliver and to write."""
        super().start(receiver)
        if not self._lost:
            self._writer = self._loop.create_task(self._write_loop(), name=f"writer of {self.info.url}")
            self._loop.call_soon(self._deliver_early)

    async def abandon(self) -> None:
        """Let go of what an opening that failed already holds."""
        self._lose(None)
        await self._announced.wait()

    def write(self, data: bytes) -> None:
        """Queue one frame; ``UsageError`` for an empty one or more than 256 bytes."""
        if self._closing:
            raise self._gone()
        if not 1 <= len(data) <= LONGEST_FRAME:
            raise UsageError(f"{self.info.url}: a datagram of {len(data)} bytes is outside 1 to {LONGEST_FRAME}")
        if len(self._queue) >= QUEUE_FRAMES:
            self._end(BleReason.NOT_TAKING, f"the telemeter takes nothing; {QUEUE_FRAMES} frames are waiting unsent")
            raise self._gone()
        self._queue.append(bytes(data))
        self._drained.clear()
        self._wake.set()

    async def _step(
        self,
        what: str,
        call: Coroutine[Any, Any, Any],
        deadline_s: float,
        failing: BleReason = BleReason.FAILED,
    ) -> Any:  # noqa: ANN401 - what bleak returns
        """One step of the opening, over at the deadline or as soon as the telemeter is gone."""
        try:
            return await within(deadline_s - self._loop.time(), call, unless=self._gone_early)
        except Exception as error:
            reason = reason_of(error)
            if reason is BleReason.NOT_FOUND or (self._gone_early.done() and reason not in _PAIRING):
                reason = BleReason.VANISHED
            elif reason is BleReason.FAILED:
                reason = failing
            if reason in (BleReason.VANISHED, BleReason.TIMEOUT) and _bonded(self._device):
                reason = BleReason.STALE_BOND
            raise BleOpenError(reason, f"{self.info.url}: {what} failed: {words_for(error)}") from error

    def _characteristics(self, services: BleakGATTServiceCollection) -> list[BleakGATTCharacteristic]:
        """Command, reply, information and link status, each with the properties it must have."""
        service = services.get_service(SERVICE_UUID)
        if service is None:
            versions = {service_version_of(one.uuid) for one in services} - {None}
            if versions:
                raise _other_version(self._wanted, max(version or 0 for version in versions))
            raise BleOpenError(BleReason.WRONG_SERVICE, f"{self.info.url}: the device has no service of a telemeter")
        found = []
        for uuid in (COMMAND_UUID, REPLY_UUID, INFORMATION_UUID, LINK_STATUS_UUID):
            characteristic = service.get_characteristic(uuid)
            missing = PROPERTIES[uuid] - set(() if characteristic is None else characteristic.properties)
            if characteristic is None or missing:
                raise BleOpenError(
                    BleReason.WRONG_SERVICE,
                    f"{self.info.url}: its service is damaged: characteristic {uuid} does not allow "
                    f"{', '.join(sorted(missing))}",
                )
            found.append(characteristic)
        return found

    def _inform(self, value: bytes) -> None:
        try:
            information = decode_information(value)
        except BadPayload as error:
            raise BleOpenError(BleReason.WRONG_SERVICE, f"{self.info.url}: {error}") from error
        if information.service_version != SERVICE_VERSION:
            raise _other_version(self._wanted, information.service_version)
        if information.longest_frame < LONGEST_FRAME:
            raise BleOpenError(
                BleReason.WRONG_SERVICE,
                f"{self.info.url}: the telemeter takes frames of {information.longest_frame} bytes, at least "
                f"{LONGEST_FRAME} are needed",
            )
        self.information = information

    def _disconnected(self, _client: BleakClient) -> None:
        if not self._gone_early.done():
            self._gone_early.set_result(None)
        if self._receiver is None:
            return
        if self._status is LinkStatus.CLOSING:
            self._end(BleReason.CLOSED_BY_TELEMETER, "the telemeter closed the link")
        else:
            self._end(BleReason.VANISHED, "the connection is lost")

    def _end(self, reason: BleReason, what: str, cause: BaseException | None = None) -> None:
        error = BleClosedError(reason, f"{self.info.url}: {what}")
        error.__cause__ = cause
        self._lose(error)

    def _status_came(self, _characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
        with suppress(ValueError, IndexError):  # what later versions may say is to be ignored (docs/protocol.md)
            self._status = LinkStatus(value[0])
        self._wake.set()

    def _segment_came(self, _characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
        for item in self._incoming.feed(bytes(value)):
            if not isinstance(item, BadSegment):
                self._arrived(item)
            elif item.reason is not SegmentFault.REPEATED:
                # What is no frame goes up as well: there it is counted, and recorded, like noise on any other link.
                self._arrived(item.lost or item.segment)

    def _arrived(self, data: bytes) -> None:
        if self._early is None:
            self._deliver(data)
        elif len(self._early) < _EARLY_FRAMES:
            self._early.append(data)

    def _deliver_early(self) -> None:
        early, self._early = self._early or [], None
        for data in early:
            self._deliver(data)

    async def _write_loop(self) -> None:
        try:
            while True:
                while not self._queue or self._status is not LinkStatus.READY:
                    self._wake.clear()
                    await self._wake.wait()
                await self._send(self._queue[0])
                self._queue.popleft()
                if not self._queue:
                    self._drained.set()
        except Exception as error:  # noqa: BLE001 - whatever bleak raises is why the link ends
            reason = reason_of(error)
            if reason is BleReason.TIMEOUT:
                self._end(BleReason.NOT_TAKING, f"a write was not taken within {WRITE_S:.0f} s", error)
            else:
                self._end(reason, f"a write failed: {words_for(error)}", error)

    async def _send(self, frame: bytes) -> None:
        client, command = self._client, self._command
        if client is None or command is None:
            raise LinkClosedError(f"{self.info.url}: the link is not open yet")
        self._segmenter.mtu = self.att_mtu
        segments = self._segmenter.cut(frame)
        last = segments.pop()
        for segment in segments:
            async with asyncio.timeout(WRITE_S):
                await client.write_gatt_char(command, segment, response=False)
        async with asyncio.timeout(WRITE_S):
            await client.write_gatt_char(command, last, response=bool(segments) or not self._proved)
        self._proved = True

    async def _flush(self) -> None:
        if self._queue:
            with suppress(TimeoutError):  # the telemeter had its chance, as on every other link
                await asyncio.wait_for(self._drained.wait(), FLUSH_S)

    def _release(self) -> None:
        self._letting_go = self._loop.create_task(self._let_go(), name=f"closing {self.info.url}")

    async def _let_go(self) -> None:
        try:
            if self._writer is not None and not self._writer.done():
                self._writer.cancel()
                await asyncio.wait({self._writer}, timeout=DISCONNECT_S)
            self._queue.clear()
            self._drained.set()
            if self._client is not None:
                await within(DISCONNECT_S, self._client.disconnect())
        except Exception as error:  # noqa: BLE001 - a link that does not end properly must not keep its user waiting
            if self._client is not None and self._client.is_connected:
                self._loop.call_exception_handler(
                    {"message": f"{self.info.url}: the system does not confirm the disconnection", "exception": error}
                )
        finally:
            self._released()


__all__ = ["Backend", "BleBackend", "BlePipe", "Sighting", "connect", "scan", "use_backend"]
