"""The broker in this process: where it listens, and that it ends."""

from __future__ import annotations

import asyncio
import socket

import pytest

from telemetry.errors import LinkOpenError, UsageError
from telemetry.transport.mqtt_broker import BrokerAccess, BrokerClient
from telemetry.transport.mqtt_embedded import EmbeddedBroker

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
