"""Steps D-50 to D-57: what the device says of itself hangs together, and saying it changes nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from telemetry.conform.device.bench import dose_of, told
from telemetry.conform.device.catalogue import BASE, CATALOGUE, domain, itp, trust
from telemetry.model import RefusalReason
from telemetry.protocol import messages as wire

if TYPE_CHECKING:
    from telemetry.conform.device.bench import Bench

GROUP = "reading"


@CATALOGUE.step(
    "D-50",
    group=GROUP,
    title="Is one and the same pump everywhere",
    purpose="A pump that is simulated must say so wherever somebody looks; one that is not must nowhere.",
    stimulus="BEACON, ACCEPT and Identity of one session, and the telemeter's report.",
    expected="One pump_id and firmware; test flag, simulated mark and telemeter agree.",
    sources=(itp("6"), itp("7"), trust("4.15")),
    claims=BASE,
)
async def _one_identity(bench: Bench) -> None:
    session = await bench.session()
    identity = await bench.ask(session, wire.ReadIdentity(), wire.Identity)
    accept, record = session.accept, bench.record
    record.expect(accept.pump_id == identity.pump_id, f"pump_id {identity.pump_id.hex()}", accept.pump_id.hex())
    record.expect(accept.firmware == identity.firmware, f"firmware {identity.firmware}", str(accept.firmware))
    flags = (session.greeting.offer.test_device, bool(accept.flags & 1))
    report = session.line.telemeter
    marks = (*flags, identity.simulated, report is not None and report.simulated)
    record.expect(
        len(set(marks)) == 1, "BEACON, ACCEPT, Identity and telemeter agree whether this is a test", str(marks)
    )
    record.expect(accept.role is session.role, f"role {session.role}", accept.role.value)
    mark = "SIMULATED" if identity.simulated else "not simulated"
    record.conclude(f"{identity.model}, {identity.serial}, {mark}")


@CATALOGUE.step(
    "D-51",
    group=GROUP,
    title="Rate, dose and concentration agree",
    purpose="A dose that is an hour's for a day's, or µg for ng, is off by a factor and looks like a dose.",
    stimulus="Status, the program in force and the last 24 hours are read.",
    expected="The dose is rate times concentration in ng/day, within 1 nl or 1 ng; all three name the same.",
    sources=(itp("7"), trust("5.8"), domain("2.2")),
    claims=BASE,
)
async def _units_agree(bench: Bench) -> None:
    session = await bench.session()
    status = await bench.status(session)
    _, program = await bench.program(session)
    record, strength = bench.record, status.concentration_ng_per_ml
    for what, dose, rate in (
        ("status", status.dose_ng_per_day, status.rate_nl_per_day),
        ("program", program.dose_ng_per_day, program.rate_nl_per_day),
    ):
        held = abs(dose * 1_000_000 - rate * strength) <= max(strength, 1_000_000)
        record.expect(
            held, f"{what}: {dose_of(rate, strength)} ng/day for {rate} nl/day at {strength} ng/ml", f"{dose} ng/day"
        )
    record.expect(
        (program.drug, program.concentration_ng_per_ml, program.reservoir_generation)
        == (status.drug, strength, status.reservoir_generation),
        f"the program bound to {status.drug} at {strength} ng/ml, filling {status.reservoir_generation}",
        f"{program.drug} at {program.concentration_ng_per_ml} ng/ml, filling {program.reservoir_generation}",
    )
    delivery = await bench.ask(session, wire.ReadDelivery(), wire.Delivery)
    low, high = delivery.window_1h_nl, delivery.window_24h_nl
    record.expect(low <= delivery.window_4h_nl <= high, "1 h, 4 h and 24 h rise", f"{low} … {high} nl")
    record.conclude(f"{status.rate_nl_per_day} nl/day at {strength} ng/ml is {status.dose_ng_per_day} ng/day")


@CATALOGUE.step(
    "D-52",
    group=GROUP,
    title="What ACCEPT says is what reading says",
    purpose="A programmer decides by ACCEPT whether what it shows is still true.",
    stimulus="ACCEPT, Status, ProgramReport, LedgerHead, LogPage, AlarmReport of one session.",
    expected="The same program sequence and digest, boot, ledger, operation counter, log head and alarms.",
    sources=(itp("6"), itp("7")),
    claims=BASE,
)
async def _accept_agrees(bench: Bench) -> None:
    session = await bench.session()
    accept, record = session.accept, bench.record
    status = await bench.status(session)
    report, _ = await bench.program(session)
    ledger = await bench.ledger(session)
    page = await bench.ask(session, wire.ReadLog(from_sequence=0, max_records=1), wire.LogPage)
    alarms = await bench.ask(session, wire.ReadAlarms(), wire.AlarmReport)
    for what, said, read in (
        ("program sequence", accept.program_sequence, status.program_sequence),
        ("program sequence of the program", accept.program_sequence, report.program_sequence),
        ("program digest", accept.program_digest, status.program_digest),
        ("program digest of the program", accept.program_digest, report.program_digest),
        ("boot epoch", accept.boot_epoch, status.boot_epoch),
        ("ledger sequence", accept.ledger_sequence, ledger.ledger_sequence),
        ("operation counter", accept.last_operation_counter, ledger.last_operation_counter),
        ("newest log record", accept.log_sequence, page.newest_sequence),
        ("alarms", accept.active_alarms, len(alarms.alarms)),
        ("alarm sequence", accept.alarm_sequence, alarms.alarm_sequence),
    ):
        record.expect(said == read, f"{what}: {_plain(said)}", _plain(read))


def _plain(value: int | bytes) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


@CATALOGUE.step(
    "D-53",
    group=GROUP,
    title="Reading leaves no trace",
    purpose="Whoever watches must not change what is watched.",
    stimulus="Everything is read twice, in two sessions.",
    expected="The same program, ledger, log, alarms and limits the second time.",
    sources=(itp("7"), trust("5.4")),
    claims=BASE,
)
async def _no_trace(bench: Bench) -> None:
    seen = []
    line = await bench.line()
    for _ in range(2):
        session = await bench.session(line)
        report, program = await bench.program(session)
        seen.append(
            {
                "program": (report.program_sequence, report.program_digest, program),
                "ledger": (await bench.ledger(session)).ledger_sequence,
                "limits": await bench.ask(session, wire.ReadLimits(), wire.Limits),
                "alarms": (await bench.ask(session, wire.ReadAlarms(), wire.AlarmReport)).alarms,
                "settings": await bench.ask(session, wire.ReadAlarmSettings(), wire.AlarmSettingsReport),
                "log": tuple(await bench.log(session)),
            }
        )
        await session.ask(wire.Close())
    first, second = seen
    for what in first:
        bench.expect(first[what] == second[what], f"the same {what} twice", "it differs")


@CATALOGUE.step(
    "D-54",
    group=GROUP,
    title="The log has no gap and never runs backwards",
    purpose="A log with a hole proves nothing about the hole.",
    stimulus="The whole log, read in pages of one, three and eight records.",
    expected="Sequence numbers without a gap; (boot, time) never less; the same records in every page size.",
    sources=(itp("14"), trust("5.12"), domain("2.10")),
    claims=BASE,
)
async def _log(bench: Bench) -> None:
    session = await bench.session()
    record = bench.record
    read: dict[int, list[wire.LogEntry]] = {}
    newest = 0
    for size in (8, 3, 1):
        start, found = 0, list[wire.LogEntry]()
        while True:
            page = await bench.ask(session, wire.ReadLog(from_sequence=start, max_records=size), wire.LogPage)
            found += page.records
            newest = page.newest_sequence
            over = not page.records or found[-1].sequence >= newest or len(found) > 64
            if len(page.records) > size:
                record.expect(held=False, expected=f"at most {size} records", observed=str(len(page.records)))
            if over:
                break
            start = found[-1].sequence + 1
        read[size] = found
    entries = read[8]
    bench.expect(bool(entries), "records", "none")
    gaps = [second.sequence for first, second in pairwise(entries) if second.sequence != first.sequence + 1]
    bench.expect(not gaps, "sequence numbers without a gap", f"a gap before {gaps[:5]}")
    back = [
        second.sequence
        for first, second in pairwise(entries)
        if (second.boot_epoch, second.at_s) < (first.boot_epoch, first.at_s)
    ]
    bench.expect(not back, "(boot, time) that never runs backwards", f"backwards at {back[:5]}")
    short = min(len(found) for found in read.values())
    same = all(found[:short] == entries[:short] for found in read.values())
    bench.expect(same, "the same records in pages of 1, 3 and 8", "they differ")
    beyond = await bench.ask(session, wire.ReadLog(from_sequence=newest + 1, max_records=8), wire.LogPage)
    record.expect(not beyond.records, "no records beyond the newest", str(len(beyond.records)))
    record.conclude(f"{len(entries)} records up to {newest}")


@CATALOGUE.step(
    "D-55",
    group=GROUP,
    title="Its limits can be kept",
    purpose="A programmer explains refusals by them beforehand.",
    stimulus="The limits are read, and the program beside them.",
    expected="Every lower limit below its upper one; soft inside hard; the therapy in force inside the limits.",
    sources=(itp("7"), trust("5.7"), domain("3.1")),
    claims=BASE,
)
async def _limits(bench: Bench) -> None:
    session = await bench.session()
    limits = await bench.ask(session, wire.ReadLimits(), wire.Limits)
    record = bench.record
    for low, high in (
        ("min_rate_nl_per_day", "max_rate_nl_per_day"),
        ("daily_dose_hard_min_ng", "daily_dose_soft_min_ng"),
        ("daily_dose_soft_min_ng", "daily_dose_soft_max_ng"),
        ("daily_dose_soft_max_ng", "daily_dose_hard_max_ng"),
        ("change_soft_ppm", "change_hard_ppm"),
        ("bolus_dose_soft_max_ng", "bolus_dose_hard_max_ng"),
        ("window_1h_nl", "window_4h_nl"),
        ("window_4h_nl", "window_24h_nl"),
    ):
        least, most = getattr(limits, low), getattr(limits, high)
        record.expect(least <= most, f"{low} not above {high}", f"{least} and {most}")
    _, program = await bench.program(session)
    if program.mode.value == "simple_continuous":
        held = limits.min_rate_nl_per_day <= program.rate_nl_per_day <= limits.max_rate_nl_per_day
        record.expect(held, "the rate in force inside the limits", f"{program.rate_nl_per_day} nl/day")


@CATALOGUE.step(
    "D-56",
    group=GROUP,
    title="A part that does not exist is refused",
    purpose="A programmer that reads on must not be given something else.",
    stimulus="The part after the program's last one, and part 255.",
    expected="Refusal format, image_out_of_bounds.",
    sources=(itp("7"), itp("12")),
    claims=BASE,
)
async def _no_such_part(bench: Bench) -> None:
    session = await bench.session()
    report, _ = await bench.program(session)
    for part in (report.parts, 255):
        answer = await session.ask(wire.ReadProgram(part=part))
        bench.expect_refusal(answer, RefusalReason.IMAGE_OUT_OF_BOUNDS, f"part {part} of {report.parts}")


@CATALOGUE.step(
    "D-57",
    group=GROUP,
    title="Alarms are one list, whoever tells it",
    purpose="A tablet that reads the status alone must not miss an alarm.",
    stimulus="The bits in Status and the list of alarms.",
    expected="Every kind in the status stands in the list as present; no kind stands in the list twice.",
    sources=(itp("7"), domain("5.7")),
    claims=BASE,
)
async def _alarms_agree(bench: Bench) -> None:
    session = await bench.session()
    status = await bench.status(session)
    report = await bench.ask(session, wire.ReadAlarms(), wire.AlarmReport)
    kinds = [alarm.kind for alarm in report.alarms]
    bench.record.expect(len(set(kinds)) == len(kinds), "each kind once", ", ".join(kinds))
    listed = {alarm.kind for alarm in report.alarms}
    bench.record.expect(
        set(status.alarms) <= listed,
        f"in the list: {', '.join(status.alarms) or 'none'}",
        ", ".join(kinds) or told(report),
    )
