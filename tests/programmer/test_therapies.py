"""Every kind of change over the wire: what is staged, shown, committed, refused, and found out after a lost answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import (
    DailyDose,
    Dose,
    Duration,
    FlowRate,
    LinkError,
    OutcomeUnknown,
    Refused,
    Therapy,
    UsageError,
    VirtualPump,
    Volume,
)
from telemetry.model import Activity, OperationKind, PumpMode, Role, Warn
from telemetry.programmer import Applied, Proposal
from telemetry.programmer.journal import MemoryJournalStore, Stage, unresolved
from telemetry.programmer.texts import WITHDRAWAL
from telemetry.programmer.therapy import program_from
from telemetry.protocol import messages as wire
from telemetry.protocol.credentials import test_credential
from telemetry.protocol.orders import decode_order, encode_order
from telemetry.sim.connector import station_of
from telemetry.sim.transaction import ReadyProposal
from telemetry.therapy import (
    AlarmSettings,
    BolusOrder,
    ClockSetting,
    PatientBolusRule,
    PrimeOrder,
    Program,
    ProgramReport,
    RefillOrder,
)
from telemetry.transport.faults import FaultPlan
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.programmer import Programmer
    from telemetry.programmer.opening import Connecting

EVERY_WARNING = tuple(Warn)
FLEX = Therapy.flex({"00:00": DailyDose(280_000), "06:00": DailyDose(340_000), "22:00": FlowRate.parse("0.160 ml/day")})
HOURLY = Therapy.weekday(
    {
        day: {f"{hour:02d}:00": FlowRate(150_000 + 100 * hour + index) for hour in range(24)}
        for index, day in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    }
)
PERIODIC = Therapy.periodic_bolus(DailyDose(250_000), Dose(20_000), Duration.parse("5 min"), Duration.parse("6 h"))
RAMP = Therapy.titration([(7, DailyDose(350_000)), (7, DailyDose(380_000))])
THERAPIES = [FLEX, HOURLY, PERIODIC, RAMP, Therapy.minimum_rate(), Therapy.simple_continuous(FlowRate(150_001))]


class Bench:
    """A pump, the journal of its programmers, and links that can be damaged."""

    def __init__(self, pump: VirtualPump) -> None:
        self.pump = pump
        self.store = MemoryJournalStore()

    def connect(self, faults: str = "", role: Role = Role.CLINICIAN) -> Connecting:
        plan = FaultPlan.parse(faults, seed=1) if faults else None
        return telemetry.connect(pump=self.pump, journal=self.store, faults=plan, role=role)

    def stages(self, role: Role = Role.CLINICIAN) -> list[Stage]:
        journal = self.store.journal(self.pump.device.pump_id, test_credential(role).slot)
        return [entry.stage for entry in journal.entries()]


@pytest.fixture
def bench() -> Bench:
    return Bench(VirtualPump(seed=5))


class Seen:
    """Somebody who says yes, and remembers what they were shown."""

    def __init__(self, pump: VirtualPump, *, answer: bool = True) -> None:
        self.pump = pump
        self.answer = answer
        self.proposals: list[Proposal] = []
        self.committed: list[int] = []

    async def confirm(self, proposal: Proposal) -> bool:
        self.proposals.append(proposal)
        self.committed.append(self.pump.status.program_sequence)
        return self.answer


def expected(pump: VirtualPump, therapy: Therapy) -> Program:
    status = pump.status
    return program_from(
        therapy,
        drug=status.drug,
        concentration_ng_per_ml=status.concentration_ng_per_ml,
        reservoir_generation=status.reservoir_generation,
        keep_alive_rate_nl_per_day=pump.device.limits().keep_alive_rate_nl_per_day,
    )


# --- programs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("therapy", THERAPIES, ids=lambda therapy: f"{therapy.mode.value}{len(therapy.steps)}")
async def test_a_therapy_of_every_mode_is_in_force_part_for_part(bench: Bench, therapy: Therapy) -> None:
    wanted, seen = expected(bench.pump, therapy), Seen(bench.pump)
    before = bench.pump.status.program_sequence
    async with bench.connect() as programmer:
        change = await programmer.program(therapy, accept=EVERY_WARNING, confirm=seen.confirm)
        report = await programmer.read_program()
    assert isinstance(change, Applied)
    assert change.order == wanted
    assert seen.proposals[0].order == wanted
    assert seen.committed == [before]
    assert report.program == wanted
    assert report == bench.pump.device.program_report()
    assert (bench.pump.status.mode, change.after.mode) == (therapy.mode, therapy.mode)
    assert change.after.dose_ng_per_day == wanted.dose_ng_per_day


async def test_a_long_program_that_changes_while_it_is_read_is_read_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.connect() as programmer:
        await programmer.program(HOURLY, accept=EVERY_WARNING)
        read, calls = programmer._read, list[int]()

        async def interfered(message: wire.Message, kind: type[wire.ProgramReport]) -> wire.ProgramReport:
            answer: wire.ProgramReport = await read(message, kind)
            calls.append(answer.part)
            if len(calls) == 2:
                bench.pump.program(FLEX)
            return answer

        monkeypatch.setattr(programmer, "_read", interfered)
        assert (await programmer.read_program()).program == expected(bench.pump, FLEX)
    assert calls[:2] == [0, 1]
    assert 0 in calls[2:]


async def test_the_patients_bolus_in_a_program_is_refused_for_baclofen_and_says_why(bench: Bench) -> None:
    rule = PatientBolusRule(Dose(5_000), Duration.parse("2 min"), Duration.parse("4 h"), 2)
    therapy = Therapy(PumpMode.SIMPLE_CONTINUOUS, FlowRate(170_000), patient_bolus=rule)
    async with bench.connect() as programmer:
        with pytest.raises(Refused, match=r"baclofen.*overdose") as refusal:
            await programmer.program(therapy, accept=EVERY_WARNING)
    assert refusal.value.reason == "patient_bolus_forbidden"
    assert bench.pump.status.program_sequence == 1


async def test_titration_by_a_share_scales_the_whole_schedule(bench: Bench) -> None:
    async with bench.connect() as programmer:
        await programmer.program(FLEX, accept=EVERY_WARNING)
        change = await programmer.titrate(100_000, accept=EVERY_WARNING)
        program = (await programmer.read_program()).program
    assert [step.dose_ng_per_day for step in program.steps] == [308_000, 374_000, 352_000]
    assert change.after.mode is PumpMode.FLEX


# --- boluses and primes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [Dose(50_000), Volume(25_000)])
async def test_a_bolus_is_given_on_top_of_the_basal_and_ends(bench: Bench, amount: Dose | Volume) -> None:
    seen = Seen(bench.pump)
    async with bench.connect() as programmer:
        change = await programmer.bolus(amount, Duration.parse("10 min"), confirm=seen.confirm)
        delivery, status = await programmer.read_delivery(), await programmer.read_status()
    assert change.order == BolusOrder(25_000, 50_000, 600, 2_000_000, 1)
    assert change.before == change.after
    assert (delivery.activity, delivery.activity_volume_nl) == (Activity.BOLUS, 25_000)
    assert delivery == bench.pump.device.delivery()
    assert status.activity_ends_ms == change.applied_at_ms + 10 * MS_PER_MINUTE
    assert seen.proposals[0].peak_nl_per_day == 170_000 + 25_000 * 144
    bench.pump.advance(minutes=10)
    assert bench.pump.status.activity is Activity.NONE
    assert bench.pump.status.rate_nl_per_day == 170_000


async def test_a_bolus_beyond_the_limits_is_refused_in_units(bench: Bench) -> None:
    async with bench.connect() as programmer:
        with pytest.raises(Refused, match=r"300 µg.*200 µg") as refusal:
            await programmer.bolus(Dose(300_000), Duration.parse("10 min"))
        assert refusal.value.reason == "bolus_dose_above_hard_limit"
        with pytest.raises(Refused) as soft:
            await programmer.bolus(Dose(150_000), Duration.parse("10 min"))
        assert soft.value.warnings == ("bolus_dose_high",)
        for amount, span in ((Dose(1), Duration(500)), (Dose(1), Duration(0))):
            with pytest.raises(UsageError, match="seconds"):
                await programmer.bolus(amount, span)
        with pytest.raises(UsageError, match="no Volume or Dose"):
            await programmer.bolus(50_000, Duration.parse("1 min"))  # type: ignore[arg-type]
    assert bench.pump.status.activity is Activity.NONE


@pytest.mark.parametrize(("where", "volume_nl"), [("catheter", 195_800), ("tubing", 140_000), ("path", 335_800)])
async def test_a_prime_fills_what_it_is_told_by_the_pumps_own_volumes(bench: Bench, where: str, volume_nl: int) -> None:
    async with bench.connect() as programmer:
        rules = await programmer.read_rules()
        change = await programmer.prime(where=where)
        assert change.order == PrimeOrder(volume_nl, rules.prime_rate_nl_per_day, 2_000_000, 1)
        delivery = await programmer.read_delivery()
    assert (delivery.activity, delivery.activity_volume_nl) == (Activity.PRIME, volume_nl)


async def test_a_prime_of_a_volume_at_a_rate(bench: Bench) -> None:
    async with bench.connect() as programmer:
        with pytest.raises(UsageError, match="none of path, catheter, tubing"):
            await programmer.prime(where="pump")
        with pytest.raises(Refused) as refusal:
            await programmer.prime(Volume.parse("1 ml"))
        assert refusal.value.reason == "prime_too_large"
        assert "1.000 ml" in str(refusal.value)
        change = await programmer.prime(Volume(100_000), rate=FlowRate.parse("12 ml/day"))
    assert change.order == PrimeOrder(100_000, 12_000_000, 2_000_000, 1)


# --- the patient's button -------------------------------------------------------------------------------------------


@pytest.fixture
def valve() -> Bench:
    """A pump whose patient may give boluses."""
    pump = VirtualPump(profile="valve-20", seed=6)
    rule = PatientBolusRule(Volume(5_000), Duration.parse("5 min"), Duration.parse("2 h"), 3)
    pump.program(Therapy(PumpMode.SIMPLE_CONTINUOUS, FlowRate(100_000), patient_bolus=rule))
    return Bench(pump)


async def test_a_patients_bolus_is_granted_once_and_then_locked_out(valve: Bench) -> None:
    async with valve.connect(role=Role.PATIENT) as programmer:
        change = await programmer.patient_bolus()
        assert change.operation is OperationKind.PATIENT_BOLUS
        delivery = await programmer.read_delivery()
        assert (delivery.activity, delivery.patient_boluses_24h) == (Activity.PATIENT_BOLUS, 1)
        valve.pump.advance(minutes=5)
        with pytest.raises(Refused) as refusal:
            await programmer.patient_bolus()
    assert refusal.value.reason == "locked_out"
    assert valve.stages(Role.PATIENT) == [Stage.APPLIED, Stage.REFUSED]


async def test_a_patients_bolus_whose_answer_is_lost_is_asked_for_and_never_given_twice(valve: Bench) -> None:
    async with valve.connect("drop:1@rx/VerdictReport*1", role=Role.PATIENT) as programmer:
        change = await programmer.patient_bolus()
    assert change.operation is OperationKind.PATIENT_BOLUS
    assert valve.pump.device.delivery().patient_boluses_24h == 1


async def test_while_a_patients_bolus_is_unknown_no_other_goes_out(valve: Bench) -> None:
    async with valve.connect("drop:1@rx/VerdictReport", role=Role.PATIENT) as programmer:
        with pytest.raises(OutcomeUnknown):
            await programmer.patient_bolus()
    assert valve.pump.device.delivery().patient_boluses_24h == 1
    async with valve.connect(role=Role.PATIENT) as programmer:
        await programmer.read_status()
        assert [outcome.certain for outcome in programmer.resolved] == [True]
    assert valve.stages(Role.PATIENT) == [Stage.APPLIED]


@pytest.mark.parametrize("role", [Role.OBSERVER, Role.PATIENT, Role.CLINICIAN, Role.EMERGENCY, Role.SERVICE])
async def test_the_patients_bolus_is_refused_in_every_role_for_baclofen(bench: Bench, role: Role) -> None:
    async with bench.connect(role=role) as programmer:
        with pytest.raises(Refused) as refusal:
            await programmer.patient_bolus()
    assert refusal.value.reason == "patient_bolus_forbidden"
    assert "baclofen" in str(refusal.value)
    assert bench.pump.status.activity is Activity.NONE


# --- settings -------------------------------------------------------------------------------------------------------


async def test_limits_are_set_whole_and_stay_inside_the_device(bench: Bench) -> None:
    async with bench.connect() as programmer:
        before = await programmer.read_limits()
        wanted = replace(before, daily_dose_hard_max_ng=900_000, daily_dose_soft_max_ng=600_000)
        change = await programmer.set_limits(wanted)
        assert change.order == wanted
        assert await programmer.read_limits() == wanted == bench.pump.device.limits()
        with pytest.raises(Refused) as refusal:
            await programmer.set_limits(replace(wanted, daily_dose_hard_max_ng=before.daily_dose_hard_max_ng + 1))
        assert refusal.value.reason == "limit_outside_device"
    assert change.before == change.after


async def test_what_is_not_said_of_the_alarms_stays(bench: Bench) -> None:
    async with bench.connect() as programmer:
        change = await programmer.configure_alarms(low_reservoir=Volume.parse("3 ml"))
        assert change.order == AlarmSettings(3_000_000, low_reservoir_enabled=True, elective_replacement_enabled=True)
        change = await programmer.configure_alarms(low_reservoir_enabled=False)
        settings = await programmer.read_alarm_settings()
    assert change.order == settings == bench.pump.device.alarm_settings()
    assert settings == AlarmSettings(3_000_000, low_reservoir_enabled=False, elective_replacement_enabled=True)


async def test_a_clock_setting_shows_how_far_the_schedule_moves_before_it_is_committed(bench: Bench) -> None:
    bench.pump.program(FLEX)
    seen = Seen(bench.pump, answer=False)
    async with bench.connect() as programmer:
        with pytest.raises(Refused) as refusal:
            await programmer.set_clock(zone_minutes=60)
        assert refusal.value.warnings == ("schedule_shifts",)
        with pytest.raises(Refused, match="not confirmed"):
            await programmer.set_clock(zone_minutes=60, accept=("schedule_shifts",), confirm=seen.confirm)
        assert seen.proposals[0].shift_minutes == 60
        assert (await programmer.read_delivery()).zone_minutes == 0
        await programmer.set_clock(zone_minutes=60, accept=("schedule_shifts",))
        after = await programmer.read_delivery()
    assert (after.zone_minutes, after.clock_utc_s) == (60, bench.pump.status.clock_utc_s)


async def test_a_clock_that_goes_on_while_a_person_reads_is_set_to_the_last_moment(bench: Bench) -> None:
    host = [1_800_000_000]
    asked: list[Proposal] = []

    async def slow(proposal: Proposal) -> bool:
        asked.append(proposal)
        host[0] += 40
        bench.pump.advance(seconds=40)
        return True

    async with bench.connect() as programmer:
        programmer._utc_s = lambda: host[0]
        change = await programmer.set_clock("now", confirm=slow)
    assert [one.order for one in asked] == [ClockSetting(1_800_000_000, 0)]
    assert change.order == ClockSetting(1_800_000_040, 0)
    assert bench.stages() == [Stage.ABANDONED, Stage.APPLIED]


async def test_an_instant_that_was_given_is_not_moved(bench: Bench) -> None:
    async with bench.connect() as programmer:
        change = await programmer.set_clock(1_790_000_000, 120)
        assert change.order == ClockSetting(1_790_000_000, 120)
        assert (await programmer.read_delivery()).clock_utc_s == 1_790_000_000


# --- stopping and starting ------------------------------------------------------------------------------------------


async def test_an_emergency_stop_shows_the_withdrawal_warning_first(bench: Bench) -> None:
    shown: list[str] = []

    async def no(text: str) -> bool:
        shown.append(text)
        return False

    async with bench.connect(role=Role.EMERGENCY) as programmer:
        with pytest.raises(Refused, match="was not stopped"):
            await programmer.emergency_stop(confirm=no)
        assert bench.pump.status.rate_nl_per_day == 170_000
        change = await programmer.emergency_stop()
    assert shown == [WITHDRAWAL]
    assert change.after.mode is PumpMode.STOPPED
    assert bench.pump.status.mode is PumpMode.STOPPED


async def test_a_start_after_more_than_48_hours_is_accepted_by_name_or_not_at_all(bench: Bench) -> None:
    async with bench.connect() as programmer:
        await programmer.stop()
        bench.pump.advance(hours=47)
        await programmer.resume()
        await programmer.stop()
        bench.pump.advance(hours=49)
        with pytest.raises(Refused) as refusal:
            await programmer.resume()
        assert refusal.value.warnings == ("stopped_over_48_h",)
        await programmer.resume(accept=("stopped_over_48_h",))
    assert bench.pump.status.mode is PumpMode.SIMPLE_CONTINUOUS


# --- the read-back, and lost answers --------------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[[Programmer], Awaitable[object]]] = {
    "program": lambda programmer: programmer.program(FLEX, accept=EVERY_WARNING),
    "bolus": lambda programmer: programmer.bolus(Dose(50_000), Duration.parse("10 min")),
    "prime": lambda programmer: programmer.prime(),
    "refill": lambda programmer: programmer.refill(Volume.parse("40 ml"), withdrawn=Volume.parse("40 ml")),
    "alarm_settings": lambda programmer: programmer.configure_alarms(low_reservoir=Volume.parse("3 ml")),
    "clock": lambda programmer: programmer.set_clock(1_790_000_000),
}


@pytest.mark.parametrize("kind", OPERATIONS)
async def test_an_order_that_comes_back_otherwise_is_never_committed(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = ReadyProposal.part

    def altered(self: ReadyProposal, number: int) -> wire.ReadBack | wire.Staged:
        staged = part(self, number)
        order = decode_order(OperationKind(kind), staged.image)
        image = encode_order(altered_order(order))
        fields = {name: getattr(staged, name) for name in wire.Staged.__dataclass_fields__}
        return wire.Staged(**fields | {"image": image})

    monkeypatch.setattr(ReadyProposal, "part", altered)
    async with bench.connect() as programmer:
        with pytest.raises(Refused, match=kind.replace("_", " ")) as refusal:
            await OPERATIONS[kind](programmer)
    assert refusal.value.reason == "image_digest_mismatch"
    assert refusal.value.field
    assert bench.stages() == [Stage.ABANDONED]
    assert bench.pump.status.program_sequence == 1


def altered_order(order: object) -> Program | RefillOrder | BolusOrder | PrimeOrder | AlarmSettings | ClockSetting:
    """One number of an order changed."""
    match order:
        case Program():
            return replace(order, steps=(*order.steps[:-1], replace(order.steps[-1], start_minute=1_321)))
        case RefillOrder():
            return replace(order, program=replace(order.program, reservoir_generation=9))
        case BolusOrder():
            return replace(order, duration_s=order.duration_s * 60)
        case PrimeOrder():
            return replace(order, volume_nl=order.volume_nl + 59_000)
        case AlarmSettings():
            return replace(order, low_reservoir_enabled=not order.low_reservoir_enabled)
        case ClockSetting():
            return replace(order, utc_s=order.utc_s + 3_600)
    raise AssertionError(type(order))


@pytest.mark.parametrize("kind", OPERATIONS)
async def test_a_lost_verdict_is_asked_for_and_the_change_is_there_once(bench: Bench, kind: str) -> None:
    async with bench.connect("drop:1@rx/VerdictReport*1") as programmer:
        change = await OPERATIONS[kind](programmer)
    assert isinstance(change, Applied)
    assert change.operation is OperationKind(kind)
    assert bench.stages() == [Stage.APPLIED]


@pytest.mark.parametrize("kind", OPERATIONS)
async def test_a_commit_that_never_arrives_is_unknown_and_then_told(bench: Bench, kind: str) -> None:
    async with bench.connect("drop:1@tx/Commit,drop:1@tx/Query") as programmer:
        with pytest.raises(OutcomeUnknown) as unknown:
            await OPERATIONS[kind](programmer)
    journal = bench.store.journal(bench.pump.device.pump_id, test_credential(Role.CLINICIAN).slot)
    assert [entry.op_id for entry in unresolved(journal)] == [unknown.value.transaction]
    async with bench.connect() as programmer:
        await OPERATIONS[kind](programmer)
        assert [outcome.transaction for outcome in programmer.resolved] == [unknown.value.transaction]
    assert bench.stages() == [Stage.REFUSED, Stage.APPLIED]


async def test_a_reading_on_which_a_change_rests_changes_nothing_when_it_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = station_of(bench.pump).firmware._handlers
    monkeypatch.setitem(handlers, wire.ReadIdentity, lambda _session, _message: wire.Begun())
    async with bench.connect() as programmer:
        with pytest.raises(LinkError):
            await programmer.prime()
        with pytest.raises(LinkError):
            await programmer.refill(Volume.parse("40 ml"), withdrawn=Volume.parse("40 ml"))
    assert bench.stages() == []


# --- reading --------------------------------------------------------------------------------------------------------


async def test_what_can_be_read_is_what_the_pump_says(bench: Bench) -> None:
    bench.pump.program(FLEX)
    bench.pump.advance(hours=30)
    async with bench.connect() as programmer:
        assert await programmer.read_delivery() == bench.pump.device.delivery()
        assert await programmer.read_alarm_settings() == bench.pump.device.alarm_settings()
        assert await programmer.read_identity() == bench.pump.device.identity()
        report = await programmer.read_program()
        rules = await programmer.read_rules()
        prescription = await programmer.read_prescription()
    assert isinstance(report, ProgramReport)
    assert report == bench.pump.device.program_report()
    profile = bench.pump.device.profile
    assert (rules.max_schedule_steps, rules.patient_bolus_allowed) == (profile.max_schedule_steps, False)
    assert rules.concentrations_ng_per_ml == profile.concentrations_ng_per_ml
    assert rules.max_silence_ms == profile.max_silence_ms
    assert prescription.program == report.program
    assert prescription.limits == bench.pump.device.limits()
    assert bench.pump.now_ms == MS_PER_DAY + 6 * MS_PER_HOUR
