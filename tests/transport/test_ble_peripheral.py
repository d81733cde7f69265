"""The virtual telemeter as a peripheral: links, rules of the service, pairing, ends, and errors that name the cure."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError
from bumble import hci
from bumble.pairing import PairingConfig

from telemetry.clock import SystemClock
from telemetry.errors import LinkClosedError, LinkOpenError, UsageError
from telemetry.transport import registry
from telemetry.transport.ble_gatt import (
    COMMAND_UUID,
    INFORMATION_UUID,
    LINK_STATUS_UUID,
    REPLY_UUID,
    SERVICE_UUID,
    InformationFlag,
    LinkStatus,
    decode_information,
)
from telemetry.transport.ble_peripheral import PeripheralListener, listen
from telemetry.transport.ble_segments import LONGEST_FRAME, Reassembler, Segmenter
from telemetry.transport.ble_service import BUSY_FRAMES, end_in_words
from telemetry.transport.bleak_bumble import BumbleAdapter, PairingAgent
from telemetry.transport.bumble_link import LinkModel
from telemetry.transport.bumble_radio import BumbleRadio
from telemetry.transport.pipe import UNSENT_LIMIT_BYTES
from telemetry.transport.url import parse_url
from tests.support.ble import Bench, bench, until

if TYPE_CHECKING:
    from pathlib import Path

    from bleak.backends.device import BLEDevice

    from telemetry.transport.base import Acceptor

pytestmark = pytest.mark.real


async def find(adapter: BumbleAdapter, name: str = "SIM-0001") -> BLEDevice:
    device = await BleakScanner.find_device_by_name(name, timeout=5, backend=adapter.scanner)
    assert device is not None
    return device


def client_of(adapter: BumbleAdapter, device: BLEDevice) -> BleakClient:
    return BleakClient(device, timeout=5, backend=adapter.client)


async def write_frame(client: BleakClient, frame: bytes, segmenter: Segmenter) -> None:
    segmenter.mtu = client.mtu_size
    for segment in segmenter.cut(frame):
        await client.write_gatt_char(COMMAND_UUID, segment, response=True)


class Ears:
    """What a central is notified of."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.statuses: list[LinkStatus] = []
        self._reassembler = Reassembler()

    def reply(self, _characteristic: object, value: bytearray) -> None:
        self.frames += [cast("bytes", found) for found in self._reassembler.feed(bytes(value))]

    def status(self, _characteristic: object, value: bytearray) -> None:
        self.statuses.append(LinkStatus(value[0]))


async def connected(air: Bench, query: str = "name=SIM-0001") -> tuple[PeripheralListener, BumbleAdapter, BleakClient]:
    listener = await air.listen(query)
    adapter = await air.central()
    client = client_of(adapter, await find(adapter))
    await client.connect()
    await until(lambda: air.served)
    return listener, adapter, client


async def test_it_advertises_name_and_service_in_one_advertisement() -> None:
    async with bench() as air:
        await air.listen()
        adapter = await air.central()
        found = await BleakScanner.discover(0.1, return_adv=True, backend=adapter.scanner)
        ((device, data),) = found.values()
        assert (device.name, data.service_uuids) == ("SIM-0001", [SERVICE_UUID])


@pytest.mark.parametrize("mtu", [23, 64, 517])
async def test_frames_go_both_ways_at_any_mtu(mtu: int) -> None:
    async with bench() as air:
        _, _, client = await connected(air, f"name=SIM-0001&mtu={mtu}")
        ears, segmenter = Ears(), Segmenter(23)
        await client.start_notify(REPLY_UUID, ears.reply)
        assert client.mtu_size == mtu
        sizes = (1, 19, 20, 21, 60, 255, LONGEST_FRAME)
        for size in sizes:
            await write_frame(client, bytes([size % 256]) * size, segmenter)
        served = air.served[0]
        await until(lambda: len(served.receiver.chunks) == len(sizes))
        for frame in served.receiver.chunks:
            served.transport.write(frame)
        await until(lambda: len(ears.frames) == len(sizes))
        assert ears.frames == [bytes([size % 256]) * size for size in sizes]
        await client.disconnect()
        await until(lambda: served.receiver.lost)
        assert "closed" in str(served.receiver.reason)


@pytest.mark.parametrize("size", [0, LONGEST_FRAME + 1])
async def test_a_frame_of_a_wrong_size_is_refused(size: int) -> None:
    async with bench() as air:
        await connected(air)
        with pytest.raises(UsageError, match=f"{size} bytes.*1 to 256"):
            air.served[0].transport.write(bytes(size))


async def test_information_is_readable_and_says_what_it_is() -> None:
    async with bench() as air:
        _, _, client = await connected(air)
        information = decode_information(bytes(await client.read_gatt_char(INFORMATION_UUID)))
        assert information.name == "SIM-0001"
        assert information.flags is InformationFlag.SIMULATED
        assert information.longest_frame == LONGEST_FRAME


async def test_what_is_written_before_the_subscription_waits_for_it_in_order() -> None:
    async with bench() as air:
        _, _, client = await connected(air)
        sent = [bytes([number]) * 200 for number in range(1, 11)]
        for frame in sent:
            air.served[0].transport.write(frame)
        await asyncio.sleep(0.05)
        ears = Ears()
        await client.start_notify(REPLY_UUID, ears.reply)
        await until(lambda: len(ears.frames) == len(sent))
        assert ears.frames == sent


async def test_a_subscription_taken_back_holds_frames_until_the_next() -> None:
    async with bench() as air:
        _, _, client = await connected(air)
        ears = Ears()
        await client.start_notify(REPLY_UUID, ears.reply)
        await client.stop_notify(REPLY_UUID)
        air.served[0].transport.write(b"held")
        await asyncio.sleep(0.05)
        assert ears.frames == []
        await client.start_notify(REPLY_UUID, ears.reply)
        await until(lambda: ears.frames == [b"held"])


async def test_a_central_that_never_subscribes_is_dropped_with_the_reason_when_too_much_waits() -> None:
    async with bench() as air:
        await connected(air)
        served = air.served[0]
        frame = bytes(LONGEST_FRAME)
        for _ in range(UNSENT_LIMIT_BYTES // LONGEST_FRAME):
            served.transport.write(frame)
        with pytest.raises(LinkClosedError, match="never subscribed"):
            served.transport.write(frame)
        await until(lambda: served.receiver.lost)
        assert "never subscribed" in str(served.receiver.reason)


async def test_the_link_status_says_ready_busy_ready_closing() -> None:
    async with bench() as air:
        _, _, client = await connected(air)
        ears, served = Ears(), air.served[0]
        await client.start_notify(LINK_STATUS_UUID, ears.status)
        await until(lambda: ears.statuses == [LinkStatus.READY])
        for _ in range(BUSY_FRAMES + 1):
            served.transport.write(b"waits for a subscription")
        await until(lambda: ears.statuses[-1] is LinkStatus.BUSY)
        await client.start_notify(REPLY_UUID, ears.reply)
        await until(lambda: len(ears.frames) == BUSY_FRAMES + 1)
        await served.transport.close()
        assert ears.statuses == [LinkStatus.READY, LinkStatus.BUSY, LinkStatus.READY, LinkStatus.CLOSING]


async def test_a_slow_air_holds_back_without_losing_anything() -> None:
    async with bench() as air:
        _, _, client = await connected(air)
        air.radio.link.model = LinkModel(bits_per_s=2_000_000)
        ears, served = Ears(), air.served[0]
        await client.start_notify(REPLY_UUID, ears.reply)
        sent = [bytes([number]) * 250 for number in range(100)]
        for frame in sent:
            served.transport.write(frame)
        assert served.pipe._waiting, "everything went into the controller at once: there is no back-pressure"
        await until(lambda: len(ears.frames) == len(sent))
        assert ears.frames == sent


async def test_bad_segments_cost_their_frame_and_nothing_else() -> None:
    async with bench() as air:
        listener, _, client = await connected(air)
        served = air.served[0]
        for segment in (b"\x81", b"\x41no first", b"\x82begins", b"\xc3whole"):
            await client.write_gatt_char(COMMAND_UUID, segment, response=False)
        await until(lambda: served.receiver.chunks)
        assert served.receiver.chunks == [b"whole"]
        assert listener.service.faults == {"truncated": 1, "interleaved": 1}
        assert served.pipe.reassembler.skipped == 1


async def test_two_centrals_at_once_each_with_a_link_of_its_own() -> None:
    async with bench() as air:
        _, _, first = await connected(air)
        other = await air.central("second")
        second = client_of(other, await find(other))
        await second.connect()
        await until(lambda: len(air.served) == 2)
        await first.write_gatt_char(COMMAND_UUID, b"\xc0one", response=True)
        await second.write_gatt_char(COMMAND_UUID, b"\xc0two", response=True)
        assert [served.receiver.chunks for served in air.served] == [[b"one"], [b"two"]]
        await first.disconnect()
        await until(lambda: air.served[0].receiver.lost)
        await second.write_gatt_char(COMMAND_UUID, b"\xc1still", response=True)
        assert air.served[1].receiver.chunks == [b"two", b"still"]


async def test_several_telemeters_in_one_radio() -> None:
    async with bench() as air:
        for number in range(3):
            await air.listen(f"name=SIM-000{number}")
        adapter = await air.central()
        for number in range(3):
            async with client_of(adapter, await find(adapter, f"SIM-000{number}")) as client:
                information = decode_information(bytes(await client.read_gatt_char(INFORMATION_UUID)))
                assert information.name == f"SIM-000{number}"


async def test_it_can_be_found_again_after_a_disconnection() -> None:
    async with bench() as air:
        _, adapter, client = await connected(air)
        for _ in range(5):
            await client.disconnect()
            client = client_of(adapter, await find(adapter))
            await client.connect()


async def test_a_lost_central_is_reported_as_lost_contact_after_the_supervision_time() -> None:
    async with bench(LinkModel(supervision_ms=200)) as air:
        await connected(air)
        air.radio.move_out_of_range("central")
        served = air.served[0]
        await until(lambda: served.receiver.lost)
        assert "out of range" in str(served.receiver.reason)
        assert "connection timeout" in str(served.receiver.reason)


async def test_the_device_may_close_a_link_and_goes_on_being_there() -> None:
    async with bench() as air:
        _, adapter, client = await connected(air)
        gone = asyncio.Event()
        client._backend.set_disconnected_callback(gone.set)
        await air.served[0].transport.close()
        async with asyncio.timeout(5):
            await gone.wait()
        assert air.served[0].receiver.reason is None
        await find(adapter)


async def test_a_closed_listener_is_off_the_air_and_leaves_no_link() -> None:
    async with bench() as air:
        listener, adapter, client = await connected(air)
        await listener.close()
        await listener.close()
        assert air.served[0].receiver.lost
        await until(lambda: not client.is_connected)
        assert await BleakScanner.discover(0.1, backend=adapter.scanner) == []


async def test_an_adapter_that_vanishes_ends_every_link_and_is_reported_once() -> None:
    async with bench() as air:
        listener, _, _ = await connected(air)
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        air.radio.remove("SIM-0001")
        await until(lambda: air.served[0].receiver.lost)
        assert listener.failure is not None
        assert "vanished" in str(listener.failure)
        assert [context["exception"] for context in reported] == [listener.failure]
        async with asyncio.timeout(5):
            await listener.close()


async def test_a_failing_acceptor_costs_its_own_central_only() -> None:
    async with bench() as air:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

        def refuse(_transport: object) -> None:
            raise ZeroDivisionError("a fault of ours")

        listener = await listen(parse_url("ble+radio:?interval_ms=20"), cast("Acceptor", refuse), air.clock)
        adapter = await air.central()
        client = client_of(adapter, await find(adapter))
        with pytest.raises(BleakError, match="disconnect"):
            await client.connect()
        await find(adapter)
        await listener.close()
        assert "ZeroDivisionError" in repr(reported[0]["exception"])


async def refuse_to_advertise(listener: PeripheralListener, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the controller refuse to advertise from now on; the list counts the attempts."""
    attempts: list[int] = []

    async def refuse() -> None:
        attempts.append(len(listener._pipes))
        raise hci.HCI_Error(hci.HCI_COMMAND_DISALLOWED_ERROR)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(listener, "_start_advertising", refuse)
    return attempts


async def test_a_controller_that_cannot_advertise_while_connected_does_so_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bench() as air:
        listener = await air.listen()
        adapter = await air.central()
        client = client_of(adapter, await find(adapter))
        with monkeypatch.context() as patch:
            attempts = await refuse_to_advertise(listener, patch)
            await client.connect()
            await until(lambda: attempts)
            assert attempts == [1]
        await client.disconnect()
        await find(adapter)


async def test_a_controller_that_will_not_advertise_is_reported_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("telemetry.transport.ble_peripheral._RETRY_S", 0.02)
    async with bench() as air:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["message"]))
        listener = await air.listen()
        adapter = await air.central()
        client = client_of(adapter, await find(adapter))
        await client.connect()
        await until(lambda: listener._device.is_advertising)
        await listener._device.stop_advertising()
        with monkeypatch.context() as patch:
            attempts = await refuse_to_advertise(listener, patch)
            await client.disconnect()
            await until(lambda: len(attempts) >= 3)
        assert "cannot advertise" in reported[0]
        await find(adapter)


# --- pairing ---


SHOWN = PairingAgent(passkey=123456)


async def refused_before_pairing(client: BleakClient, ears: Ears) -> None:
    for attempt in (
        client.write_gatt_char(COMMAND_UUID, b"\xc0secret", response=True),
        client.start_notify(REPLY_UUID, ears.reply),
        client.start_notify(LINK_STATUS_UUID, ears.status),
    ):
        with pytest.raises(BleakGATTProtocolError, match="Insufficient"):
            await attempt
    await client.write_gatt_char(COMMAND_UUID, b"\xc0secret", response=False)  # refused too, which nobody is told


@pytest.mark.parametrize(
    ("query", "agent"),
    [
        ("pairing=just-works", PairingAgent()),
        ("pairing=passkey&passkey=123456", SHOWN),
        ("pairing=numeric", PairingAgent(confirm=lambda _number: True)),
    ],
    ids=["just-works", "passkey", "numeric"],
)
async def test_nothing_but_information_before_pairing_and_everything_after(query: str, agent: PairingAgent) -> None:
    async with bench() as air:
        listener = await air.listen(f"name=SIM-0001&{query}")
        adapter = await air.central(agent=agent)
        async with client_of(adapter, await find(adapter)) as client:
            ears = Ears()
            information = decode_information(bytes(await client.read_gatt_char(INFORMATION_UUID)))
            assert InformationFlag.PAIRING in information.flags
            await refused_before_pairing(client, ears)
            await client.pair()
            await client.write_gatt_char(COMMAND_UUID, b"\xc1known", response=True)
            await client.start_notify(REPLY_UUID, ears.reply)
            assert air.served[0].receiver.chunks == [b"known"]
            air.served[0].transport.write(b"answer")
            await until(lambda: ears.frames == [b"answer"])
        assert (listener.shown is None) == (agent == PairingAgent())
        # Known to each other: no pairing the next time, the first refusal makes the system encrypt.
        async with client_of(adapter, await find(adapter)) as client:
            await client.write_gatt_char(COMMAND_UUID, b"\xc0again", response=True)


async def test_a_passkey_of_the_telemeters_own_is_shown_and_typed() -> None:
    async with bench() as air:
        listener = await air.listen("name=SIM-0001&pairing=passkey")

        async def read_display() -> int:
            await until(lambda: listener.shown)
            return int(listener.shown or "")

        adapter = await air.central(agent=PairingAgent(passkey=read_display))
        async with client_of(adapter, await find(adapter)) as client:
            await client.pair()
            await client.write_gatt_char(COMMAND_UUID, b"\xc0known", response=True)


async def test_pairing_weaker_than_asked_for_ends_the_link() -> None:
    async with bench() as air:
        await air.listen("name=SIM-0001&pairing=numeric")
        adapter = await air.central(agent=PairingAgent())
        client = client_of(adapter, await find(adapter))
        await client.connect()
        with suppress(BleakError):  # the telemeter may hang up before the central knows that they have paired
            await client.pair()
        await until(lambda: air.served[0].receiver.lost)
        assert "asks for numeric" in str(air.served[0].receiver.reason)


async def test_legacy_pairing_is_refused() -> None:
    async with bench() as air:
        await air.listen("name=SIM-0001&pairing=just-works")
        adapter = await air.central()
        adapter.device.pairing_config_factory = lambda _connection: PairingConfig(sc=False, mitm=False)
        client = client_of(adapter, await find(adapter))
        await client.connect()
        with suppress(BleakError):  # the telemeter may hang up before the central knows that they have paired
            await client.pair()
        await until(lambda: air.served[0].receiver.lost)
        assert "Secure Connections" in str(air.served[0].receiver.reason)


async def test_a_wrong_passkey_is_refused() -> None:
    async with bench() as air:
        await air.listen("name=SIM-0001&pairing=passkey&passkey=123456")
        adapter = await air.central(agent=PairingAgent(passkey=654321))
        async with client_of(adapter, await find(adapter)) as client:
            with pytest.raises(BleakError):
                await client.pair()
            with pytest.raises(BleakGATTProtocolError):
                await client.write_gatt_char(COMMAND_UUID, b"\xc0guess", response=True)


async def test_a_number_that_is_not_confirmed_is_refused() -> None:
    async with bench() as air:
        await air.listen("name=SIM-0001&pairing=numeric")
        adapter = await air.central(agent=PairingAgent(confirm=lambda _number: False))
        async with client_of(adapter, await find(adapter)) as client:
            with pytest.raises(BleakError):
                await client.pair()


async def test_the_same_number_is_shown_at_both_ends() -> None:
    async with bench() as air:
        asked: list[int] = []
        listener = await air.listen("name=SIM-0001&pairing=numeric")
        adapter = await air.central(agent=PairingAgent(confirm=lambda number: not asked.append(number)))  # type: ignore[func-returns-value]
        async with client_of(adapter, await find(adapter)) as client:
            await client.pair()
        assert listener.shown == f"{asked[0]:06}"


async def test_a_central_that_vanishes_in_pairing_leaves_the_telemeter_on_the_air() -> None:
    async with bench(LinkModel(supervision_ms=200)) as air:
        await air.listen("name=SIM-0001&pairing=passkey")
        adapter = await air.central(agent=PairingAgent(passkey=lambda: air.radio.cut("central")))
        client = client_of(adapter, await find(adapter))
        await client.connect()
        with pytest.raises(BleakError):
            await client.pair()
        await until(lambda: air.served[0].receiver.lost)
        await find(adapter)


# --- places and errors ---


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_controller_of_another_program_over_a_socket(kind: str, tmp_path: Path) -> None:
    async with bench() as air:
        if kind == "tcp":
            address = f"//{await air.radio.serve_hci('remote')}"
        else:
            address = await air.radio.serve_hci("remote", path=str(tmp_path / "hci"))
        url = f"ble+{kind}:{address}?name=SIM-0002&interval_ms=20"
        listener = await registry.listen(url, air.accept, clock=air.clock)
        adapter = await air.central()
        async with client_of(adapter, await find(adapter, "SIM-0002")) as client:
            await client.write_gatt_char(COMMAND_UUID, b"\xc0far", response=True)
            assert air.served[0].receiver.chunks == [b"far"]
        await listener.close()
        assert await BleakScanner.discover(0.1, backend=adapter.scanner) == []


async def test_a_controller_that_hangs_up_is_an_adapter_that_vanished() -> None:
    async with bench() as air:
        reported: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
        async with BumbleRadio() as other:
            url = f"ble+tcp://{await other.serve_hci('remote')}?interval_ms=20"
            listener = cast("PeripheralListener", await registry.listen(url, air.accept, clock=air.clock))
        await until(lambda: listener.failure)
        assert "vanished" in str(listener.failure)
        assert len(reported) == 1
        await listener.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_controller_that_calls_us(kind: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    place = f"tcp://127.0.0.1:{port}" if kind == "tcp" else f"unix:{tmp_path / 'hci'}"
    spec = f"tcp-client:127.0.0.1:{port}" if kind == "tcp" else f"unix-client:{tmp_path / 'hci'}"
    async with bench() as air:
        url = f"ble+{place}?server=yes&name=SIM-0003&interval_ms=20"
        listening = asyncio.ensure_future(registry.listen(url, air.accept, clock=air.clock))
        async with asyncio.timeout(5):
            while True:
                try:
                    await air.radio.lend_hci(spec, "remote")
                    break
                except LinkOpenError:  # it does not listen yet
                    await asyncio.sleep(0.01)
        listener = await listening
        adapter = await air.central()
        async with client_of(adapter, await find(adapter, "SIM-0003")) as client:
            await client.write_gatt_char(COMMAND_UUID, b"\xc0near", response=True)
            assert air.served[0].receiver.chunks == [b"near"]
        await listener.close()


async def test_a_controller_that_never_calls_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("telemetry.transport.ble_peripheral.OPEN_S", 0.1)
    url = f"ble+unix:{tmp_path / 'hci'}?server=yes"
    with pytest.raises(LinkOpenError, match="no controller called"):
        await registry.listen(url, cast("Acceptor", None), clock=SystemClock())


async def test_without_bumble_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(_name: str) -> None:
        raise ImportError("No module named 'bumble'", name="bumble")

    monkeypatch.setattr(registry, "import_module", without)
    with pytest.raises(LinkOpenError, match=r"pip install 'itb-telemetry\[ble\]'"):
        await registry.listen("ble+usb:0", cast("Acceptor", None), clock=SystemClock())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ble+radio:?name=PUMP-1", "must begin with SIM-"),
        ("ble+radio:?name=SIM-00001", "1 to 8 printable ASCII"),
        ("ble+radio:?pairing=maybe", "must be one of none, just-works, passkey, numeric"),
        ("ble+radio:?passkey=1", "without pairing=passkey"),
        ("ble+radio:?pairing=passkey&passkey=1000000", "from 0 to 999999"),
        ("ble+radio:?mtu=22", "from 23 to 517"),
        ("ble+radio:?interval_ms=19", "from 20 to 10240"),
        ("ble+radio:?colour=red", "no parameter 'colour'"),
        ("ble+radio:there", "takes no address"),
        ("ble+radio:", "no radio; make one"),
        ("ble+lamp:0", "no transport has the scheme 'ble\\+lamp'.*ble\\+usb"),
        ("ble+usb:", "which adapter"),
        ("ble+hci-socket:first", "no adapter number"),
        ("ble+serial:ttyACM0", "absolute path"),
        ("ble+unix:hci", "absolute path"),
        ("ble+tcp://0.0.0.0:1?server=yes", "127.0.0.1"),
    ],
)
async def test_what_is_not_understood_is_refused_with_what_would_be_right(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        await registry.listen(url, cast("Acceptor", None), clock=SystemClock())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ble+usb:0", "udev|plugged in"),
        ("ble+serial:///dev/nothing-here", "plugged in|yours to open"),
        ("ble+unix:/nothing/here", "start the program|is the path right"),
        ("ble+vhci:/nothing/here", "modprobe hci_vhci"),
    ],
)
async def test_an_adapter_that_is_not_there_is_an_error_with_the_cure(url: str, words: str) -> None:
    with pytest.raises(LinkOpenError, match=words):
        await registry.listen(url, cast("Acceptor", None), clock=SystemClock())


async def test_nothing_listening_is_an_error_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(LinkOpenError, match="start the program that offers the controller"):
        await registry.listen(f"ble+tcp://127.0.0.1:{port}", cast("Acceptor", None), clock=SystemClock())


async def test_a_port_that_is_taken_is_an_error_with_the_cure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"ble+tcp://127.0.0.1:{taken.getsockname()[1]}?server=yes"
        with pytest.raises(LinkOpenError, match="choose another address"):
            await registry.listen(url, cast("Acceptor", None), clock=SystemClock())


async def test_something_that_is_no_controller_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telemetry.transport.ble_peripheral.OPEN_S", 0.2)
    silent = await asyncio.start_server(lambda _reader, writer: held.append(writer), "127.0.0.1", 0)
    held: list[asyncio.StreamWriter] = []
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(LinkOpenError, match="did not answer within"):
        await registry.listen(f"ble+tcp://127.0.0.1:{port}", cast("Acceptor", None), clock=SystemClock())
    for writer in held:
        writer.close()
    silent.close()
    await silent.wait_closed()


def test_known_and_unknown_reasons_have_words() -> None:
    assert "out of range" in end_in_words(hci.HCI_CONNECTION_TIMEOUT_ERROR)
    assert "closed" in end_in_words(hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR)
    assert "the connection ended" in end_in_words(hci.HCI_HARDWARE_FAILURE_ERROR)
    assert "0xEE" in end_in_words(0xEE)
