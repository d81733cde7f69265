"""The provider, as sdc11073's own consumer sees it: every message validated against the schemas of BICEPS and DPWS."""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import threading
import zlib
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("sdc11073", reason="the extra 'hospital' is not installed")

from sdc11073.certloader import mk_ssl_contexts
from sdc11073.wsdiscovery import WSDiscovery

from telemetry import FlowRate, Therapy, VirtualPump
from telemetry.alarm_table import PUMP_ROWS
from telemetry.errors import UsageError
from telemetry.hospital.metrics import METRICS
from telemetry.hospital.sdc import httpd, tree
from telemetry.hospital.sdc.provider import Place, PumpProvider, keep
from telemetry.hospital.sdc.states import Ages, Validity
from telemetry.interrogation import Interrogation, NotRead
from telemetry.model import AlarmKind
from tests.hospital.consuming import consumer, state, wait_until
from tests.hospital.looks import HAPPENINGS, POLL_MS, look, pump_after
from tests.support.skips import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from telemetry.interrogation import Sighting

pytestmark = pytest.mark.real
AGES = Ages(questionable_ms=15_000, invalid_ms=60_000)
LOW = AlarmKind.LOW_RESERVOIR
LOST = NotRead(0, "LinkTimeout", "no answer in time")


def seen_of(pump: VirtualPump) -> Interrogation:
    return asyncio.run(look(pump))


@pytest.fixture(scope="module")
def first() -> Interrogation:
    return seen_of(VirtualPump(seed=3))


@pytest.fixture(scope="module")
def standing(first: Interrogation) -> Iterator[PumpProvider]:
    """For tests that change nothing of it: a provider takes a second to end."""
    with PumpProvider(first, Place(), poll_ms=POLL_MS, ages=AGES) as made:
        yield made


@pytest.fixture
def provider(first: Interrogation) -> Iterator[PumpProvider]:
    with PumpProvider(first, Place(), poll_ms=POLL_MS, ages=AGES) as made:
        yield made


def show(provider: PumpProvider, sighting: Sighting, *, later_ms: int = 0) -> None:
    base_ms = sighting.read_utc_ms if isinstance(sighting, Interrogation) else 0
    provider.show(sighting, base_ms + later_ms)


def worth(mdib: Any) -> set[str]:  # noqa: ANN401 - the library's own
    return {str(state(mdib, metric.handle).MetricValue.MetricQuality.Validity.value) for metric in METRICS}


def test_the_consumer_sees_every_metric_with_value_unit_and_mode(standing: PumpProvider, first: Interrogation) -> None:
    with consumer(standing.address) as (_, mdib):
        for metric in METRICS:
            entity = mdib.entities.by_handle(metric.handle)
            value = entity.state.MetricValue
            assert value.Value == metric.read(first), metric.handle
            assert value.MetricQuality.Mode.value == "Test"
            assert value.MetricQuality.Validity.value == "Vld"
            assert round(value.DeterminationTime * 1_000) == first.read_utc_ms
            unit = entity.descriptor.Unit
            assert metric.unit.ucum in {unit.Code, *(other.Code for other in unit.Translation)}
        flow = mdib.entities.by_handle("flow-rate")
        assert (flow.descriptor.Type.Code, flow.state.MetricValue.Value) == ("157784", Decimal("0.17"))
        assert mdib.entities.by_handle(tree.channel_of(METRICS[0].channel)).descriptor.Type.Code == "126978"
        volume = mdib.entities.by_handle("reservoir-volume").descriptor.Type
        assert volume.CodingSystem.startswith("urn:oid:2.25.")
        assert [other.Code for other in volume.Translation] == ["157872"]


def test_everything_says_that_it_is_simulated(standing: PumpProvider) -> None:
    with consumer(standing.address) as (device, mdib):
        metadata = device.host_description
        assert "SIMULATED" in metadata.this_device.FriendlyName[0].text
        assert "SIMULATED" in metadata.this_model.ModelName[0].text
        about = mdib.entities.by_handle(tree.MDS).descriptor.MetaData
        assert "SIMULATED" in about.ModelName[0].text
        assert not about.Udi
        assert state(mdib, tree.MDS).OperatingMode.value == "Dmo"


def test_the_consumer_finds_nothing_that_it_could_command(standing: PumpProvider) -> None:
    with consumer(standing.address) as (device, mdib):
        names = mdib.data_model.pm_names
        assert not mdib.entities.by_node_type(names.ScoDescriptor)
        assert not [entity for entity in mdib.descriptions.objects if entity.is_operational_descriptor]
        assert device.set_service_client is None
        path = urlsplit(standing.address)
        connection = http.client.HTTPConnection(path.hostname or "", path.port, timeout=10)
        # Nor where the library would serve it.
        connection.request("POST", f"{path.path}/Set", b"<x/>", {"Content-Type": "application/soap+xml"})
        assert connection.getresponse().status >= 400
        connection.close()


def test_every_alarm_of_the_table_has_a_condition_and_two_signals(standing: PumpProvider) -> None:
    with consumer(standing.address) as (_, mdib):
        for row in PUMP_ROWS:
            assert isinstance(row.kind, AlarmKind)
            condition = mdib.entities.by_handle(tree.condition_of(row.kind))
            assert condition.descriptor.Kind.value == "Tec"
            assert condition.descriptor.Priority.value == {"low": "Lo", "medium": "Me", "high": "Hi"}[row.priority]
            assert row.advice.clinician in condition.descriptor.CauseInfo[0].RemedyInfo.Description[0].text
            assert not condition.state.Presence
            sound = mdib.entities.by_handle(tree.sound_of(row.kind))
            sign = mdib.entities.by_handle(tree.sign_of(row.kind))
            assert sound.descriptor.ConditionSignaled == sign.descriptor.ConditionSignaled == condition.handle
            assert (sound.descriptor.Manifestation.value, sound.state.Location.value) == ("Aud", "Loc")
            assert (sign.descriptor.Manifestation.value, sign.state.Location.value) == ("Vis", "Rem")
            assert sound.descriptor.Latching is row.latching


def test_a_low_reservoir_appears_is_silenced_and_clears() -> None:
    pump = VirtualPump(seed=3)
    with (
        PumpProvider(seen_of(pump), Place(), poll_ms=POLL_MS, ages=AGES) as provider,
        consumer(provider.address) as (_, mdib),
    ):
        condition, sound, sign = tree.condition_of(LOW), tree.sound_of(LOW), tree.sign_of(LOW)
        assert not state(mdib, condition).Presence

        pump.advance_until("alarm_raised", "low_reservoir")
        show(provider, seen_of(pump))
        wait_until(mdib, lambda: state(mdib, condition).Presence)
        wait_until(mdib, lambda: state(mdib, sound).Presence.value == "On")
        assert state(mdib, sign).Presence.value == "On"
        assert state(mdib, condition).Limits.Lower == 2
        assert state(mdib, tree.ALERTS).PresentTechnicalAlarmConditions == [condition]

        asyncio.run(silence(pump))
        show(provider, seen_of(pump))
        wait_until(mdib, lambda: state(mdib, sound).ActivationState.value == "Psd")
        assert state(mdib, sound).Presence.value == "Off"
        assert state(mdib, condition).Presence, "silencing is of the signal, not of the condition"
        assert state(mdib, sign).Presence.value == "On"
        assert state(mdib, tree.ALERTS).SystemSignalActivation[0].State.value == "On", "others would still sound"

        pump.refill()
        show(provider, seen_of(pump))
        wait_until(mdib, lambda: not state(mdib, condition).Presence)
        wait_until(mdib, lambda: state(mdib, sound).ActivationState.value == "On")
        assert state(mdib, sound).Presence.value == state(mdib, sign).Presence.value == "Off"
        assert not state(mdib, tree.ALERTS).PresentTechnicalAlarmConditions


async def silence(pump: VirtualPump) -> None:
    import telemetry

    async with telemetry.connect(pump=pump) as programmer:
        await programmer.silence_alarm(1_800_000)


def test_values_are_questionable_then_invalid_while_the_pump_is_out_of_reach(
    provider: PumpProvider, first: Interrogation
) -> None:
    with consumer(provider.address) as (_, mdib):
        provider.show(LOST, first.read_utc_ms + 5_000)
        wait_until(mdib, lambda: worth(mdib) == {"Qst"})
        wait_until(mdib, lambda: state(mdib, tree.NOT_READ).Presence)
        assert state(mdib, "flow-rate").MetricValue.Value == Decimal("0.17"), "the last known value"
        wait_until(mdib, lambda: state(mdib, tree.VMD).ActivationState.value == "NotRdy")

        provider.age(first.read_utc_ms + AGES.invalid_ms)
        wait_until(mdib, lambda: worth(mdib) == {"Inv"})
        assert state(mdib, "flow-rate").MetricValue.Value is None, "a value of no use is not shown"

        provider.show(replace(first, read_utc_ms=first.read_utc_ms + 70_000), first.read_utc_ms + 70_000)
        wait_until(mdib, lambda: worth(mdib) == {"Vld"})
        wait_until(mdib, lambda: not state(mdib, tree.NOT_READ).Presence)
        assert state(mdib, "flow-rate").MetricValue.Value == Decimal("0.17")


def test_an_alarm_stays_as_it_was_read_while_the_pump_is_out_of_reach() -> None:
    pump = VirtualPump(seed=3)
    pump.advance_until("alarm_raised", "low_reservoir")
    seen = seen_of(pump)
    with (
        PumpProvider(seen, Place(), poll_ms=POLL_MS, ages=AGES) as provider,
        consumer(provider.address) as (_, mdib),
    ):
        provider.show(LOST, seen.read_utc_ms + 5_000)
        wait_until(mdib, lambda: state(mdib, tree.NOT_READ).Presence)
        present = {tree.condition_of(LOW), tree.NOT_READ}
        wait_until(mdib, lambda: set(state(mdib, tree.ALERTS).PresentTechnicalAlarmConditions) == present)
        assert state(mdib, tree.sound_of(LOW)).Presence.value == "On", "it may be sounding still"


def test_another_pump_at_the_same_place_is_not_shown_as_this_one(provider: PumpProvider, first: Interrogation) -> None:
    pump = VirtualPump(seed=4)
    pump.program(Therapy.simple_continuous(FlowRate(150_000)))
    other = seen_of(pump)
    stranger = replace(other, identity=replace(other.identity, pump_id=bytes(8)))
    with consumer(provider.address) as (_, mdib):
        provider.show(stranger, first.read_utc_ms + 1)
        wait_until(mdib, lambda: worth(mdib) == {"Qst"})
        assert state(mdib, "flow-rate").MetricValue.Value == Decimal("0.17")


def test_a_location_is_told_if_there_is_one(first: Interrogation) -> None:
    place = Place(location=("bench", "lab-2", "1"), epr=UUID(int=7))
    with (
        PumpProvider(first, place, poll_ms=POLL_MS, ages=AGES) as provider,
        consumer(provider.address) as (_, mdib),
    ):
        assert provider.epr == "urn:uuid:00000000-0000-0000-0000-000000000007"
        (found,) = mdib.context_states.objects
        assert (found.LocationDetail.Facility, found.LocationDetail.PoC, found.LocationDetail.Bed) == place.location


def test_the_same_pump_has_the_same_endpoint_reference(first: Interrogation, standing: PumpProvider) -> None:
    with PumpProvider(first, Place(), poll_ms=POLL_MS, ages=AGES) as provider:
        assert provider.epr == standing.epr
        assert provider.address != standing.address


def test_consumers_come_and_go_and_no_thread_stays(standing: PumpProvider) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        with consumer(standing.address):
            pass
    for thread in set(threading.enumerate()) - before:
        thread.join(1)  # a connection's thread ends when it has seen the connection end
    assert set(threading.enumerate()) <= before


async def test_keep_feeds_the_provider_and_lets_readings_grow_old(
    first: Interrogation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telemetry.clock import SystemClock

    later = replace(first, read_utc_ms=first.read_utc_ms + 1)
    told: list[Sighting] = []
    old = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def looks() -> AsyncIterator[Sighting]:
        yield later
        yield LOST
        await old.wait()

    fed = await asyncio.to_thread(PumpProvider, first, Place(), poll_ms=POLL_MS, ages=AGES)
    judge = fed._states.judge

    def judged(seen: Interrogation, validity: Validity) -> None:
        judge(seen, validity)
        if validity is Validity.INVALID:
            loop.call_soon_threadsafe(old.set)

    monkeypatch.setattr(fed._states, "judge", judged)
    try:
        await keep(
            fed,
            looks(),
            clock=SystemClock(),
            utc_ms=lambda: first.read_utc_ms + AGES.invalid_ms + 1,
            every_ms=10,
            told=told.append,
        )
        assert told == [later, LOST]
        assert fed.mdib.entities.by_handle("battery").state.MetricValue.Value is None
    finally:
        await asyncio.to_thread(fed.stop)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {"Content-Length": str(httpd.LONGEST_BODY + 1)}, 413),
        (b"", {"Content-Length": "-1"}, 411),
        (b"", {"Content-Length": "many"}, 411),
        (b"zzzz\r\n", {"Transfer-Encoding": "chunked"}, 411),
        (b"fffffff\r\n", {"Transfer-Encoding": "chunked"}, 413),
        (b"xxxx", {"Content-Length": "4", "Content-Encoding": "gzip"}, 400),
        (b"xxxx", {"Content-Length": "4", "Content-Encoding": "br"}, 415),
        (b"<no soap", {"Content-Length": "8"}, 400),
        (b"\xff\xfe\x00\x00", {"Content-Length": "4"}, 400),
    ],
)
def test_a_body_that_is_none_is_refused(
    standing: PumpProvider, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert post(standing, body, headers) in {status, 404, 500}
    assert post(standing, body, headers, exact=True) in {status, 500}


def test_a_packed_body_that_grows_beyond_the_bound_is_refused(standing: PumpProvider) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    bomb = packing.compress(bytes(50_000_000)) + packing.flush()
    assert len(bomb) < httpd.LONGEST_BODY
    assert post(standing, bomb, {"Content-Length": str(len(bomb)), "Content-Encoding": "gzip"}, exact=True) == 413


def test_a_consumer_that_sends_in_chunks_is_served(standing: PumpProvider) -> None:
    with consumer(standing.address, chunk=100) as (device, mdib):
        assert worth(mdib) == {"Vld"}
        assert device.get_service_client.get_md_state(["battery"]).result.MdState.State[0].MetricValue.Value == 99


def test_a_path_that_is_none_is_not_found(standing: PumpProvider) -> None:
    connection = http.client.HTTPConnection(urlsplit(standing.address).netloc, timeout=10)
    connection.request("GET", "/nowhere")
    assert connection.getresponse().status == 404
    connection.close()


def test_it_is_announced_only_when_asked(first: Interrogation, standing: PumpProvider) -> None:
    with PumpProvider(first, Place(discovery=True, epr=UUID(int=9)), poll_ms=POLL_MS, ages=AGES) as provider:
        looking: Any = WSDiscovery("127.0.0.1")
        looking.start()
        try:
            found = {service.epr: service.x_addrs for service in looking.search_services(timeout=2)}
        finally:
            looking.stop()
        assert standing.epr not in found
        if provider.epr not in found:
            skip_or_fail("multicast does not come back on this machine's loopback")
        assert found[provider.epr] == [provider.address]


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_get_an_answer_or_an_end(standing: PumpProvider, body: bytes, framed: bool) -> None:
    if framed:
        assert post(standing, body, {"Content-Length": str(len(body))}, exact=True) >= 400
        return
    path = urlsplit(standing.address)
    with socket.create_connection((path.hostname, path.port)) as raw:
        raw.sendall(body)
        raw.shutdown(socket.SHUT_WR)
        while not ended(raw):
            pass


def test_one_subscription_too_many_is_refused_and_the_others_are_served(
    provider: PumpProvider, first: Interrogation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.hospital.sdc.provider.MOST_SUBSCRIPTIONS", 1)
    with consumer(provider.address) as (one, mdib), consumer(provider.address) as (other, _):
        assert (one.is_connected, other.is_connected) == (True, False)
        provider.show(LOST, first.read_utc_ms)
        wait_until(mdib, lambda: worth(mdib) == {"Qst"})


def test_any_pump_at_any_time_is_valid_and_says_what_its_status_says(
    provider: PumpProvider, first: Interrogation
) -> None:
    with consumer(provider.address) as (device, _):

        @settings(max_examples=25)
        @given(HAPPENINGS, st.integers(0, 10**6))
        def holds(happenings: list[Any], seed: int) -> None:
            seen = seen_of(pump_after(happenings, seed))
            same = replace(seen, identity=replace(seen.identity, pump_id=first.identity.pump_id))
            provider.show(same, same.read_utc_ms)
            # Read anew and validated against the schemas, at both ends.
            _, states = device.get_service_client.get_mdib().result
            found = {one.DescriptorHandle: one for one in states}
            for metric in METRICS:
                assert found[metric.handle].MetricValue.Value == metric.read(seen), metric.handle
            present = {tree.condition_of(alarm.kind) for alarm in seen.alarms if alarm.condition_present}
            assert set(found[tree.ALERTS].PresentTechnicalAlarmConditions or ()) == present
            assert {name for name in found if name.startswith("condition.") and found[name].Presence} == present

        holds()


def test_the_provider_goes_on_after_all_that(standing: PumpProvider) -> None:
    with consumer(standing.address) as (_, mdib):
        assert worth(mdib) == {"Vld"}


def post(provider: PumpProvider, body: bytes, headers: dict[str, str], *, exact: bool = False) -> int:
    path = urlsplit(provider.address)
    connection = http.client.HTTPConnection(path.hostname or "", path.port, timeout=10)
    try:
        connection.putrequest("POST", path.path + ("" if exact else "/nowhere"))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_silent_connections_are_bounded_and_end_with_the_provider(first: Interrogation) -> None:
    with PumpProvider(first, Place(), poll_ms=POLL_MS, ages=AGES) as provider:
        path = urlsplit(provider.address)
        silent = [socket.create_connection((path.hostname, path.port)) for _ in range(httpd.MOST_CONNECTIONS + 4)]
        assert all(ended(one) for one in silent[httpd.MOST_CONNECTIONS :]), "one more is turned away at once"
        assert not ended(silent[0], wait_s=0.05)
    assert ended(silent[0])
    for one in silent:
        one.close()


def ended(connection: socket.socket, *, wait_s: float = 10) -> bool:
    connection.settimeout(wait_s)
    try:
        return connection.recv(65_536) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(bind="localhost"), "no IP address"),
        (Place(bind="0.0.0.0"), "cannot be told"),  # noqa: S104 - refused
        (Place(bind="::1"), "cannot be told"),
        (Place(bind="203.0.113.7"), "cannot listen"),
    ],
)
def test_a_place_that_cannot_be_had_is_refused(first: Interrogation, place: Place, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PumpProvider(first, place, poll_ms=POLL_MS, ages=AGES)


def test_a_port_that_is_taken_is_refused(standing: PumpProvider, first: Interrogation) -> None:
    port = urlsplit(standing.address).port or 0
    with pytest.raises(UsageError, match=f"--port {port}: cannot listen"):
        PumpProvider(first, Place(port=port), poll_ms=POLL_MS, ages=AGES)


def test_a_pump_that_does_not_say_that_it_is_simulated_is_not_shown(first: Interrogation) -> None:
    real = replace(first, identity=replace(first.identity, simulated=False))
    with pytest.raises(UsageError, match="simulated pumps only"):
        PumpProvider(real, Place(), poll_ms=POLL_MS, ages=AGES)


def test_tls_with_certificates_of_one_authority(first: Interrogation, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=SIMULATED", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    place = Place(tls=(certificate, key, certificate))
    contexts = mk_ssl_contexts(key, certificate, certificate)
    with PumpProvider(first, place, poll_ms=POLL_MS, ages=AGES) as provider:
        assert provider.address.startswith("https://")
        with consumer(provider.address, contexts) as (_, mdib):
            provider.show(LOST, first.read_utc_ms)
            wait_until(mdib, lambda: worth(mdib) == {"Qst"})
        plain = http.client.HTTPConnection(urlsplit(provider.address).netloc, timeout=10)
        plain.request("GET", "/")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()
        plain.close()
    with pytest.raises(UsageError, match="three PEM files"):
        PumpProvider(first, Place(tls=(key, certificate, certificate)), poll_ms=POLL_MS, ages=AGES)
