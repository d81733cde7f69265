"""Which scheme is opened by what; and the wrappers that a URL asks for.

Vendor libraries load when their scheme is used, never before. Third parties register in the entry-point group
``telemetry.transports``: the name is the scheme, the object ``async def (url, receiver, clock) -> Transport``; our own
``sim:`` comes through the same door.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from telemetry.errors import LinkOpenError, UnknownScheme, UsageError
from telemetry.transport.base import Acceptor, Listener, Receiver, Transport
from telemetry.transport.capture import CaptureWriter
from telemetry.transport.faults import Classifier, FaultPlan
from telemetry.transport.throttle import Throttle
from telemetry.transport.url import TransportURL, parse_url
from telemetry.transport.wrappers import Annotate, Chunk, Cutter, Fault, Mtu, Record, Wrapper, ZeroCutter

if TYPE_CHECKING:
    from telemetry.clock import Clock
    from telemetry.transport.ble_scan import BleBackend

Connector = Callable[[TransportURL, Receiver, "Clock"], Awaitable[Transport]]
Binder = Callable[[TransportURL, Acceptor, "Clock"], Awaitable[Listener]]

GROUP = "telemetry.transports"
_CONNECTORS = {
    "ble": "telemetry.transport.ble",
    "mqtt": "telemetry.transport.mqtt",
    "mqtts": "telemetry.transport.mqtt",
    "serial": "telemetry.transport.serialport",
    "tcp": "telemetry.transport.stream",
}
_PERIPHERAL = "telemetry.transport.ble_peripheral"
_LISTENERS = {
    # Each kind of Bluetooth controller that bumble drives; "radio" is one in this process.
    **{
        f"ble+{kind}": _PERIPHERAL for kind in ("hci-socket", "netsim", "radio", "serial", "tcp", "unix", "usb", "vhci")
    },
    "mqtt": "telemetry.transport.mqtt",
    "mqtts": "telemetry.transport.mqtt",
    "pty": "telemetry.transport.pty",
    "rfc2217": "telemetry.transport.rfc2217",
    "serial": "telemetry.transport.serialport",
    "tcp": "telemetry.transport.stream",
}
WRAPPER_PARAMETERS = ("record", "fault", "fault-seed", "chunk", "mtu", "baud")
_CUTS_FRAMES = frozenset({"ble"})
"""Schemes that cut frames into segments themselves: there ``mtu`` is the segments' limit, and no wrapper's."""
_BACKEND_SCHEME = "ble"
_SIMULATED = frozenset({"sim", "replay"})
"""Schemes behind which there is never a device."""
_MISSING = object()
_LARGEST_SEED = (1 << 59) - 1
_SIZES = {"chunk": (1, 65_536), "mtu": (1, 65_536), "baud": (50, 4_000_000)}
"""Wrapper parameters that are one number: bytes, and the baud rates that terminals know."""


def known_schemes() -> tuple[str, ...]:
    """Every scheme that ``open_transport`` can open here, third parties' included, sorted."""
    return tuple(sorted({*_CONNECTORS, "serial+HANDLER", *_entry_points()}))


def known_listeners() -> tuple[str, ...]:
    """Every scheme that ``listen`` can offer a device at, sorted."""
    return tuple(sorted(_LISTENERS))


def _entry_points() -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=GROUP):
        twin = found.get(point.name)
        if point.name in _CONNECTORS or (twin is not None and twin.value != point.value):
            owners = ", ".join(f"{p.value} of {p.dist.name if p.dist else '?'}" for p in (twin, point) if p is not None)
            raise UsageError(
                f"the scheme {point.name!r} is claimed twice ({owners}"
                f"{', and built in' if point.name in _CONNECTORS else ''}); uninstall one of the packages"
            )
        found[point.name] = point
    return found


def _wrapper_parameters(url: TransportURL) -> tuple[str, ...]:
    if url.scheme.partition("+")[0] not in _CUTS_FRAMES:
        return WRAPPER_PARAMETERS
    return tuple(name for name in WRAPPER_PARAMETERS if name != "mtu")


def _unknown(url: TransportURL, known: tuple[str, ...]) -> UnknownScheme:
    return UnknownScheme(f"{url}: no transport has the scheme {url.scheme!r}; known are {', '.join(known)}")


def _connector(url: TransportURL) -> Connector:
    module = _CONNECTORS.get("serial" if url.scheme.startswith("serial+") else url.scheme)
    if module is not None:
        return cast("Connector", import_module(module).connect)
    point = _entry_points().get(url.scheme)
    if point is None:
        raise _unknown(url, known_schemes())
    try:
        return cast("Connector", point.load())
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{url}: the scheme {url.scheme!r} is provided by {point.value}, which fails: {error}"
        ) from error


def _binder(module: str, url: TransportURL) -> Binder:
    try:
        return cast("Binder", import_module(module).listen)
    except ImportError as error:
        if module != _PERIPHERAL:
            raise
        raise LinkOpenError(
            f"{url}: offering a telemeter over Bluetooth needs bumble, which cannot be loaded ({error}); "
            f"install the extra: pip install 'itb-telemetry[ble]'"
        ) from error


def check_backend(url: TransportURL | None, backend: object) -> None:
    """Raise ``UsageError`` for a ``backend`` without bleak's classes, and for any if the URL is no Bluetooth link's."""
    if backend is None:
        return
    if url is None or url.scheme != _BACKEND_SCHEME:
        what = "a pump in this process" if url is None else url
        raise UsageError(f"backend: {what} is no Bluetooth link; leave backend= out, or give a {_BACKEND_SCHEME}: URL")
    for part in ("client", "scanner"):
        if not isinstance(getattr(backend, part, _MISSING), type | None):
            raise UsageError(
                f"backend: {backend!r} has no class {part!r} for bleak; give a BumbleAdapter, or "
                f"telemetry.transport.ble.Backend(client=…, scanner=…)"
            )


async def open_transport(  # noqa: PLR0913 - all but two have a default
    url: TransportURL | str,
    receiver: Receiver,
    *,
    clock: Clock,
    classifier: Classifier | None = None,
    annotate: Annotate | None = None,
    cutter: Callable[[], Cutter] = ZeroCutter,
    faults: FaultPlan | None = None,
    backend: BleBackend | None = None,
    layout: str | None = None,
) -> Transport:
    """Open a link; everything or nothing. ``receiver`` gets what it brings, from the next turn of the loop on.

    Wrappers are taken from the query, the first named next to the caller: ``record=FILE``, ``fault=RULES`` with
    ``fault-seed=N``, ``chunk=BYTES``, ``mtu=BYTES``, ``baud=RATE``. ``faults`` puts a plan of the caller's own next to
    the wire. ``classifier`` names frame types for fault rules, ``annotate`` adds opened messages to captures,
    ``cutter`` divides streams into frames for both. ``backend`` has bleak's classes for this Bluetooth link alone.
    ``layout`` is the fingerprint of the wire table for a capture's header.

    Raises ``UnknownScheme``, ``UsageError`` (URL, parameter, combination) or ``LinkOpenError``.
    """
    url = parse_url(url) if isinstance(url, str) else url
    connect = _connector(url)
    check_backend(url, backend)
    if backend is not None:
        connect = cast("Connector", partial(cast("Callable[..., Awaitable[Transport]]", connect), backend=backend))
    simulated = True if url.scheme in _SIMULATED else None
    with_wrappers = _Wrapping(url, clock, classifier, annotate, cutter, simulated=simulated, layout=layout)
    layers = with_wrappers.layers(owns=True)
    if faults is not None:
        layers.append(Fault(faults, clock, classifier=classifier, cutter=cutter))
    outer: Receiver = receiver
    for layer in layers:
        layer.bind(outer)
        outer = layer
    try:
        transport = await connect(url.without(_wrapper_parameters(url)), outer, clock)
    except BaseException:
        _give_up(layers)
        raise
    try:
        return _attach(layers, transport)
    except BaseException:
        _give_up(layers)
        await transport.close()
        raise


async def listen(
    url: TransportURL | str,
    accept: Acceptor,
    *,
    clock: Clock,
    classifier: Classifier | None = None,
    annotate: Annotate | None = None,
    cutter: Callable[[], Cutter] = ZeroCutter,
    layout: str | None = None,
) -> Listener:
    """Offer a device; ``accept`` is called with each transport that a client opens, wrapped as the query asks.

    Fault rules of the URL are shared by all clients, their counters included; so is the capture, which calls itself
    simulated. Raises as ``open_transport`` does; ``LinkOpenError`` when the place cannot be had.
    """
    url = parse_url(url) if isinstance(url, str) else url
    module = _LISTENERS.get(url.scheme)
    if module is None:
        raise _unknown(url, known_listeners())
    bind = _binder(module, url)
    wrapping = _Wrapping(url, clock, classifier, annotate, cutter, simulated=True, layout=layout)

    def accept_wrapped(transport: Transport) -> Receiver:
        layers = wrapping.layers(owns=False)
        if not layers:
            return accept(transport)
        layers[0].bind(accept(_attach(layers, transport)))
        for inner, outer in zip(layers[1:], layers, strict=False):
            inner.bind(outer)
        return layers[-1]

    try:
        listener = await bind(url.without(_wrapper_parameters(url)), accept_wrapped, clock)
    except BaseException:
        wrapping.close()
        raise
    return _WrappedListener(listener, wrapping) if wrapping.writer is not None else listener


def _attach(layers: list[Wrapper], transport: Transport) -> Transport:
    for layer in reversed(layers):
        layer.attach(transport)
        transport = layer
    return transport


def _give_up(layers: list[Wrapper]) -> None:
    for layer in layers:
        layer.bind(None)
        layer.release()


class _Wrapping:
    """The wrappers that a URL asks for, made afresh for every link; the capture and the plan are shared by them."""

    def __init__(
        self,
        url: TransportURL,
        clock: Clock,
        classifier: Classifier | None,
        annotate: Annotate | None,
        cutter: Callable[[], Cutter],
        *,
        simulated: bool | None,
        layout: str | None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._classifier = classifier
        self._annotate = annotate
        self._cutter = cutter
        wrappers = _wrapper_parameters(url)
        self._order = [name for name in url.params if name in wrappers and name != "fault-seed"]
        self._sizes = {
            name: url.optional_integer(name, low=low, high=high)
            for name, (low, high) in _SIZES.items()
            if name in self._order
        }
        if "fault-seed" in url.params and "fault" not in url.params:
            raise UsageError(f"{url}: fault-seed says nothing without fault=RULES")
        seed = url.integer("fault-seed", 0, low=0, high=_LARGEST_SEED)
        try:
            self._plan = FaultPlan.parse(url.params["fault"], seed=seed) if "fault" in url.params else None
            if self._plan is not None:
                self._plan.attach(classified=classifier is not None)
        except UsageError as error:
            raise UsageError(f"{url}: {error}") from None
        # Last, for this is the one that holds something: the file.
        self.writer = (
            CaptureWriter(Path(url.params["record"]), clock, simulated=simulated, layout=layout)
            if "record" in url.params
            else None
        )

    def layers(self, *, owns: bool) -> list[Wrapper]:
        """Make the wrappers of one link, the one next to the user first."""
        return [self._layer(name, owns=owns) for name in self._order]

    def close(self) -> None:
        """Give the capture free."""
        if self.writer is not None:
            self.writer.close()

    def _layer(self, name: str, *, owns: bool) -> Wrapper:
        if name == "record" and self.writer is not None:
            return Record(self.writer, self._clock, annotate=self._annotate, cutter=self._cutter, owns=owns)
        if name == "fault" and self._plan is not None:
            return Fault(self._plan, self._clock, classifier=self._classifier, cutter=self._cutter)
        if name == "baud":
            return Throttle(self._sizes[name], self._clock)
        return Chunk(self._sizes[name]) if name == "chunk" else Mtu(self._sizes[name])


class _WrappedListener(Listener):
    """A listener whose capture is closed with it."""

    def __init__(self, listener: Listener, wrapping: _Wrapping) -> None:
        self.url = listener.url
        self._listener = listener
        self._wrapping = wrapping

    async def close(self) -> None:
        try:
            await self._listener.close()
        finally:
            self._wrapping.close()
