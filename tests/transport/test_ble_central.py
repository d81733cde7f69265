"""The central against a scripted backend: each way in which Bluetooth fails is a typed error with its cure."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from bleak import exc

from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.link import FrameLink
from telemetry.protocol.frame import Frame, encode_frame
from telemetry.protocol.wire import FrameType
from telemetry.transport import ble, ble_errors, ble_scan
from telemetry.transport.ble import BlePipe, scan, use_backend
from telemetry.transport.ble_errors import CURES, BleClosedError, BleOpenError, BleReason, reason_of, within
from telemetry.transport.ble_gatt import (
    Attribute,
    InformationFlag,
    LinkStatus,
    TelemeterInformation,
    encode_information,
)
from telemetry.transport.ble_segments import LAST, Segmenter, SegmentFault
from telemetry.transport.registry import open_transport
from tests.support.fake_bleak import HANG, STUBBORN, VANISH, FakeClient, FakeRadio, Telemeter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

BY_NAME = "ble://?name=SIM-0001"
PATIENCE_S = 5
NOT_AVAILABLE = exc.BleakBluetoothNotAvailableReason


class Receiver:
    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.reasons: list[LinkClosedError | None] = []
        self.changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        assert not self.reasons
        self.data.append(data)
        self.changed.set()

    def connection_lost(self, reason: LinkClosedError | None) -> None:
        self.reasons.append(reason)
        self.changed.set()

    async def until(self, *, frames: int = 0, lost: bool = False) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.data) < frames or (lost and not self.reasons):
                self.changed.clear()
                await self.changed.wait()

    @property
    def reason(self) -> BleReason:
        assert len(self.reasons) == 1
        error = self.reasons[0]
        assert isinstance(error, BleClosedError)
        assert CURES[error.reason] in str(error)
        return error.reason


@pytest.fixture
def radio() -> Iterator[FakeRadio]:
    made = FakeRadio()
    with use_backend(client=FakeClient, scanner=made.scanner()):
        yield made


@pytest.fixture
def telemeter(radio: FakeRadio) -> Telemeter:
    made = Telemeter()
    radio.telemeters.append(made)
    return made


async def opened(url: str = BY_NAME) -> tuple[BlePipe, Receiver]:
    receiver = Receiver()
    transport = await open_transport(url, receiver, clock=SystemClock())
    assert isinstance(transport, BlePipe)
    return transport, receiver


async def refused(url: str = f"{BY_NAME}&timeout_ms=300") -> BleOpenError:
    receiver = Receiver()
    with pytest.raises(BleOpenError) as caught:
        await open_transport(url, receiver, clock=SystemClock())
    assert not receiver.reasons
    assert not receiver.data
    error = caught.value
    assert isinstance(error, LinkOpenError)
    assert CURES[error.reason] in str(error)
    assert "name=SIM-0001" in str(error) or url in str(error)
    return error


@pytest.mark.parametrize("mtu", [23, 24, 185, 517])
async def test_frames_of_every_length_go_and_come(telemeter: Telemeter, mtu: int) -> None:
    telemeter.mtu = mtu
    transport, receiver = await opened()
    frames = [bytes((length & 0xFF,)) * length for length in (1, 18, 19, 20, 21, 100, 255, 256)]
    for frame in frames:
        transport.write(frame)
    await receiver.until(frames=len(frames))
    assert receiver.data == frames
    assert all(len(segment) <= mtu - 3 for segment, _ in telemeter.writes)
    assert transport.info.datagrams
    assert transport.info.mtu == 256
    assert transport.att_mtu == mtu
    assert transport.information is not None
    assert transport.information.name == "SIM-0001"
    await transport.close()
    assert receiver.reasons == [None]
    assert telemeter.steps.count("disconnect") == 1


async def test_the_address_finds_it_too_and_mtu_caps_the_segments(telemeter: Telemeter) -> None:
    transport, receiver = await opened("ble://aa:bb:cc:dd:ee:01?mtu=23")
    transport.write(bytes(256))
    await receiver.until(frames=1)
    assert max(len(segment) for segment, _ in telemeter.writes) == 20
    await transport.close()


async def test_first_frame_and_ends_of_long_frames_are_written_with_response(telemeter: Telemeter) -> None:
    telemeter.mtu = 23
    transport, receiver = await opened()
    for frame in (b"first", b"second", bytes(40)):
        transport.write(frame)
    await receiver.until(frames=3)
    assert [response for _, response in telemeter.writes] == [True, False, False, False, True]
    await transport.close()


async def test_the_mtu_that_grows_later_is_used(telemeter: Telemeter) -> None:
    telemeter.mtu = 23
    transport, receiver = await opened()
    transport.write(bytes(100))
    await receiver.until(frames=1)
    before = len(telemeter.writes)
    telemeter.mtu = 247
    transport.write(bytes(100))
    await receiver.until(frames=2)
    assert before == 6
    assert len(telemeter.writes) == before + 1
    await transport.close()


async def test_a_frame_link_runs_over_it(telemeter: Telemeter) -> None:
    frames: list[Frame] = []
    came = asyncio.Event()

    def arrived(frame: Frame) -> None:
        frames.append(frame)
        came.set()

    link = FrameLink(on_frame=arrived, on_lost=lambda _reason: None)
    link.attach(await open_transport(BY_NAME, link, clock=SystemClock()))
    sent = Frame(FrameType.REQ, 0, bytes(248))
    link.send(encode_frame(sent))
    await asyncio.wait_for(came.wait(), PATIENCE_S)
    assert frames == [sent]
    await link.close()


# Opening that fails.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (exc.BleakBluetoothNotAvailableError("none", NOT_AVAILABLE.NO_BLUETOOTH), BleReason.NO_ADAPTER),
        (exc.BleakBluetoothNotAvailableError("none", NOT_AVAILABLE.NO_BLE_CENTRAL_ROLE), BleReason.NO_ADAPTER),
        (exc.BleakBluetoothNotAvailableError("off", NOT_AVAILABLE.POWERED_OFF), BleReason.ADAPTER_OFF),
        (exc.BleakBluetoothNotAvailableError("no", NOT_AVAILABLE.DENIED_BY_USER), BleReason.NO_PERMISSION),
        (exc.BleakDBusError("org.bluez.Error.NotReady", ["not ready"]), BleReason.ADAPTER_OFF),
        (exc.BleakDBusError("org.freedesktop.DBus.Error.AccessDenied", ["no"]), BleReason.NO_PERMISSION),
        (exc.BleakDBusError("org.freedesktop.DBus.Error.ServiceUnknown", ["no bluez"]), BleReason.NO_SERVICE),
        (FileNotFoundError(2, "No such file or directory"), BleReason.NO_SERVICE),
        (PermissionError(13, "Permission denied"), BleReason.NO_PERMISSION),
        (RuntimeError("something new"), BleReason.FAILED),
    ],
)
async def test_no_bluetooth_is_a_reason_with_a_cure(radio: FakeRadio, error: Exception, reason: BleReason) -> None:
    radio.start_error = error
    refusal = await refused()
    assert refusal.reason is reason
    assert refusal.__cause__ is error
    with pytest.raises(BleOpenError) as caught:
        await scan(0.01)
    assert caught.value.reason is reason


async def test_a_service_that_hangs_is_given_up(radio: FakeRadio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ble_scan, "_START_S", 0.05)
    radio.hangs = True
    assert (await refused()).reason is BleReason.TIMEOUT


async def test_an_adapter_that_is_not_there_is_named(radio: FakeRadio) -> None:
    radio.start_error = exc.BleakError("adapter 'hci7' not found")
    error = await refused(f"{BY_NAME}&adapter=hci7")
    assert error.reason is BleReason.NO_ADAPTER
    assert "hci7" in str(error)
    assert radio.scanner_options[-1]["bluez"] == {"adapter": "hci7"}


async def test_without_the_extra_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bleak", None)
    error = await refused()
    assert error.reason is BleReason.NOT_INSTALLED
    assert "pip install 'itb-telemetry[ble]'" in str(error)


def test_nothing_of_bleak_is_loaded_before_bluetooth_is_used() -> None:
    code = (
        "import sys; import telemetry.transport.registry, telemetry.transport.ble; "
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('bleak', 'bumble', 'dbus_fast')))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "[]"


async def test_not_found_lists_what_was_seen(radio: FakeRadio) -> None:
    radio.telemeters += [
        Telemeter(address="AA:BB:CC:DD:EE:02", name="SIM-0002"),
        Telemeter(address="AA:BB:CC:DD:EE:03", name="Kettle", version=None),
    ]
    error = await refused()
    assert error.reason is BleReason.NOT_FOUND
    assert "SIM-0002 (AA:BB:CC:DD:EE:02, -50 dBm); other devices: 1" in str(error)
    assert radio.scanning == 0
    radio.telemeters.clear()
    assert "telemeters in range: none; other devices: 0" in str(await refused("ble://AA:BB:CC:DD:EE:09?timeout_ms=50"))


async def test_the_name_without_the_service_is_said(telemeter: Telemeter) -> None:
    telemeter.advertises = False
    error = await refused()
    assert error.reason is BleReason.WRONG_SERVICE
    assert "does not advertise" in str(error)


async def test_a_device_without_our_service_is_let_go(telemeter: Telemeter) -> None:
    telemeter.version = None
    error = await refused("ble://AA:BB:CC:DD:EE:01")
    assert error.reason is BleReason.WRONG_SERVICE
    assert telemeter.client is not None
    assert not telemeter.client.up


@pytest.mark.parametrize("advertised", [True, False])
async def test_another_version_of_the_service_is_named(telemeter: Telemeter, advertised: bool) -> None:
    telemeter.version, telemeter.advertises = 7, advertised
    error = await refused("ble://AA:BB:CC:DD:EE:01")
    assert error.reason is BleReason.OTHER_VERSION
    assert "version 7" in str(error)


@pytest.mark.parametrize(
    ("attribute", "properties"), [(Attribute.COMMAND, ["write"]), (Attribute.REPLY, ["read"]), (Attribute.REPLY, [])]
)
async def test_a_damaged_service_is_named(telemeter: Telemeter, attribute: Attribute, properties: list[str]) -> None:
    telemeter.properties[attribute] = properties
    error = await refused()
    assert error.reason is BleReason.WRONG_SERVICE
    assert "does not allow" in str(error)


@pytest.mark.parametrize(
    ("information", "reason"),
    [
        (b"\x01\x01", BleReason.WRONG_SERVICE),
        (encode_information(TelemeterInformation(3, InformationFlag(0), 256, "SIM-0001")), BleReason.OTHER_VERSION),
        (encode_information(TelemeterInformation(1, InformationFlag(0), 255, "SIM-0001")), BleReason.WRONG_SERVICE),
    ],
)
async def test_information_that_does_not_fit_is_refused(
    telemeter: Telemeter, information: bytes, reason: BleReason
) -> None:
    telemeter.information = information
    assert (await refused()).reason is reason


INSUFFICIENT = exc.BleakGATTProtocolError(0x05)


@pytest.mark.parametrize(
    ("step", "does", "reason"),
    [
        ("connect", HANG, BleReason.TIMEOUT),
        ("connect", exc.BleakDeviceNotFoundError("x", "gone"), BleReason.VANISHED),
        ("connect", exc.BleakError("le-connection-abort-by-local"), BleReason.FAILED),
        ("connect", exc.BleakDBusError("org.bluez.Error.Failed", ["br"]), BleReason.FAILED),
        ("read", HANG, BleReason.TIMEOUT),
        ("read", VANISH, BleReason.VANISHED),
        ("read", EOFError(), BleReason.VANISHED),
        ("pair", VANISH, BleReason.VANISHED),
        ("pair", HANG, BleReason.TIMEOUT),
        ("pair", exc.BleakError("no"), BleReason.PAIRING_REFUSED),
        ("pair", exc.BleakDBusError("org.bluez.Error.AuthenticationFailed", ["no"]), BleReason.PAIRING_REFUSED),
        ("notify status", INSUFFICIENT, BleReason.PAIRING_NEEDED),
        ("notify reply", INSUFFICIENT, BleReason.PAIRING_NEEDED),
        ("notify reply", exc.BleakDBusError("org.bluez.Error.Failed", ["ATT error: 0x0f"]), BleReason.PAIRING_NEEDED),
        ("notify reply", exc.BleakDBusError("org.bluez.Error.NotPermitted", ["x"]), BleReason.PAIRING_NEEDED),
        ("notify reply", exc.BleakError("no"), BleReason.NOTIFICATIONS_REFUSED),
        ("notify reply", VANISH, BleReason.VANISHED),
        ("notify reply", exc.BleakCharacteristicNotFoundError(3), BleReason.WRONG_SERVICE),
    ],
)
async def test_every_step_of_the_opening_may_fail(
    telemeter: Telemeter, step: str, does: BaseException | str, reason: BleReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ble_errors, "GRACE_S", 0.02)
    telemeter.script[step] = does
    query = "&pair=yes" if step == "pair" else ""
    async with asyncio.timeout(PATIENCE_S):
        error = await refused(f"{BY_NAME}&timeout_ms=200{query}")
    assert error.reason is reason
    assert telemeter.steps[-1] == "disconnect"


@pytest.mark.parametrize(
    ("step", "does", "reason"),
    [
        ("pair", VANISH, BleReason.STALE_BOND),
        ("notify status", VANISH, BleReason.STALE_BOND),
        ("notify reply", HANG, BleReason.STALE_BOND),
        ("read", VANISH, BleReason.STALE_BOND),
        ("connect", HANG, BleReason.STALE_BOND),
        ("pair", exc.BleakError("no"), BleReason.PAIRING_REFUSED),
        ("notify reply", exc.BleakError("no"), BleReason.NOTIFICATIONS_REFUSED),
    ],
)
async def test_a_device_bonded_in_bluez_that_is_heard_and_cannot_be_opened_has_forgotten_it(
    telemeter: Telemeter, step: str, does: BaseException | str, reason: BleReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ble_errors, "GRACE_S", 0.02)
    telemeter.paired = True
    telemeter.script[step] = does
    error = await refused(f"{BY_NAME}&timeout_ms=200&pair=yes")
    assert error.reason is reason
    assert ("bluetoothctl remove" in error.cure) == (reason is BleReason.STALE_BOND)


async def test_pairing_happens_only_where_asked(telemeter: Telemeter) -> None:
    transport, _ = await opened()
    await transport.close()
    assert "pair" not in telemeter.steps
    transport, _ = await opened(f"{BY_NAME}&pair=yes")
    await transport.close()
    assert telemeter.steps.count("pair") == 1


async def test_a_cancelled_opening_leaves_nothing(telemeter: Telemeter, radio: FakeRadio) -> None:
    telemeter.script["read"] = HANG
    opening = asyncio.ensure_future(opened())
    while "read" not in telemeter.steps:
        telemeter.stepped.clear()
        await telemeter.stepped.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert telemeter.steps[-1] == "disconnect"
    assert telemeter.client is not None
    assert not telemeter.client.up
    assert radio.scanning == 0


async def test_a_system_that_ignores_being_cancelled_does_not_keep_us(
    telemeter: Telemeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ble_errors, "GRACE_S", 0.02)
    monkeypatch.setattr(ble, "DISCONNECT_S", 0.02)
    telemeter.script |= {"connect": STUBBORN, "disconnect": STUBBORN}
    async with asyncio.timeout(PATIENCE_S):
        assert (await refused(f"{BY_NAME}&timeout_ms=50")).reason is BleReason.TIMEOUT
    telemeter.release.set()


# Links that end.


async def test_a_peer_that_vanishes_is_lost_once(telemeter: Telemeter) -> None:
    transport, receiver = await opened()
    telemeter.drop()
    await receiver.until(lost=True)
    assert receiver.reason is BleReason.VANISHED
    with pytest.raises(LinkClosedError, match="connection is lost"):
        transport.write(b"late")
    await transport.close()
    assert len(receiver.reasons) == 1


async def test_a_peer_that_says_so_before_is_told_apart(telemeter: Telemeter) -> None:
    _, receiver = await opened()
    telemeter.notify(Attribute.LINK_STATUS, bytes((LinkStatus.CLOSING,)))
    telemeter.drop()
    await receiver.until(lost=True)
    assert receiver.reason is BleReason.CLOSED_BY_TELEMETER


async def test_a_reconnect_from_inside_the_loss_succeeds(telemeter: Telemeter) -> None:
    _, receiver = await opened()
    telemeter.drop()
    await receiver.until(lost=True)
    again, second = await opened()
    again.write(b"again")
    await second.until(frames=1)
    await again.close()


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (INSUFFICIENT, BleReason.PAIRING_NEEDED),
        (exc.BleakDBusError("org.bluez.Error.NotReady", ["off"]), BleReason.ADAPTER_OFF),
        (exc.BleakError("Not connected"), BleReason.FAILED),
        (HANG, BleReason.NOT_TAKING),
    ],
)
async def test_a_write_that_fails_ends_the_link(
    telemeter: Telemeter, does: BaseException | str, reason: BleReason, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ble, "WRITE_S", 0.05)
    transport, receiver = await opened()
    telemeter.script["write"] = does
    transport.write(b"x")
    await receiver.until(lost=True)
    assert receiver.reason is reason
    assert telemeter.steps[-1] == "disconnect"


async def test_closing_flushes_and_is_bounded(telemeter: Telemeter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ble, "DISCONNECT_S", 0.05)
    monkeypatch.setattr(ble_errors, "GRACE_S", 0.02)
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    transport, receiver = await opened()
    telemeter.script["disconnect"] = HANG
    for index in range(20):
        transport.write(bytes((index,)))
    async with asyncio.timeout(PATIENCE_S):
        await transport.close()
        await transport.close()
    assert len(telemeter.writes) == 20
    assert receiver.reasons == [None]
    assert "does not confirm the disconnection" in str(reported)


async def test_busy_holds_writes_back_and_the_queue_is_bounded(telemeter: Telemeter) -> None:
    telemeter.status_on_subscription = bytes((LinkStatus.BUSY,))
    transport, receiver = await opened()
    for index in range(ble.QUEUE_FRAMES):
        transport.write(bytes((index,)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert telemeter.writes == []
    telemeter.notify(Attribute.LINK_STATUS, b"")  # says nothing
    telemeter.notify(Attribute.LINK_STATUS, b"\x77")  # what a later version may say
    telemeter.notify(Attribute.LINK_STATUS, bytes((LinkStatus.READY,)))
    await receiver.until(frames=ble.QUEUE_FRAMES)
    assert receiver.data == [bytes((index,)) for index in range(ble.QUEUE_FRAMES)]
    telemeter.notify(Attribute.LINK_STATUS, bytes((LinkStatus.BUSY,)))
    for _ in range(ble.QUEUE_FRAMES):
        transport.write(b"x")
    with pytest.raises(LinkClosedError, match="takes nothing"):
        transport.write(b"x")
    await receiver.until(lost=True)
    assert receiver.reason is BleReason.NOT_TAKING


async def test_damaged_segments_are_counted_and_cost_one_frame(telemeter: Telemeter) -> None:
    telemeter.echo = False
    transport, receiver = await opened()
    segmenter = Segmenter(23)
    a, b, c = segmenter.cut(bytes(60)), segmenter.cut(b"B" * 30), segmenter.cut(b"whole")
    for segment in [a[0], b[0], *b[:0], b[1], *c, c[0], b"\x00" + b"?" * 5, bytes((LAST,))]:
        telemeter.notify(Attribute.REPLY, segment)
    await receiver.until(frames=5)
    assert receiver.data == [a[0][1:], b"B" * 30, b"whole", b"\x00" + b"?" * 5, bytes((LAST,))]
    assert transport.segment_faults == {
        SegmentFault.INTERLEAVED: 1,
        SegmentFault.REPEATED: 1,
        SegmentFault.NO_FIRST: 1,
        SegmentFault.TRUNCATED: 1,
    }
    await transport.close()


async def test_what_comes_before_the_opening_is_over_comes_after_it(telemeter: Telemeter) -> None:
    telemeter.script["notify reply"] = lambda: telemeter.notify(Attribute.REPLY, b"\xc0early")
    transport, receiver = await opened()
    assert receiver.data == []
    telemeter.notify(Attribute.REPLY, b"\xc1later")
    await receiver.until(frames=2)
    assert receiver.data == [b"early", b"later"]
    await transport.close()


async def test_what_is_no_frame_is_not_written(telemeter: Telemeter) -> None:
    transport, _ = await opened()
    for data in (b"", bytes(257)):
        with pytest.raises(UsageError, match="outside 1 to 256"):
            transport.write(data)
    await transport.close()


# URLs.


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ble:", "either the telemeter's address or its name"),
        ("ble://AA:BB:CC:DD:EE:01?name=SIM-0001", "either the telemeter's address or its name"),
        ("ble://AA:BB:CC:DD:EE", "no Bluetooth address"),
        ("ble://?name=", "'name' has no value"),
        ("ble://?name=a&mtu=22", "from 23 to 517"),
        ("ble://?name=a&timeout_ms=0", "from 1 to 300000"),
        ("ble://?name=a&pair=maybe", "must be yes or no"),
        ("ble://?name=a&pin=1234", "no parameter 'pin'"),
    ],
)
async def test_a_bad_url_is_refused_before_the_radio_is_touched(radio: FakeRadio, url: str, said: str) -> None:
    radio.telemeters.append(Telemeter(name="a"))
    with pytest.raises(UsageError, match=said):
        await open_transport(url, Receiver(), clock=SystemClock())
    assert radio.scans == 0


# Scanning.


async def test_a_scan_ranks_telemeters_first(radio: FakeRadio) -> None:
    radio.telemeters += [
        Telemeter(address="AA:BB:CC:DD:EE:03", name=None, version=None),
        Telemeter(address="AA:BB:CC:DD:EE:02", name="PUMP-9", version=2),
        Telemeter(),
    ]
    radio.stop_error = exc.BleakError("already stopped")
    told: list[str] = []
    found = await scan(0.05, on_sighting=lambda sighting: told.append(sighting.address))
    assert [(one.name, one.service_version, one.simulated) for one in found] == [
        ("SIM-0001", 1, True),
        ("PUMP-9", 2, False),
        (None, None, False),
    ]
    assert len(told) == 3


def test_the_former_backend_comes_back() -> None:
    before = ble_scan.backend_in_use()
    with use_backend(client=FakeClient):
        assert ble_scan.backend_in_use().client is FakeClient
        inner = use_backend()
        assert ble_scan.backend_in_use() == before
        inner.restore()
        assert ble_scan.backend_in_use().client is FakeClient
    assert ble_scan.backend_in_use() == before


# The bound on everything.


async def test_a_call_may_end_on_its_own_terms_or_not_at_all() -> None:
    async def answer() -> int:
        return 7

    async def fail() -> int:
        raise ValueError("no")

    assert await within(1, answer()) == 7
    with pytest.raises(ValueError, match="no"):
        await within(1, fail())
    with pytest.raises(TimeoutError, match=r"within 0\.0 s"):
        await within(-1, asyncio.sleep(10))


def test_every_reason_has_a_cure() -> None:
    assert set(CURES) == set(BleReason)
    assert reason_of(BleOpenError(BleReason.ADAPTER_OFF, "x")) is BleReason.ADAPTER_OFF
    assert reason_of(exc.BleakError("x")) is BleReason.FAILED
