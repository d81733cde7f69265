"""The peers of the round trip: pymodbus, sinstruments, and a raw asyncio echo that is the floor of any TCP exchange."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import dataclass
from typing import Protocol

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from benchmarks.ours import ended, first_line
from benchmarks.samples import STATUS
from telemetry.protocol.codec import encode, pad
from telemetry.protocol.frame import Frame, encode_frame, encode_stream
from telemetry.protocol.messages import Message, ReadStatus
from telemetry.protocol.wire import ANSWER_HEADER, COUNTER, TAG_SIZE, FrameType


class Contestant(Protocol):
    """Something whose round trip is measured."""

    async def open(self) -> None:
        """Get ready: connected, and warm."""
        ...

    async def once(self) -> object:
        """One request and its answer."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of one status exchange: the body that carries information, and what goes over a stream each way."""

    status_body: int
    request: int
    answer: int

    @classmethod
    def of_ours(cls) -> Sizes:
        """As our own stack sends them, sealed and framed."""
        return cls(
            len(encode(STATUS)) - ANSWER_HEADER.size,
            _on_stream(FrameType.REQ, ReadStatus()),
            _on_stream(FrameType.RSP, STATUS),
        )


def _on_stream(kind: FrameType, message: Message) -> int:
    sealed = COUNTER.size + len(pad(encode(message))) + TAG_SIZE
    return len(encode_stream(encode_frame(Frame(kind, 0, bytes(sealed)))))


class _Answerer(asyncio.Protocol):
    """Sends ``answer`` for every ``request_bytes`` that arrive."""

    def __init__(self, request_bytes: int, answer: bytes) -> None:
        self._request_bytes = request_bytes
        self._answer = answer
        self._held = 0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the pipe."""
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count, answer."""
        self._held += len(data)
        if self._held >= self._request_bytes and self._transport is not None:
            self._held -= self._request_bytes
            self._transport.write(self._answer)


class PlainClient(asyncio.Protocol):
    """Writes a request and waits until as many bytes as the answer has are there. Nothing is looked at."""

    def __init__(self, request: bytes, answer_bytes: int) -> None:
        self._request = request
        self._answer_bytes = answer_bytes
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the pipe."""
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Count; wake whoever waits when it is complete."""
        self._held += len(data)
        if self._held >= self._answer_bytes and self._waiter is not None and not self._waiter.done():
            self._held -= self._answer_bytes
            self._waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionResetError("the server closed"))

    async def once(self) -> None:
        """One round trip."""
        if self._transport is None:
            raise RuntimeError("not connected")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._waiter

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()


class RawEcho:
    """Plain asyncio protocols at both ends in this process; the byte counts of our exchange, no content."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._held = contextlib.AsyncExitStack()
        self._client = PlainClient(b"q" * sizes.request, sizes.answer)

    async def open(self) -> None:
        """Listen and connect."""
        loop = asyncio.get_running_loop()
        sizes = self._sizes
        server = await loop.create_server(lambda: _Answerer(sizes.request, b"a" * sizes.answer), "127.0.0.1", 0)
        self._held.push_async_callback(server.wait_closed)
        self._held.callback(server.close)
        await loop.create_connection(lambda: self._client, "127.0.0.1", server.sockets[0].getsockname()[1])
        self._held.callback(self._client.close)
        await self._client.once()

    async def once(self) -> None:
        """One round trip."""
        await self._client.once()

    async def close(self) -> None:
        """Give everything back."""
        await self._held.aclose()


class Modbus:
    """pymodbus: ``ModbusTcpServer`` and ``AsyncModbusTcpClient`` in this process.

    Reads as many holding registers of two bytes as carry the body of our status message.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.registers = -(-sizes.status_body // 2)
        self._held = contextlib.AsyncExitStack()
        self._client: AsyncModbusTcpClient | None = None

    async def open(self) -> None:
        """Listen and connect."""
        device = SimDevice(id=1, simdata=SimData(0, count=self.registers, values=0x1234, datatype=DataType.REGISTERS))
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.listen()
        self._held.push_async_callback(server.shutdown)
        if not isinstance(server.transport, asyncio.Server):
            raise TypeError(f"pymodbus: the server listens on a {type(server.transport).__name__}")
        port = server.transport.sockets[0].getsockname()[1]
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        if not await client.connect():
            raise RuntimeError("pymodbus: the client did not connect")
        self._held.callback(client.close)
        self._client = client
        await self.once()

    async def once(self) -> None:
        """One read; raises ``RuntimeError`` unless all registers came."""
        if self._client is None:
            raise RuntimeError("open() was not called")
        answer = await self._client.read_holding_registers(0, count=self.registers, device_id=1)
        if answer.isError() or len(answer.registers) != self.registers:
            raise RuntimeError(f"pymodbus: {answer}")

    async def close(self) -> None:
        """Give everything back."""
        self._client = None
        await self._held.aclose()


class Sinstruments:
    """A sinstruments TCP device in a process of its own (it lives on gevent), our plain asyncio client here."""

    REQUEST = b"STATUS?\n"

    def __init__(self, sizes: Sizes) -> None:
        self._answer_bytes = sizes.status_body
        self._held = contextlib.AsyncExitStack()
        self._client = PlainClient(self.REQUEST, self._answer_bytes)

    async def open(self) -> None:
        """Start the server and connect."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.serve",
            "sinstruments",
            str(self._answer_bytes),
            stdout=asyncio.subprocess.PIPE,
        )
        self._held.push_async_callback(ended, process)
        port = int(await first_line(process))
        await asyncio.get_running_loop().create_connection(lambda: self._client, "127.0.0.1", port)
        self._held.callback(self._client.close)
        await self._client.once()

    async def once(self) -> None:
        """One round trip."""
        await self._client.once()

    async def close(self) -> None:
        """Give everything back."""
        await self._held.aclose()
