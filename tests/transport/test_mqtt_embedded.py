"""The broker in this process: where it listens, and that it ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from telemetry.errors import LinkOpenError, UsageError
from telemetry.transport.mqtt_broker import BrokerAccess, BrokerClient
from telemetry.transport.mqtt_embedded import EmbeddedBroker
from tests.support.skips import skip_or_fail

pytestmark = pytest.mark.real


async def test_it_listens_on_loopback_and_gives_its_port_back() -> None:
    async with EmbeddedBroker() as broker:
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
        with pytest.raises(LinkOpenError, match=r"cannot listen there: .*already in use; choose another port"):
            await EmbeddedBroker(port=broker.port).__aenter__()
        client = BrokerClient(BrokerAccess.from_url(broker.url, {}))
        await client.open()
    await broker.close()
    async with asyncio.timeout(10):
        assert "ended" in str(await client.wait_lost())
    await client.close()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", broker.port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "broker.example"])  # noqa: S104 - refused
def test_it_is_not_for_other_machines_unless_told(host: str) -> None:
    with pytest.raises(UsageError, match="knows no users, and other machines would reach it"):
        EmbeddedBroker(host)
    assert EmbeddedBroker(host, public=True).host == host


async def test_a_client_of_version_5_is_told_what_to_try() -> None:
    async with EmbeddedBroker() as broker:
        with pytest.raises(LinkOpenError, match="version"):
            await BrokerClient(BrokerAccess.from_url(f"{broker.url}?version=5&connect-ms=2000", {})).open()


async def test_it_listens_on_ipv6_too() -> None:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        skip_or_fail(f"no IPv6 here: {error}")
    async with EmbeddedBroker("::1") as broker:
        assert broker.url == f"mqtt://[::1]:{broker.port}"
        async with BrokerClient(BrokerAccess.from_url(broker.url, {})) as client:
            await client.publish("t", b"")


@pytest.mark.parametrize("said", [b"", b"\x10\x0e\x00\x04MQ"])
async def test_who_connects_and_says_no_more_is_no_defect_at_the_end(said: bytes) -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    async with EmbeddedBroker() as broker:
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(said)
        async with BrokerClient(BrokerAccess.from_url(broker.url, {})) as client:
            await client.publish("t", b"")  # by its answer, the other has been heard as well
    writer.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert told == []
