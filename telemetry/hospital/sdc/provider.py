"""The provider as the rest of the house sees it: made from a first reading, fed with sightings, stopped.

sdc11073 works with threads; they stay in here. Every method may take a while (a subscriber that does not answer holds
it for ``SUBSCRIBER_S`` at most) and belongs on a thread of its own, one call at a time: ``keep`` does that.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sdc11073.certloader import SSLContextContainer
from sdc11073.location import SdcLocation
from sdc11073.provider import SdcProvider
from sdc11073.provider.providerimpl import provider_components_sync_factory
from sdc11073.provider.subscriptionmgr import PathDispatchingSubscriptionsManager
from sdc11073.pysoap.soapenvelope import Fault, faultcodeEnum
from sdc11073.wsdiscovery import WSDiscovery
from sdc11073.xml_types.dpws_types import ThisDeviceType, ThisModelType

from telemetry.errors import UsageError
from telemetry.hospital import codes
from telemetry.hospital.readable import need_simulated
from telemetry.hospital.sdc import tree
from telemetry.hospital.sdc.httpd import HttpServer
from telemetry.hospital.sdc.states import Ages, States, Validity
from telemetry.interrogation import Interrogation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from uuid import UUID

    from telemetry.clock import Clock
    from telemetry.interrogation import Sighting

_Fault: Any = Fault  # typed in part only
SUBSCRIBER_S = 5
"""How long one subscriber may take for a report before it counts as gone."""
SUBSCRIPTION_S = 60
MOST_SUBSCRIPTIONS = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where it listens and what it is called. ``port`` 0 lets the system choose; ``epr`` None follows the pump's id."""

    bind: str = "127.0.0.1"
    port: int = 0
    epr: UUID | None = None
    location: tuple[str, str, str] | None = None
    tls: tuple[Path, Path, Path] | None = None
    discovery: bool = False


class _Subscriptions(PathDispatchingSubscriptionsManager):
    """At most so many subscribers: each one costs time at every report. Who has unsubscribed gets none any more."""

    def _get_subscriptions_for_action(self, action: str) -> list[Any]:
        # The library forgets an unsubscribed one a second later, and meanwhile sends to where nobody listens.
        found: list[Any] = super()._get_subscriptions_for_action(action)
        return [one for one in found if one.unsubscribed_at is None]

    def on_subscribe_request(self, request_data: Any) -> Any:  # noqa: ANN401 - the library's own
        with self._subscriptions.lock:
            full = len(self._subscriptions.objects) >= MOST_SUBSCRIPTIONS
        if not full:
            return super().on_subscribe_request(request_data)
        fault: Any = _Fault()
        fault.Code.Value = faultcodeEnum.RECEIVER
        fault.add_reason_text(f"{MOST_SUBSCRIPTIONS} subscriptions are taken already; unsubscribe one, or wait")
        return self._msg_factory.mk_reply_soap_message(request_data, fault)


class _NoDiscovery:
    """What the provider asks of WS-Discovery where nothing is to be announced to anybody."""

    def __init__(self, address: str) -> None:
        self.active_address = address

    def publish_service(self, *_what: object) -> None:
        """Says nothing."""

    def clear_service(self, epr: str) -> None:
        """Has nothing to take back."""

    def stop(self) -> None:
        """Has no threads."""


class PumpProvider:
    """Serves one pump from the moment it is made. Raises ``UsageError`` for a place that cannot be had."""

    def __init__(self, seen: Interrogation, place: Place, *, poll_ms: int, ages: Ages) -> None:
        need_simulated(seen.identity)
        context = None if place.tls is None else _tls(*place.tls)
        self._pump_id = seen.identity.pump_id
        self._ages = ages
        self._lock = threading.Lock()
        self._last = seen
        self._missed = False
        self._validity = Validity.VALID
        self._mdib = tree.describe(seen, poll_ms=poll_ms)
        self._states = States(self._mdib, seen)
        self._http = HttpServer(_address(place.bind), place.port, None if context is None else context.server_context)
        try:
            self._discovery = _discovery(place)
            try:
                self._provider = self._served(seen, place, context)
            except BaseException:
                self._discovery.stop()
                raise
        except BaseException:
            self._http.stop()
            raise

    def _served(self, seen: Interrogation, place: Place, context: SSLContextContainer | None) -> Any:  # noqa: ANN401 - typed in part only
        who = seen.identity
        components = provider_components_sync_factory()
        del components.hosted_services["Set"]  # there is nothing that could be called
        components.subscriptions_manager_class = {"StateEvent": _Subscriptions}
        provider: Any = SdcProvider(
            self._discovery,
            ThisModelType(
                manufacturer="itb-telemetry, SIMULATED",
                manufacturer_url="about:blank",
                model_name=f"SIMULATED {who.model}",
                model_number=who.model,
            ),
            ThisDeviceType(
                friendly_name=f"SIMULATED pump {who.serial}",
                firmware_version=str(who.firmware),
                serial_number=who.serial,
            ),
            self._mdib,
            epr=place.epr or codes.named("sdc", who.pump_id.hex()),
            validate=True,
            ssl_context_container=context,
            max_subscription_duration=SUBSCRIPTION_S,
            socket_timeout=SUBSCRIBER_S,
            components=components,
        )
        provider.start_all(start_rtsample_loop=False, shared_http_server=self._http)
        if place.location is not None:
            facility, care, bed = place.location
            provider.set_location(SdcLocation(fac=facility, poc=care, bed=bed), publish_now=False)
        provider.publish()
        return provider

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_what: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """What a consumer connects to."""
        return str(self._provider.get_xaddrs()[0])

    @property
    def epr(self) -> str:
        """The endpoint reference, by which a consumer knows the device again."""
        return str(self._provider.epr_urn)

    @property
    def mdib(self) -> Any:  # noqa: ANN401 - the library's own
        """What is served, for whoever wants to compare."""
        return self._mdib

    def show(self, sighting: Sighting, now_utc_ms: int) -> None:
        """Take a sighting in. Another pump at the same place is no sighting of this one."""
        with self._lock:
            if isinstance(sighting, Interrogation) and sighting.identity.pump_id == self._pump_id:
                self._last, self._missed, self._validity = sighting, False, Validity.VALID
                self._states.show(sighting)
                self._states.contact(lost=False, at_ms=sighting.read_utc_ms)
            else:
                self._missed = True
                self._judge(now_utc_ms)

    def age(self, now_utc_ms: int) -> None:
        """Let readings grow old although no look has ended since."""
        with self._lock:
            self._judge(now_utc_ms)

    def stop(self) -> None:
        """Tell subscribers that it ends, close everything, end every thread."""
        with self._lock:
            self._provider.stop_all()
            self._discovery.stop()
            self._http.stop()

    def _judge(self, now_utc_ms: int) -> None:
        worth = self._ages.validity(now_utc_ms - self._last.read_utc_ms, missed=self._missed)
        if worth is not self._validity:
            self._validity = worth
            self._states.judge(self._last, worth)
            self._states.contact(lost=worth is not Validity.VALID, at_ms=now_utc_ms)


async def keep(
    provider: PumpProvider,
    sightings: AsyncIterator[Sighting],
    *,
    clock: Clock,
    utc_ms: Callable[[], int],
    every_ms: int,
    told: Callable[[Sighting], None] = lambda _sighting: None,
) -> None:
    """Feed a provider until the sightings end or the task is cancelled; lets readings grow old every ``every_ms``."""

    async def grow_old() -> None:
        while True:
            await clock.sleep_until(clock.link_ms() + every_ms)
            await asyncio.to_thread(provider.age, utc_ms())

    ageing = asyncio.create_task(grow_old())
    try:
        async for sighting in sightings:
            await asyncio.to_thread(provider.show, sighting, utc_ms())
            told(sighting)
    finally:
        ageing.cancel()
        await asyncio.gather(ageing, return_exceptions=True)


def _discovery(place: Place) -> Any:  # noqa: ANN401 - the library's own, or what stands for it
    if not place.discovery:
        return _NoDiscovery(place.bind)
    made: Any = WSDiscovery(place.bind)
    made.start()
    return made


def _address(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise UsageError(f"--bind: {text!r} is no IP address; 127.0.0.1 is this machine only") from None
    if found.version != 4 or found.is_unspecified:
        raise UsageError(f"--bind: {text} cannot be told to a consumer; give one IPv4 address of this machine")
    return text


def _tls(certificate: Path, key: Path, authority: Path) -> SSLContextContainer:
    """Both directions with TLS 1.2 at least; a peer must show a certificate of this authority (SDC asks for both)."""
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False  # peers are known by the authority that signed them, not by a host's name
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
            context.load_verify_locations(authority)
        except (OSError, ValueError) as problem:
            raise UsageError(
                f"--tls {certificate} {key} {authority}: {problem}; give three PEM files: certificate, its key without "
                "a password, and the authority that peers must be signed by"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    return SSLContextContainer(client_context=contexts[0], server_context=contexts[1])


def _no_password() -> str:
    raise ValueError("the key has a password")
