"""The HTTP server under the provider: the library's dispatch, with an address, bounds and an end of its own.

The library's server takes whatever port the system gives it, any number of connections and any length of body, does the
TLS handshake in its accept loop, and sends head and body of an answer apart, which costs a delayed acknowledgement
(44 ms a read) on every keep-alive connection. This one is handed to the provider as its shared server.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import threading
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

from sdc11073.dispatch import PathElementRegistry
from sdc11073.exceptions import InvalidPathError
from sdc11073.httpserver.compression import CompressionHandler
from sdc11073.httpserver.httprequesthandler import DispatchingRequestHandler

from telemetry.errors import UsageError

if TYPE_CHECKING:
    import ssl

LONGEST_BODY = 256 * 1024
"""A request of SDC to a provider without operations is a few thousand bytes."""
MOST_CONNECTIONS = 32
IDLE_S = 120
"""Twice the longest subscription: whoever still lives renews within it."""
HANDSHAKE_S = 5
STOP_S = 5
_BACKLOG = 16
_log = logging.getLogger("sdc.itb.http")


class _BadRequestError(Exception):
    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class _Handler(DispatchingRequestHandler):
    """One connection, in its own thread."""

    timeout: ClassVar[float | None] = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server looks for
        try:
            super().do_POST()  # type: ignore[no-untyped-call]
        except _BadRequestError as problem:
            self.close_connection = True
            self.send_error(problem.status, problem.words)
        self.wfile.flush()

    def do_GET(self) -> None:  # noqa: N802 - as above
        try:
            super().do_GET()  # type: ignore[no-untyped-call]
        except InvalidPathError as problem:
            self.close_connection = True
            self.send_error(problem.status, problem.reason)
        self.wfile.flush()

    def _read_request(self) -> bytes:
        """The body, bounded, whatever the head says of its length and its packing."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks()
        else:
            body = self._exactly(self._number(self.headers.get("content-length") or "", 10))
        packing = (self.headers.get("content-encoding") or "").lower()
        if packing in {"", "identity"}:
            return body
        if packing != "gzip":
            raise _BadRequestError(415, f"content-encoding {packing[:20]!r}: send it plain or as gzip")
        return _unpacked(body)

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._number(self._line().partition(b";")[0].decode("ascii", "replace"), 16):
            body += self._exactly(size, left=LONGEST_BODY - len(body))
            self._line()
        self._line()
        return bytes(body)

    def _line(self) -> bytes:
        return self.rfile.readline(1024).strip()

    def _number(self, text: str, base: int) -> int:
        try:
            number = int(text.strip(), base)
        except ValueError:
            raise _BadRequestError(411, f"length {text[:20]!r} is no number") from None
        if number < 0:
            raise _BadRequestError(411, f"length {number} is below 0")
        return number

    def _exactly(self, size: int, *, left: int = LONGEST_BODY) -> bytes:
        if size > left:
            raise _BadRequestError(413, f"a body of more than {LONGEST_BODY} bytes")
        body = self.rfile.read(size)
        if len(body) < size:
            raise _BadRequestError(400, f"a body that ends after {len(body)} of {size} bytes")
        return body

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as http.server declares it
        _log.debug(format, *args)


def _unpacked(body: bytes) -> bytes:
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = unpacking.decompress(body, LONGEST_BODY)
    except zlib.error as problem:
        raise _BadRequestError(400, f"a body that is no gzip: {problem}") from None
    if unpacking.unconsumed_tail:
        raise _BadRequestError(413, f"a body of more than {LONGEST_BODY} bytes")
    return plain


class _Server(socketserver.TCPServer):
    """Accepts; each connection has a thread, at most ``MOST_CONNECTIONS`` of them at a time."""

    allow_reuse_address = True
    request_queue_size = _BACKLOG

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None) -> None:
        self.logger = logging.getLogger("sdc.device.httpsrv")
        self.dispatcher: Any = PathElementRegistry()  # type: ignore[no-untyped-call]
        self.chunk_size = 0
        self.supported_encodings = CompressionHandler.available_encodings
        self._context = context
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._closing = False
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as socketserver declares it
        with self._lock:
            full = self._closing or len(self._open) >= MOST_CONNECTIONS
            if not full:
                thread = threading.Thread(
                    target=self._talk,
                    args=(request, client_address),
                    name=f"sdc-connection-{client_address[1]}",
                    daemon=True,
                )
                self._open[thread] = request
                thread.start()
        if full:
            _log.warning("connection from %s refused: %d are open already", client_address, MOST_CONNECTIONS)
            self.shutdown_request(request)

    def _talk(self, request: socket.socket, client_address: Any) -> None:  # noqa: ANN401 - as above
        connection = request
        try:
            request.settimeout(HANDSHAKE_S)
            if self._context is not None:
                connection = self._context.wrap_socket(request, server_side=True)
                with self._lock:
                    self._open[threading.current_thread()] = connection
                    if self._closing:
                        return
            self.finish_request(connection, client_address)
        except OSError as problem:
            _log.info("connection from %s ended: %s", client_address, problem)
        except Exception:  # noqa: BLE001 - a request that nobody foresaw must not end the server, and must be seen
            _log.exception("request from %s failed", client_address)
        finally:
            self.shutdown_request(connection)
            with self._lock:
                del self._open[threading.current_thread()]

    def end(self) -> None:
        """Stop accepting, end what is open, wait for every thread."""
        self.shutdown()
        self.server_close()
        with self._lock:
            self._closing = True
            threads = list(self._open)
            for connection in self._open.values():
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(STOP_S)


class HttpServer:
    """Listens once made; raises ``UsageError`` where the address cannot be had. ``port`` 0 lets the system choose."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        try:
            self._server = _Server((host, port), context)
        except (OSError, OverflowError) as problem:
            raise UsageError(
                f"--bind {host} --port {port}: cannot listen there: {problem}; "
                "take an address of this machine and a port that is free (0 lets the system choose)"
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="sdc-http", daemon=True)
        self._thread.start()

    @property
    def dispatcher(self) -> Any:  # noqa: ANN401 - the provider's own registry
        """Where the provider registers itself."""
        return self._server.dispatcher

    @property
    def server_port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """End every connection and every thread."""
        self._server.end()
        self._thread.join(STOP_S)
