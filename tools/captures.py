"""Write fixtures/captures/: recorded conversations of the driver with a virtual pump, for any reader of ``.telcap``.

    python -m tools.captures            write the files
    python -m tools.captures --check    exit 1 when a committed file differs from what would be recorded now

Everything is drawn from seeds and a manual clock, so that the same code records the same bytes; only the version in
``tool`` is left out of the comparison. ``fixtures/captures/README.md`` says what each holds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from telemetry.errors import OutcomeUnknown, Refused
from telemetry.link import LAYOUT, Inspector
from telemetry.model import AlarmKind, Role, StopReason
from telemetry.programmer.client import Programmer
from telemetry.programmer.connection import PumpConnection
from telemetry.programmer.journal import MemoryJournalStore
from telemetry.protocol import messages as wire
from telemetry.protocol.credentials import test_credential
from telemetry.sim.connector import station_of
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Therapy
from telemetry.transport.capture import CaptureWriter
from telemetry.transport.faults import FaultPlan
from telemetry.transport.wrappers import Fault, Record
from telemetry.units import Concentration, DailyDose, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from telemetry.transport.base import Receiver, Transport

FOLDER = Path(__file__).parents[1] / "fixtures" / "captures"
UTC_S = 1_767_225_600
"""2026-01-01 00:00 UTC, the programmer's clock in every recording."""
_SEED = 20_260_101
_TURNS = 8


class Recording:
    """A virtual pump, and programmers that talk to it while everything is written to one capture."""

    def __init__(self, path: Path, profile: str = "itb-40", seed: int = _SEED, **settings: object) -> None:
        self.pump = VirtualPump(profile, seed=seed, serial="SIM-2026", **settings)  # type: ignore[arg-type]
        self.clock = self.pump.clock
        self.writer = CaptureWriter(path, self.clock, simulated=True, layout=LAYOUT)
        self.station = station_of(self.pump)
        self._random = Random(seed)
        self._journals = MemoryJournalStore()
        self.connection: PumpConnection

    @contextlib.asynccontextmanager
    async def programmer(self, role: Role = Role.CLINICIAN, faults: str = "") -> AsyncIterator[Programmer]:
        """A programmer whose link is recorded; its faults strike between recorder and pump."""
        inspector = Inspector()
        plan = FaultPlan.parse(faults, seed=_SEED) if faults else None

        async def opener(receiver: Receiver) -> Transport:
            record = Record(self.writer, self.clock, annotate=inspector.annotate, owns=False)
            record.bind(receiver)
            if plan is None:
                record.attach(await self.pump.open_link(record))
                return record
            fault = Fault(plan, self.clock, classifier=inspector.classify)
            fault.bind(record)
            fault.attach(await self.pump.open_link(fault))
            record.attach(fault)
            return record

        connection = PumpConnection(
            opener,
            clock=self.clock,
            credential=test_credential(role),
            want_role=role,
            entropy=self._random.randbytes,
            utc_s=lambda: UTC_S,
        )
        inspector.look_into(connection.peek, connection.session_keys, connection.accepted)
        self.connection = connection
        made = Programmer(
            connection, clock=self.clock, journals=self._journals, entropy=self._random.randbytes, utc_s=lambda: UTC_S
        )
        try:
            yield made
        finally:
            await made.close()

    async def raw(self, message: wire.Message) -> wire.Message:
        """One request as it is, in the open session."""
        answer = await self.connection.exchange(message)
        if not isinstance(answer, wire.Message):
            raise TypeError(f"{message}: {answer}")
        return answer


async def _interrogation(recording: Recording) -> None:
    async with recording.programmer(Role.OBSERVER) as programmer:
        await programmer.read_telemeter()
        await programmer.read_identity()
        await programmer.read_status()
        await programmer.read_program()
        await programmer.read_delivery()
        await programmer.read_alarms()
        await programmer.read_alarm_settings()
        await programmer.read_limits()
        await programmer.read_log()


async def _set_rate(recording: Recording) -> None:
    async with recording.programmer() as programmer:
        await programmer.read_status()
        with contextlib.suppress(Refused):  # twice the dose: beyond the soft limit, and not accepted
            await programmer.set_rate(DailyDose.parse("680 ug/day"))
        with contextlib.suppress(Refused):  # beyond what the device can give at all
            await programmer.set_rate(FlowRate.parse("90 ml/day"))
        await programmer.set_rate(DailyDose.parse("360 ug/day"))
        await programmer.read_status()


async def _bolus(recording: Recording) -> None:
    async with recording.programmer() as programmer:
        await programmer.bolus(Volume.parse("0.025 ml"), Duration.parse("10 min"))
        recording.pump.advance(minutes=4)
        await programmer.read_delivery()
        await programmer.stop(StopReason.CLINICAL)
        await programmer.read_status()
        await programmer.resume()
        await programmer.read_status()


async def _refill(recording: Recording) -> None:
    recording.pump.advance(days=120)
    new = Concentration.parse("500 ug/ml")
    async with recording.programmer() as programmer:
        await programmer.read_status()
        withdrawn = recording.pump.withdraw()
        recording.pump.fill(Volume.parse("40 ml"), new)
        await programmer.refill(
            Volume.parse("40 ml"), new, Therapy.simple_continuous(DailyDose.parse("300 ug/day")), withdrawn=withdrawn
        )
        await programmer.read_delivery()
        await programmer.read_program()


async def _alarms(recording: Recording) -> None:
    recording.pump.inject("motor_stall")
    recording.pump.advance(hours=1)
    async with recording.programmer() as programmer:
        await programmer.read_alarms()
        await programmer.silence_alarm(600_000)
        await programmer.acknowledge_alarm(AlarmKind.MOTOR_STALL)
        await programmer.read_log()
    async with recording.programmer(Role.OBSERVER) as programmer:
        with contextlib.suppress(Refused):  # an observer may look and nothing else
            await programmer.set_rate(DailyDose.parse("360 ug/day"))


async def _lost_verdict(recording: Recording) -> None:
    async with recording.programmer(faults="drop:1@rx/VerdictReport*4") as programmer:
        with contextlib.suppress(OutcomeUnknown):
            await programmer.set_rate(DailyDose.parse("360 ug/day"))
        await programmer.read_status()


async def _every_message(recording: Recording) -> None:
    """Every row of the wire table at least once, whatever the pump says to it."""
    seen: list[wire.ContactEvent] = []
    async with recording.programmer() as programmer:
        await programmer.watch_contact(seen.append)
        recording.station.telemeter.lift()
        recording.station.telemeter.place()
        for _ in range(_TURNS):  # events take no time on this link, only turns of the loop
            await asyncio.sleep(0)
        if len(seen) != 2:
            raise AssertionError(f"two contact events were due, {len(seen)} came")
        status = await programmer.read_status()
        for request in (
            wire.ReadIdentity(),
            wire.ReadProgram(part=0),
            wire.ReadAlarms(),
            wire.ReadLog(from_sequence=0, max_records=5),
            wire.ReadLimits(),
            wire.ReadLedger(),
            wire.ReadDelivery(),
            wire.ReadAlarmSettings(),
            wire.AcknowledgeAlarm(kind=AlarmKind.MOTOR_STALL),
            wire.SilenceAlarms(duration_s=600),
            wire.ReadProgram(part=9),
        ):
            await recording.raw(request)
        rates = {f"{2 * step:02d}:00": FlowRate(status.rate_nl_per_day + 50 * step) for step in range(12)}
        await programmer.program(Therapy.flex(rates))
        await programmer.set_rate(FlowRate(status.rate_nl_per_day))
        with contextlib.suppress(Refused):
            await programmer.bolus(Volume.parse("0.005 ml"), Duration.parse("10 min"), confirm=_no)
        change = await programmer.stop(StopReason.CLINICAL)
        await programmer.outcome(change.transaction)
        await programmer.resume()
    async with recording.programmer(Role.PATIENT) as programmer:
        with contextlib.suppress(Refused):
            await programmer.patient_bolus()


async def _no(_proposal: object) -> bool:
    return False


class Plan:
    """One file: what is recorded, on which pump."""

    def __init__(self, play: Callable[[Recording], Awaitable[None]], profile: str = "itb-40") -> None:
        self.play = play
        self.profile = profile


PLANS = {
    "interrogation": Plan(_interrogation),
    "set-rate": Plan(_set_rate),
    "bolus-and-stop": Plan(_bolus),
    "refill-with-bridge": Plan(_refill),
    "alarms-and-refusals": Plan(_alarms),
    "lost-verdict": Plan(_lost_verdict),
    "every-message": Plan(_every_message, "valve-20"),
}


def record(name: str, folder: Path) -> Path:
    """Record one of ``PLANS`` into ``folder``; gives the file."""
    path = folder / f"{name}.telcap"
    path.unlink(missing_ok=True)
    plan = PLANS[name]

    async def play() -> None:
        recording = Recording(path, plan.profile)
        try:
            await plan.play(recording)
        finally:
            recording.writer.close()

    asyncio.run(play())
    path.chmod(0o644)
    return path


def comparable(path: Path) -> list[object]:
    """The lines of a capture without the version of what wrote it."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[0]["tool"] = lines[0]["tool"].partition(" ")[0]
    return lines


def main(arguments: list[str]) -> int:
    """Write the files, or compare them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Record the captures of fixtures/captures.")
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    options = parser.parse_args(arguments)
    if not options.check:
        FOLDER.mkdir(exist_ok=True)
        for name in PLANS:
            print(f"wrote {record(name, FOLDER).relative_to(FOLDER.parents[1])}")
        return 0
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in PLANS:
            committed = FOLDER / f"{name}.telcap"
            if not committed.exists() or comparable(committed) != comparable(record(name, Path(scratch))):
                print(
                    f"{committed.name}: not what is recorded now; run python -m tools.captures and read the difference"
                )
                different = 1
    return different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
