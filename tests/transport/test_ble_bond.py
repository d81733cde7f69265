"""A bond that one side has forgotten is told apart from range and from refusal, and addresses stay with their names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError
from bumble.keys import PairingKeys

from telemetry.clock import SystemClock
from telemetry.errors import UsageError
from telemetry.transport import bumble_radio
from telemetry.transport.ble_errors import BleOpenError, BleReason
from telemetry.transport.bleak_bumble_client import StaleBondError
from telemetry.transport.bumble_radio import BumbleRadio, static_address
from telemetry.transport.registry import open_transport
from tests.conformance.links import RecordingReceiver
from tests.support.ble import Bench, bench, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from telemetry.transport.ble_peripheral import PeripheralListener
    from telemetry.transport.bleak_bumble import BumbleAdapter

pytestmark = pytest.mark.real

NAME = "SIM-0001"
PAIRING = f"name={NAME}&pairing=just-works"
LIMIT_S = 5.0


@pytest.fixture
async def air() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


async def visit(adapter: BumbleAdapter, query: str) -> None:
    transport = await open_transport(
        f"ble://?name={NAME}{query}", RecordingReceiver(), clock=SystemClock(), backend=adapter
    )
    await transport.close()


async def bonded_with_a_former_one(air: Bench, query: str = PAIRING) -> tuple[BumbleAdapter, PeripheralListener]:
    """Bond with a telemeter, and put another of the same name and address in its place."""
    adapter = await air.central()
    former = await air.listen(PAIRING)
    await visit(adapter, "&pair=yes&timeout_ms=5000")
    await former.close()
    latter = await air.listen(query)
    assert latter.url == former.url == f"ble://{static_address(NAME)}"
    return adapter, latter


async def stale(adapter: BumbleAdapter, query: str) -> BleOpenError:
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(BleOpenError) as caught:
            await visit(adapter, query)
    assert caught.value.reason is BleReason.STALE_BOND
    assert "remove the device from the system's Bluetooth list" in caught.value.cure
    assert "bluetoothctl remove" in str(caught.value)
    assert not adapter.connected
    return caught.value


@pytest.mark.parametrize("query", ["&pair=yes&timeout_ms=5000", "&timeout_ms=5000"])
@pytest.mark.parametrize("pairing", ["just-works", "passkey"])
async def test_a_telemeter_that_forgot_the_bond(air: Bench, query: str, pairing: str) -> None:
    adapter, _ = await bonded_with_a_former_one(air, f"name={NAME}&pairing={pairing}")
    assert "pin or key missing" in str(await stale(adapter, query))


@pytest.mark.parametrize("query", ["&pair=yes&timeout_ms=5000", "&timeout_ms=5000"])
async def test_another_telemeter_at_the_address_has_another_key(air: Bench, query: str) -> None:
    adapter, latter = await bonded_with_a_former_one(air)
    keystore = latter._device.keystore
    assert keystore is not None
    other = PairingKeys(ltk=PairingKeys.Key(value=bytes(16)))
    await keystore.update(adapter.device.random_address.to_string(False), other)
    assert "mic failure" in str(await stale(adapter, query))


@pytest.mark.parametrize("query", ["&pair=yes&timeout_ms=300", "&timeout_ms=300"])
async def test_a_telemeter_that_does_not_answer_is_told_within_the_deadline(air: Bench, query: str) -> None:
    adapter, latter = await bonded_with_a_former_one(air)
    silent = asyncio.Event()

    async def wait(*_request: object) -> None:
        await silent.wait()

    latter._device.host.long_term_key_provider = wait
    assert "no answer within" in str(await stale(adapter, query))
    silent.set()


async def test_a_connection_that_breaks_while_it_is_encrypted_says_nothing_of_the_bond(air: Bench) -> None:
    adapter, latter = await bonded_with_a_former_one(air)
    asked = asyncio.Event()

    async def vanish(*_request: object) -> None:
        air.radio.cut(NAME)
        asked.set()

    latter._device.host.long_term_key_provider = vanish
    with pytest.raises(BleOpenError) as caught:
        await visit(adapter, "&pair=yes&timeout_ms=5000")
    assert asked.is_set()
    assert caught.value.reason is BleReason.VANISHED


async def test_the_cure_helps(air: Bench) -> None:
    adapter, _ = await bonded_with_a_former_one(air)
    await stale(adapter, "&pair=yes&timeout_ms=5000")
    async with BleakClient(await found(adapter), backend=adapter.client) as client:
        await client.unpair()
    await visit(adapter, "&pair=yes&timeout_ms=5000")


async def test_bleak_programs_meet_an_error_of_bleaks(air: Bench) -> None:
    adapter, _ = await bonded_with_a_former_one(air)
    async with BleakClient(await found(adapter), backend=adapter.client) as client:
        with pytest.raises(StaleBondError, match="unpair it") as caught:
            await client.pair()
    assert isinstance(caught.value, BleakError)


async def found(adapter: BumbleAdapter) -> str:
    device = await BleakScanner.find_device_by_name(NAME, timeout=LIMIT_S, backend=adapter.scanner)
    assert device is not None
    return device.address


async def test_a_bond_outlives_another_telemeters_arrival(air: Bench) -> None:
    adapter = await air.central()
    first = await air.listen(PAIRING)
    await visit(adapter, "&pair=yes&timeout_ms=5000")
    other = await air.listen("name=SIM-0002&pairing=just-works")
    assert other.url != first.url
    await visit(adapter, "&timeout_ms=5000")
    await until(lambda: len(air.served) == 2 and air.served[1].receiver.lost)


async def test_an_address_belongs_to_a_name_and_is_never_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    async with BumbleRadio() as radio:
        first = radio.device("Strap")
        address = first.random_address.to_string(False)
        assert address == static_address("Strap") == "D7:34:33:5E:BC:3E"
        assert int(address[:2], 16) & 0xC0 == 0xC0
        radio.remove("Strap")
        radio.device("Scale")
        assert radio.device("Strap").random_address == first.random_address
        monkeypatch.setattr(bumble_radio, "static_address", lambda _name: address)
        with pytest.raises(UsageError, match=rf"'Twin' and 'Strap' .* {address}.* choose another name"):
            radio.device("Twin")
