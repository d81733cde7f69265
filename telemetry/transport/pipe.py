"""What every transport that we write has in common: its life, and the kind that stands on a file descriptor."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from telemetry.errors import LinkClosedError
from telemetry.transport.base import Listener, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.transport.base import Acceptor, Receiver, TransportInfo

READ_SIZE = 65_536
UNSENT_LIMIT_BYTES = 1 << 20
"""More than this waiting unsent means that the other end has stopped reading; 4096 of the longest ITP/1 frames."""
FLUSH_S = 1.0
"""How long ``close`` waits for a peer to take what was already written. Host time: it bounds real I/O."""


class Pipe(Transport):
    """Open, data any number of times, lost exactly once, and lost only after release.

    A kind implements ``write`` and ``_release``; it calls ``_deliver`` with what arrives and ``_lose`` when it ends.
    Needs a running event loop. An exception out of the receiver ends the pipe with that reason and is reported to
    the loop's exception handler: it is a fault of this program, and neither the peer's nor to be swallowed.
    """

    def __init__(self, info: TransportInfo) -> None:
        self.info = info
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._lost = False
        self._closing = False
        self._reason: LinkClosedError | None = None
        self._announced = asyncio.Event()
        self._when_lost: list[Callable[[], None]] = []

    def start(self, receiver: Receiver) -> None:
        """Say who receives, and begin to read; called once, by whoever opened the pipe."""
        self._receiver = receiver

    def when_lost(self, callback: Callable[[], None]) -> None:
        """Call back after the receiver was told of the loss."""
        self._when_lost.append(callback)

    async def close(self) -> None:
        """Flush within a bound, release, and return when the receiver has been told."""
        self._closing = True
        try:
            if not self._lost:
                await self._flush()
        finally:
            self._lose(None)
        await self._announced.wait()

    async def _flush(self) -> None:
        """Wait, within a bound, until what was written has left."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of everything, now or soon, and then call ``_released`` once."""

    def _deliver(self, data: bytes) -> None:
        if self._lost or self._receiver is None:
            return
        try:
            self._receiver.data_received(data)
        except Exception as error:  # noqa: BLE001 - any fault of the receiver ends the link; see the class
            self._loop.call_exception_handler(
                {"message": f"{self.info.url}: the receiver of its data failed", "exception": error}
            )
            reason = LinkClosedError(f"{self.info.url}: the receiver of its data failed: {error!r}")
            reason.__cause__ = error
            self._lose(reason)

    def _lose(self, reason: LinkClosedError | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._reason = reason
            self._release()

    def _released(self) -> None:
        self._loop.call_soon(self._announce)

    def _announce(self) -> None:
        try:
            if self._receiver is not None:
                self._receiver.connection_lost(self._reason)
        finally:
            self._announced.set()
            for callback in self._when_lost:
                callback()

    def _gone(self) -> LinkClosedError:
        """Word for whoever still writes why that is no use."""
        why = "we closed it" if self._reason is None else str(self._reason)
        error = LinkClosedError(f"{self.info.url} is closed: {why}")
        error.__cause__ = self._reason
        return error


class DescriptorPipe(Pipe):
    """A stream on a non-blocking file descriptor: what TCP, a pseudo-terminal and a serial port have in common.

    ``release`` closes the descriptor; ``ended`` words the reason for an end of file. ``receive`` and ``send`` stand in
    for ``os.read`` and ``os.write`` (a socket's own, which raise no SIGPIPE). More than ``UNSENT_LIMIT_BYTES`` waiting
    to be sent ends the pipe: a peer that does not read must cost neither memory nor time.
    """

    def __init__(
        self,
        descriptor: int,
        info: TransportInfo,
        *,
        release: Callable[[], None],
        ended: str,
        receive: Callable[[int], bytes] | None = None,
        send: Callable[[bytes], int] | None = None,
    ) -> None:
        super().__init__(info)
        self._descriptor = descriptor
        self._close_descriptor = release
        self._ended = ended
        self._receive: Callable[[int], bytes] = receive or partial(os.read, descriptor)
        self._send: Callable[[bytes], int] = send or partial(os.write, descriptor)
        self._unsent = bytearray()
        self._drained = asyncio.Event()

    def start(self, receiver: Receiver) -> None:
        """Begin to read."""
        super().start(receiver)
        if not self._lost:
            self._loop.add_reader(self._descriptor, self._readable)

    def write(self, data: bytes) -> None:
        """Send at once what the system takes, the rest as it takes it."""
        if self._closing:
            raise self._gone()
        if self._unsent:
            self._keep(data)
            return
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._fail(error)
            raise self._gone() from error
        if sent < len(data):
            self._keep(data[sent:])
            self._loop.add_writer(self._descriptor, self._writable)

    def _keep(self, data: bytes) -> None:
        if len(self._unsent) + len(data) > UNSENT_LIMIT_BYTES:
            self._lose(
                LinkClosedError(
                    f"{self.info.url}: the other end does not read; {len(self._unsent) + len(data)} bytes "
                    f"would be waiting unsent, the limit is {UNSENT_LIMIT_BYTES}"
                )
            )
            raise self._gone()
        self._unsent += data

    def _writable(self) -> None:
        try:
            sent = self._send(bytes(self._unsent[:READ_SIZE]))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._descriptor)
            self._drained.set()

    def _readable(self) -> None:
        try:
            data = self._receive(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error)
            return
        if data:
            self._deliver(data)
        else:
            self._lose(LinkClosedError(f"{self.info.url}: {self._ended}"))

    def _fail(self, error: OSError) -> None:
        reason = LinkClosedError(f"{self.info.url}: {self._ended} ({error.strerror or error})")
        reason.__cause__ = error
        self._lose(reason)

    async def _flush(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._unsent:
            self._drained.clear()
            try:
                await asyncio.wait_for(self._drained.wait(), FLUSH_S)
            except TimeoutError:
                return  # the peer had its chance; what is left goes with the pipe, as with any unplugged cable

    def _release(self) -> None:
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._unsent.clear()
        self._drained.set()
        self._close_descriptor()
        self._released()


class PipeListener(Listener):
    """What listeners have in common: they hand out pipes, keep track of them and close them when they close."""

    def __init__(self, url: str, accept: Acceptor) -> None:
        self.url = url
        self._accept = accept
        self._loop = asyncio.get_running_loop()
        self._pipes: set[Pipe] = set()
        self._closed = False

    async def close(self) -> None:
        """Stop accepting, then close what was accepted."""
        if not self._closed:
            self._closed = True
            self._stop_accepting()
        await asyncio.gather(*(pipe.close() for pipe in self._pipes))

    @abstractmethod
    def _stop_accepting(self) -> None:
        """Give the place back; called once."""

    def _adopt(self, pipe: Pipe) -> None:
        """Ask who receives, then begin; a failing acceptor costs its own client only."""
        self._pipes.add(pipe)
        pipe.when_lost(partial(self._pipes.discard, pipe))
        try:
            receiver = self._accept(pipe)
        except Exception as error:  # noqa: BLE001 - the listener outlives one failed accept, and says so
            self._loop.call_exception_handler({"message": f"{self.url}: the acceptor failed", "exception": error})
            reason = LinkClosedError(f"{self.url}: the acceptor failed: {error!r}")
            pipe._lose(reason)  # noqa: SLF001 - a pipe and its listener are one piece of machinery
            return
        pipe.start(receiver)
