"""The back door of a served simulator: a small HTTP + JSON application on loopback, behind a token.

=======================  ==============================================================================
request                  answer
=======================  ==============================================================================
``GET /v1/inspect``      truth beside belief, the drug ledger, alarms, telemeter, sessions, counters
``POST /v1/advance``     ``{"days":…,"hours":…,"minutes":…,"seconds":…,"ms":…}``: jumps therapy time; the
                         events that happened, each at its exact instant
``POST /v1/contact``     ``{"coupling_bars": 0…5}``: lifts or places the telemeter
``GET /v1/snapshot``     the state of the pump, restorable
``GET /v1/faults``       the catalogue of faults, and every order that is armed
``POST /v1/…``           an act of ``tampering.py``: fault, fault/clear, needle, environment, mri, …;
                         what it did, and the events that happened at once
=======================  ==============================================================================

Every answer carries ``"simulated": true``. A refusal is ``{"error": …, "field": …, "limit": …}`` with status 400
(the request), 401 (no token), 403 (a wrong token or Host), 404, 405 or 413.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import json
import secrets
import socket
from typing import TYPE_CHECKING, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from telemetry.clock import span_ms
from telemetry.errors import LinkOpenError, TelemetryError, UsageError
from telemetry.sim.nearfield import FULL_COUPLING_BARS
from telemetry.sim.tampering import TAMPERINGS
from telemetry.transport.url import parse_url
from telemetry.units import MS_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

DEFAULT_URL = "http://127.0.0.1:0"
LONGEST_ADVANCE_MS = 36_525 * MS_PER_DAY
"""A hundred years: eleven times the longest life of a pump (domain.md 2.4)."""
LARGEST_BODY_BYTES = 4_096
_SPAN_PARTS = ("days", "hours", "minutes", "seconds", "ms")
_TOKEN_BYTES = 32
_LINES = 16


class Bench(Protocol):
    """What the back door does; the served simulator provides it."""

    def inspect(self) -> dict[str, object]:
        """Truth beside belief."""
        ...

    def advance(self, ms: int) -> dict[str, object]:
        """Jump therapy time; returns the events that happened."""
        ...

    def contact(self, coupling_bars: int) -> dict[str, object]:
        """Place or lift the telemeter."""
        ...

    def snapshot(self) -> dict[str, object]:
        """The restorable state."""
        ...

    def faults(self) -> dict[str, object]:
        """The catalogue, and what is armed."""
        ...

    def tamper(self, act: str, body: Mapping[str, object]) -> dict[str, object]:
        """Do one of ``TAMPERINGS``; returns what it did and the events that happened."""
        ...


def loopback_address(text: str) -> tuple[str, int]:
    """Host and port of ``http://127.0.0.1:PORT`` (port 0: any free one).

    Raises ``UsageError`` for another scheme, a parameter, or an address that other machines could reach.
    """
    url = parse_url(text)
    if url.scheme != "http":
        raise UsageError(f"control URL {text!r}: the scheme must be http, as in http://127.0.0.1:0; or say 'none'")
    url.allow()
    host, port = url.host_port(lowest_port=0)
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"control URL {text!r}: {host} can be reached from other machines; the back door listens on loopback "
            "only, as in http://127.0.0.1:0"
        )
    return ("127.0.0.1" if host == "localhost" else host), port


def new_token() -> str:
    """A fresh bearer token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def application(bench: Bench, token: str, hosts: frozenset[str]) -> ASGIApp:
    """The ASGI application. ``hosts`` are the Host headers it answers to (a web page cannot forge those)."""

    async def inspect(_request: Request) -> Response:
        return JSONResponse(_marked(bench.inspect()))

    async def advance(request: Request) -> Response:
        parts = await _body(request, _SPAN_PARTS)
        span = {name: _whole(name, value) for name, value in parts.items()}
        ms = span_ms(**span)
        if not 0 < ms <= LONGEST_ADVANCE_MS:
            raise _BadRequestError(
                f"advance: {ms} ms is outside 1 ms to {LONGEST_ADVANCE_MS // MS_PER_DAY} days",
                field="ms",
                limit=LONGEST_ADVANCE_MS,
            )
        return JSONResponse(_marked(bench.advance(ms)))

    async def contact(request: Request) -> Response:
        parts = await _body(request, ("coupling_bars",))
        if "coupling_bars" not in parts:
            raise _BadRequestError("contact: coupling_bars is missing", field="coupling_bars", limit=FULL_COUPLING_BARS)
        bars = _whole("coupling_bars", parts["coupling_bars"])
        if bars > FULL_COUPLING_BARS:
            raise _BadRequestError(
                f"coupling_bars: {bars} is outside 0 (lifted) to {FULL_COUPLING_BARS}",
                field="coupling_bars",
                limit=FULL_COUPLING_BARS,
            )
        return JSONResponse(_marked(bench.contact(bars)))

    async def snapshot(_request: Request) -> Response:
        return JSONResponse(_marked(bench.snapshot()))

    async def faults(_request: Request) -> Response:
        return JSONResponse(_marked(bench.faults()))

    def tampering(act: str) -> Route:
        async def tamper(request: Request) -> Response:
            body = await _body(request, TAMPERINGS[act].fields)
            return JSONResponse(_marked(bench.tamper(act, body)))

        return Route(f"/v1/{act}", tamper, methods=["POST"])

    app = Starlette(
        routes=[
            Route("/v1/inspect", inspect, methods=["GET"]),
            Route("/v1/advance", advance, methods=["POST"]),
            Route("/v1/contact", contact, methods=["POST"]),
            Route("/v1/snapshot", snapshot, methods=["GET"]),
            Route("/v1/faults", faults, methods=["GET"]),
            *(tampering(act) for act in TAMPERINGS),
        ],
        exception_handlers={HTTPException: _http_error, TelemetryError: _refusal, _BadRequestError: _refusal},
    )
    return _Guard(app, token, hosts)


class ControlServer:
    """The application on its own socket, in the running event loop; ``url`` is where it really is."""

    def __init__(self, bench: Bench, url: str = DEFAULT_URL, *, token: str | None = None) -> None:
        self.token = token if token is not None else new_token()
        self._bench = bench
        host, port = loopback_address(url)
        self._socket = _bind(url, host, port)
        bound = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{bound}"
        self._hosts = frozenset({f"{shown}:{bound}", f"localhost:{bound}"})
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Answer from now on."""
        config = uvicorn.Config(
            application(self._bench, self.token, self._hosts),
            log_config=None,
            access_log=False,
            lifespan="off",
            http="h11",
            ws="none",
            loop="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="control plane")
        # uvicorn tells by a flag only; it is set within two turns of the loop, since the socket is already bound.
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Stop answering and free the port. Idempotent."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task
            self._server = self._task = None
        self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the command that serves."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _bind(url: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(_LINES)
        sock.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    except OSError as error:
        sock.close()
        raise LinkOpenError(
            f"{url}: the control port cannot be had: {error.strerror}; choose another, or http://{host}:0 for any"
        ) from error
    return sock


class _BadRequestError(UsageError):
    """The request is wrong: what, which field, which limit."""

    def __init__(self, message: str, *, field: str = "", limit: int | None = None) -> None:
        self.field = field
        self.limit = limit
        super().__init__(message)


class _Guard:
    """Lets in who names the right host and knows the token."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        given = headers.get(b"authorization", b"")
        if host not in self._hosts:
            response = _error(403, f"Host {host!r} is not this simulator; right is {min(self._hosts)}", "host")
        elif not given:
            response = _error(401, "no token: send 'Authorization: Bearer …' from the runtime file", "authorization")
        elif not hmac.compare_digest(given, self._expected):
            response = _error(403, "wrong token: it is in the simulator's runtime file", "authorization")
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)


async def _body(request: Request, known: tuple[str, ...]) -> Mapping[str, object]:
    text = b""
    async for piece in request.stream():
        text += piece
        if len(text) > LARGEST_BODY_BYTES:
            raise HTTPException(413, f"the body has more than {LARGEST_BODY_BYTES} bytes")
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError) as error:
        raise _BadRequestError(f"the body is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise _BadRequestError("the body is no JSON object")
    for name in found:
        if name not in known:
            has = f"known are {', '.join(known)}" if known else "this request has none"
            raise _BadRequestError(f"{name!r} is unknown; {has}", field=str(name))
    return found


def _whole(name: str, value: object) -> int:
    if type(value) is not int or value < 0:
        raise _BadRequestError(f"{name}: {value!r} is no whole number from 0", field=name, limit=0)
    return value


def _marked(content: Mapping[str, object]) -> dict[str, object]:
    return {"simulated": True, **content}


def _error(status: int, message: str, field: str = "", limit: int | None = None) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": message, "field": field, "limit": limit}, status_code=status, headers=headers)


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return _error(status, detail)


async def _refusal(_request: Request, error: Exception) -> Response:
    limit = getattr(error, "limit", None)
    return _error(400, str(error), str(getattr(error, "field", "")), limit if isinstance(limit, int) else None)
