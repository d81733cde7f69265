"""``telemetry hospital``: a pump as the hospital's systems see one."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

import click

from telemetry.cli import words
from telemetry.cli.connecting import arm_option, json_option, need_url, refuse_arm, role_option, url_argument
from telemetry.cli.output import SIMULATED, console, emit, note
from telemetry.clock import SystemClock, host_utc_ms, host_utc_s
from telemetry.errors import LinkError, UsageError
from telemetry.hospital import need
from telemetry.interrogation import NotRead
from telemetry.model import Role
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from telemetry.hospital.sdc.provider import Place
    from telemetry.hospital.sdc.states import Ages
    from telemetry.interrogation import Interrogation, Sighting
    from telemetry.programmer import Programmer

_SLACK_MS = 5_000
"""A look at the pump takes time itself: a reading is called old no sooner than this after the second one is due."""
_PEM = click.Path(exists=True, dir_okay=False, path_type=Path)


_EPILOG = """\b
Examples:
  telemetry hospital sdc tcp://127.0.0.1:7410           serve it to a consumer
  telemetry hospital fhir tcp://127.0.0.1:7410 -o bundle.json
"""


@click.group(epilog=_EPILOG)
def command() -> None:
    """Show a pump to a hospital: IEEE 11073 SDC, FHIR R5. Read only; SIMULATED.

    What is shown comes from reading the pump as an observer. Nothing that a hospital's system sends back can reach it.
    """


_SDC_EPILOG = """\b
Examples:
  telemetry hospital sdc tcp://127.0.0.1:7410
  telemetry hospital sdc tcp://127.0.0.1:7410 --port 6464 --interval 2 --stale 30
  telemetry hospital sdc ble://?name=SIM-0001 --bind 10.0.0.5 --tls cert.pem key.pem ca.pem
"""


@command.command(epilog=_SDC_EPILOG)
@url_argument
@click.option("--bind", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="IPv4 address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=0, show_default=True, help="0 lets the system choose one."
)
@click.option("--epr", metavar="UUID", help="Endpoint reference. [default: made of the pump's id, always the same]")
@click.option("--location", metavar="F/P/B", help="Where the pump is: facility, point of care and bed.")
@click.option("--tls", nargs=3, type=_PEM, metavar="CERT KEY CA", help="TLS both ways: three PEM files.")
@click.option("--discovery", is_flag=True, help="Announce the provider by WS-Discovery (multicast) too.")
@click.option(
    "--interval", type=click.IntRange(1, 3600), default=5, show_default=True, metavar="S", help="Seconds between looks."
)
@click.option(
    "--stale",
    type=click.IntRange(2, 86_400),
    default=60,
    show_default=True,
    metavar="S",
    help="Seconds after which a reading is invalid; questionable it is as soon as a look fails.",
)
@role_option(Role.OBSERVER)
@arm_option
@json_option
def sdc(  # noqa: PLR0913, PLR0917 - each is one option
    url: str,
    bind: str,
    port: int,
    epr: str | None,
    location: str | None,
    tls: tuple[Path, Path, Path] | None,
    discovery: bool,  # noqa: FBT001 - a flag
    interval: int,
    stale: int,
    role: str,
    arm: bool,  # noqa: FBT001 - a flag
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Serve the pump as an IEEE 11073 SDC provider until Ctrl-C.

    Metrics with generation mode Test, alert conditions and alert signals apart, no operations. Prints the address that
    a consumer connects to. With --json, one object for that and one for each change of contact.
    """
    place_url = need_url(url)
    refuse_arm(arm=arm)
    if stale <= interval:
        raise UsageError(f"--stale {stale}: is not above --interval {interval}; every reading would be invalid")
    need("sdc11073", "lxml")
    from telemetry.hospital.sdc.provider import Place  # noqa: PLC0415 - --help must not wait for it
    from telemetry.hospital.sdc.states import Ages  # noqa: PLC0415 - as above

    place = Place(bind, port, _uuid(epr), _location(location), tls, discovery)
    ages = Ages(
        questionable_ms=min(2 * interval * MS_PER_SECOND + _SLACK_MS, stale * MS_PER_SECOND),
        invalid_ms=stale * MS_PER_SECOND,
    )
    logging.getLogger("sdc").addHandler(_Notes(logging.WARNING))
    asyncio.run(_serve(place_url, place, ages, interval * MS_PER_SECOND, role, as_json=as_json))


async def _serve(url: str, place: Place, ages: Ages, poll_ms: int, role: str, *, as_json: bool) -> None:
    from telemetry.hospital.sdc.provider import PumpProvider, keep  # noqa: PLC0415 - as above
    from telemetry.programmer import connect  # noqa: PLC0415 - as above

    clock = SystemClock()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, ended, serving)
    try:
        async with (
            connect(url, clock=clock, role=role) as programmer,
            aclosing(_looks(programmer, poll_ms)) as looks,
        ):
            first = _need_read(await anext(looks))
            provider = await asyncio.to_thread(PumpProvider, first, place, poll_ms=poll_ms, ages=ages)
            try:
                _announce(provider.address, provider.epr, first, as_json=as_json)
                told = _contact_teller(as_json=as_json)
                await keep(provider, looks, clock=clock, utc_ms=host_utc_ms, every_ms=MS_PER_SECOND, told=told)
            finally:
                await asyncio.to_thread(provider.stop)
    except asyncio.CancelledError:
        if not ended.is_set():
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _end(ended: asyncio.Event, serving: asyncio.Task[object] | None) -> None:
    if not ended.is_set() and serving is not None:
        ended.set()
        serving.cancel()


def _need_read(sighting: Sighting) -> Interrogation:
    if isinstance(sighting, NotRead):
        raise LinkError(f"the pump could not be read, so that there is nothing to show of it: {sighting.reason}")
    return sighting


def _announce(address: str, epr: str, seen: Interrogation, *, as_json: bool) -> None:
    who = seen.identity
    if as_json:
        emit({"simulated": True, "address": address, "epr": epr, "serial": who.serial, "pump_id": who.pump_id})
        return
    screen = console()
    screen.print(f"{SIMULATED} pump {who.serial} as an IEEE 11073 SDC provider: read only, generation mode Test")
    screen.print(f"address: {address}", soft_wrap=True, markup=False)
    screen.print(f"EPR: {epr}", soft_wrap=True, markup=False)
    screen.print("Ctrl-C ends.", markup=False)


def _contact_teller(*, as_json: bool) -> Callable[[Sighting], None]:
    """Tells each change of contact once."""
    lost = [False]

    def told(sighting: Sighting) -> None:
        now_lost = isinstance(sighting, NotRead)
        if now_lost is lost[0]:
            return
        lost[0] = now_lost
        if as_json:
            problem = {"problem": sighting.reason} if isinstance(sighting, NotRead) else {}
            emit({"simulated": True, "host_utc_s": host_utc_s(), "link": "lost" if now_lost else "up", **problem})
            return
        moment = words.host_moment(host_utc_s())
        if isinstance(sighting, NotRead):
            note(f"{moment}: the pump cannot be read; its values are questionable now: {sighting.reason}")
        else:
            note(f"{moment}: the pump is read again")

    return told


class _Notes(logging.Handler):
    """Warnings of the library as lines for the person."""

    def emit(self, record: logging.LogRecord) -> None:
        words = record.getMessage().partition("Traceback")[0].split()
        note(f"sdc: {' '.join(words)[:200]}")


def _uuid(text: str | None) -> UUID | None:
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(
            f"--epr: {text!r} is no UUID such as c50909b2-6825-5418-bdfc-c5851d3bed8b; leave it out for the pump's own"
        ) from None


def _location(text: str | None) -> tuple[str, str, str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split("/")]
    if len(parts) != 3 or not all(parts):
        raise UsageError(f"--location: {text!r} is not facility/point of care/bed, as in bench/lab-2/1")
    return parts[0], parts[1], parts[2]


_FHIR_EPILOG = """\b
Examples:
  telemetry hospital fhir tcp://127.0.0.1:7410 -o bundle.json
  telemetry hospital fhir tcp://127.0.0.1:7410 --since 40
"""


@command.command(epilog=_FHIR_EPILOG)
@url_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write it there.")
@click.option(
    "--since", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Log: from this record on."
)
@role_option(Role.OBSERVER)
@arm_option
@json_option
def fhir(
    url: str,
    output: Path | None,
    since: int,
    role: str,
    arm: bool,  # noqa: FBT001 - a flag
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Read the pump once and write a Bundle of FHIR R5.

    Device, DeviceMetric, Observation, MedicationAdministration and DetectedIssue, every one tagged as test data. On
    standard output unless -o names a file. A pump that cannot be read gives a bundle that says so, and status 3.
    """
    place = need_url(url)
    refuse_arm(arm=arm)
    if as_json and output is None:
        raise UsageError("--json: is about the file that -o names; without -o the bundle itself is what is printed")
    need("fhir.resources", "pydantic")
    from telemetry.hospital.fhir.bundle import bundle_of, text_of  # noqa: PLC0415 - --help must not wait for it
    from telemetry.hospital.fhir.checking import check  # noqa: PLC0415 - as above

    sighting = asyncio.run(_look(place, since, role))
    bundle = bundle_of(sighting, since=since)
    text = text_of(bundle)
    check(text)
    counts = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
    if output is None:
        click.echo(text)
    else:
        _write(output, text)
        if as_json and not isinstance(sighting, NotRead):
            emit({"simulated": True, "file": str(output), "resources": dict(counts), "bundle": bundle["id"]})
        elif not as_json:
            console().print(f"{SIMULATED} a Bundle of FHIR R5: {_counted(counts)}")
            console().print(f"written: {output}", soft_wrap=True, markup=False)
    if isinstance(sighting, NotRead):
        raise LinkError(f"the pump could not be read; the bundle says so and holds nothing else: {sighting.reason}")


async def _look(url: str, since: int, role: str) -> Sighting:
    from telemetry.programmer import connect  # noqa: PLC0415 - as above

    async with (
        connect(url, clock=SystemClock(), role=role) as programmer,
        aclosing(_looks(programmer, MS_PER_SECOND, since)) as looks,
    ):
        return await anext(looks)


def _looks(programmer: Programmer, poll_ms: int, since: int = 1) -> AsyncGenerator[Sighting, None]:
    """Looks at the pump, to be closed; records of its log are numbered from 1 on."""
    return cast("AsyncGenerator[Sighting, None]", programmer.follow(poll_ms, since=since))


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _write(path: Path, text: str) -> None:
    """The whole file or none of it."""
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as problem:
        beside.unlink(missing_ok=True)
        raise UsageError(f"-o {path}: {problem.strerror}; name a file in a folder that can be written") from None
