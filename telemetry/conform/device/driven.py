"""Steps D-90 and D-91: our own driver works with the device, as a programmer that is known to be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.device.catalogue import BASE, CATALOGUE, CHANGING, itp, trust
from telemetry.conform.device.changes import nearby
from telemetry.conform.results import EvidenceKind
from telemetry.conform.steps import Blocked
from telemetry.errors import LinkError, LinkOpenError, OutcomeUnknown, PeerError, Refused
from telemetry.model import AlarmKind, PumpMode, Role, StopReason, Warn
from telemetry.programmer import connect
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.units import FlowRate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.conform.device.bench import Bench
    from telemetry.programmer import Programmer
    from telemetry.programmer.opening import Connecting

GROUP = "driver"
_ALL_WARNINGS = tuple(Warn)


def _driver(bench: Bench) -> Connecting:
    """Our driver on this device, with a journal of its own."""
    credential = bench.credential(Role.CLINICIAN)
    return connect(
        pump=bench.target,
        credentials=credential,
        journal=MemoryJournalStore(),
        entropy=bench.entropy,
        arm=not credential.test,
    )


async def _try(bench: Bench, what: str, act: Callable[[], Awaitable[object]]) -> object:
    """One call of the driver; what it raises is a finding that ends the step, but for a link that it cannot have."""
    try:
        found = await act()
    except LinkOpenError as error:  # a serial line takes one at a time, and the kit holds it: no fault of the device
        raise Blocked(f"no link for our driver beside the kit's own: {error}") from error
    except (LinkError, PeerError, Refused, OutcomeUnknown) as error:
        bench.record.demand(held=False, expected=f"{what}: done", observed=f"{type(error).__name__}: {error}")
        raise AssertionError("demand raised") from error  # pragma: no cover - it always does
    bench.record.tell(EvidenceKind.JUDGED, f"{what}: done", type(found).__name__)
    return found


@CATALOGUE.step(
    "D-90",
    group=GROUP,
    title="Our driver reads everything",
    purpose="A device may answer each request rightly and still not fit a programmer.",
    stimulus="Telemeter, identity, status, program, limits, rules, delivery, alarms, settings and log are read by it.",
    expected="Each is read without an error.",
    sources=(itp("7"), itp("16")),
    claims=BASE,
)
async def _reads(bench: Bench) -> None:
    async with _driver(bench) as programmer:
        for what, act in (
            ("telemeter", programmer.read_telemeter),
            ("identity", programmer.read_identity),
            ("status", programmer.read_status),
            ("program", programmer.read_program),
            ("limits", programmer.read_limits),
            ("rules", programmer.read_rules),
            ("delivery", programmer.read_delivery),
            ("alarms", programmer.read_alarms),
            ("alarm settings", programmer.read_alarm_settings),
            ("log", programmer.read_log),
        ):
            await _try(bench, what, act)


@CATALOGUE.step(
    "D-91",
    group=GROUP,
    title="Our driver does a visit's work",
    purpose="Two-phase commit, journal and ledger have to meet in one visit.",
    stimulus="A rate change, back again, a stop and a resume by it, each change held against its read-back.",
    expected="Each applied; at the end the therapy of before, and no operation open.",
    sources=(itp("12"), trust("5")),
    claims=CHANGING,
)
async def _works(bench: Bench) -> None:
    async with _driver(bench) as programmer:
        await _visit(bench, programmer)


async def _visit(bench: Bench, programmer: Programmer) -> None:
    session = await bench.session()
    status = await bench.running(session)
    before = status.rate_nl_per_day
    for rate in (nearby(status), before):
        await _try(
            bench,
            f"set_rate {rate} nl/day",
            lambda rate=rate: programmer.set_rate(FlowRate(rate), accept=_ALL_WARNINGS),  # type: ignore[misc]
        )
        found = await programmer.read_status()
        bench.record.expect(found.rate_nl_per_day == rate, f"{rate} nl/day", f"{found.rate_nl_per_day} nl/day")
    await _try(bench, "stop", lambda: programmer.stop(StopReason.BENCH))
    bench.expect((await programmer.read_status()).mode is PumpMode.STOPPED, "stopped", "it runs")
    alarms = [alarm.kind for alarm in await programmer.read_alarms()]
    bench.record.expect(AlarmKind.THERAPY_STOPPED in alarms, "therapy_stopped", ", ".join(alarms) or "no alarm")
    await _try(bench, "resume", lambda: programmer.resume(accept=_ALL_WARNINGS))
    after = await programmer.read_status()
    bench.record.expect(after.rate_nl_per_day == before, f"{before} nl/day", f"{after.rate_nl_per_day} nl/day")
    if programmer.resolved:
        raise Blocked("answers were lost on the way and had to be asked for; the link is not fit for this step")
