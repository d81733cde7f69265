"""The driver against a virtual pump, on one manual clock: reading, changing, refusing, losing, finding out."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry import (
    DailyDose,
    FlowRate,
    HourlyDose,
    LinkError,
    LinkTimeout,
    OutcomeUnknown,
    Proposal,
    Refused,
    Therapy,
    UsageError,
    VirtualPump,
)
from telemetry.interrogation import Interrogation
from telemetry.model import AlarmKind, AlarmSignal, OperationKind, PumpMode, Role, StopReason, Verdict, Warn
from telemetry.programmer.journal import MemoryJournalStore, Stage, unresolved
from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.credentials import test_credential
from telemetry.protocol.messages import ReadBack, Staged
from telemetry.sim.connector import station_of
from telemetry.sim.transaction import ReadyProposal
from telemetry.transport.faults import FaultPlan
from telemetry.units import Concentration
from tests.support.turns import turns, until

if TYPE_CHECKING:
    from telemetry.programmer.journal import Journal
    from telemetry.programmer.opening import Connecting

CLINICIAN_SLOT = test_credential(Role.CLINICIAN).slot
RATE = FlowRate.parse("0.150 ml/day")


@pytest.fixture
def pump() -> VirtualPump:
    return VirtualPump(seed=5)


class Bench:
    """A pump, the journal of its programmer, and links that can be damaged."""

    def __init__(self, pump: VirtualPump) -> None:
        self.pump = pump
        self.store = MemoryJournalStore()

    def connect(self, faults: str = "", role: Role = Role.CLINICIAN) -> Connecting:
        plan = FaultPlan.parse(faults, seed=1) if faults else None
        return telemetry.connect(pump=self.pump, journal=self.store, faults=plan, role=role)

    @property
    def journal(self) -> Journal:
        return self.store.journal(self.pump.device.pump_id, CLINICIAN_SLOT)

    def stages(self) -> list[Stage]:
        return [entry.stage for entry in self.journal.entries()]


@pytest.fixture
def bench(pump: VirtualPump) -> Bench:
    return Bench(pump)


async def test_what_is_read_is_what_the_pump_says(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect() as programmer:
        pump.advance(days=3, ms=777)
        assert await programmer.read_status() == pump.status
        assert await programmer.read_identity() == pump.device.identity()
        assert await programmer.read_program() == pump.device.program_report()
        assert await programmer.read_limits() == pump.device.limits()
        assert await programmer.read_alarms() == pump.device.alarms()
        telemeter = await programmer.read_telemeter()
        assert (telemeter.contact, telemeter.coupling_bars, telemeter.simulated) == (True, 5, True)


async def test_the_whole_log_comes_in_pages_with_progress(bench: Bench, pump: VirtualPump) -> None:
    for turn in range(20):
        pump.program(Therapy.simple_continuous(FlowRate(150_000 + turn)))
    steps: list[tuple[int, int]] = []
    async with bench.connect() as programmer:
        log = await programmer.read_log(progress=lambda done, total: steps.append((done, total)))
        later = await programmer.read_log(since=15)
        nothing = await programmer.read_log(since=log.newest_sequence + 1)
    assert [record.sequence for record in log.records] == list(range(1, log.newest_sequence + 1))
    assert later.records == log.records[14:]
    assert nothing.records == ()
    assert steps[-1] == (len(log.records), len(log.records))
    assert len(steps) > 1


async def test_a_rate_is_set_and_the_change_tells_before_and_after(bench: Bench, pump: VirtualPump) -> None:
    pump.advance(hours=5)
    async with bench.connect() as programmer:
        change = await programmer.set_rate(RATE)
    assert (change.operation, change.before.rate_nl_per_day, change.after.rate_nl_per_day) == (
        OperationKind.PROGRAM,
        170_000,
        150_000,
    )
    assert change.after.dose_ng_per_day == 300_000
    assert change.applied_at_ms == 5 * 3_600_000
    assert pump.status.rate_nl_per_day == 150_000
    assert bench.stages() == [Stage.APPLIED]


@pytest.mark.parametrize(
    ("rate", "nl_per_day", "ng_per_day"),
    [
        (DailyDose.parse("300 ug/day"), 150_000, 300_000),
        (HourlyDose.parse("12.5 ug/h"), 150_000, 300_000),
        (DailyDose(300_001), 150_000, 300_001),
        (FlowRate(150_001), 150_001, 300_002),
    ],
)
async def test_a_dose_becomes_a_flow_against_the_drug_in_the_reservoir(
    bench: Bench, rate: FlowRate | DailyDose | HourlyDose, nl_per_day: int, ng_per_day: int
) -> None:
    async with bench.connect() as programmer:
        change = await programmer.set_rate(rate)
        program = (await programmer.read_program()).program
    assert (change.after.rate_nl_per_day, change.after.dose_ng_per_day) == (nl_per_day, ng_per_day)
    assert (program.rate_nl_per_day, program.dose_ng_per_day) == (nl_per_day, ng_per_day)


async def test_a_bare_number_is_no_rate(bench: Bench) -> None:
    async with bench.connect() as programmer:
        with pytest.raises(UsageError, match="a bare number has no unit"):
            await programmer.set_rate(150_000)  # type: ignore[arg-type]
    assert bench.stages() == []


async def test_the_minimum_rate_goes_the_long_way(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect() as programmer:
        change = await programmer.program(Therapy.minimum_rate(), accept=tuple(Warn))
    assert change.after.mode is PumpMode.MINIMUM_RATE
    assert pump.status.rate_nl_per_day == pump.device.limits().keep_alive_rate_nl_per_day


async def test_the_pumps_limits_are_told_in_units(pump: VirtualPump) -> None:
    weak = VirtualPump(seed=6, concentration=Concentration.parse("500 ug/ml"))
    async with telemetry.connect(pump=weak) as programmer:
        with pytest.raises(Refused) as refusal:
            await programmer.set_rate(DailyDose.parse("22 ug/day"))
    assert refusal.value.reason == "rate_below_minimum"
    assert refusal.value.status == "limit_hard"
    assert "22 µg/day" in str(refusal.value)
    assert "24 µg/day" in str(refusal.value)
    assert "500 µg/ml" in str(refusal.value)
    assert pump.status.rate_nl_per_day == 170_000


async def test_soft_limits_are_accepted_by_name_or_not_at_all(bench: Bench, pump: VirtualPump) -> None:
    large = FlowRate.parse("0.250 ml/day")
    async with bench.connect() as programmer:
        with pytest.raises(Refused) as refusal:
            await programmer.set_rate(large)
        assert refusal.value.warnings == ("daily_dose_change",)
        assert pump.status.rate_nl_per_day == 170_000
        with pytest.raises(UsageError, match="the warnings are: daily_dose_change"):
            await programmer.set_rate(large, accept=("everything",))
        change = await programmer.set_rate(large, accept=("daily_dose_change",))
        assert change.warnings == (Warn.DAILY_DOSE_CHANGE,)
    assert bench.stages() == [Stage.ABANDONED, Stage.APPLIED]


async def test_a_person_sees_the_pumps_numbers_before_anything_changes(bench: Bench, pump: VirtualPump) -> None:
    shown: list[Proposal] = []

    async def no(proposal: Proposal) -> bool:
        shown.append(proposal)
        assert pump.status.rate_nl_per_day == 170_000
        return False

    async def yes(proposal: Proposal) -> bool:
        shown.append(proposal)
        return True

    async with bench.connect() as programmer:
        with pytest.raises(Refused, match="not confirmed"):
            await programmer.set_rate(RATE, confirm=no)
        assert pump.status.rate_nl_per_day == 170_000
        await programmer.set_rate(RATE, confirm=yes)
    assert shown[0] == shown[1]
    assert (shown[0].dose_24h_ng, shown[0].volume_24h_nl) == (300_000, 150_000)
    assert shown[0].change_ppm == 117_648  # 40/340, rounded up
    assert shown[0].empty_in_s == 40_000_000 * 86_400 // 150_000


async def test_a_slow_person_commits_what_was_shown_or_is_asked_again(bench: Bench, pump: VirtualPump) -> None:
    asked: list[Proposal] = []

    async def ponder(proposal: Proposal) -> bool:
        asked.append(proposal)
        if len(asked) == 1:
            pump.advance(minutes=2)  # session and proposal are long gone
        return True

    async with bench.connect() as programmer:
        change = await programmer.set_rate(RATE, confirm=ponder)
    assert change.after.rate_nl_per_day == 150_000
    # Two minutes on, the reservoir lasts two minutes less: other numbers, so the person was asked again.
    assert [proposal.empty_in_s for proposal in asked] == [23_040_000, 23_040_000 - 136]
    assert bench.stages() == [Stage.ABANDONED, Stage.APPLIED]


async def test_stop_and_resume(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect() as programmer:
        stopped = await programmer.stop(StopReason.OVERDOSE)
        assert (stopped.operation, stopped.after.mode) == (OperationKind.STOP, PumpMode.STOPPED)
        assert pump.status.mode is PumpMode.STOPPED
        again = await programmer.stop()
        assert again.before.mode is PumpMode.STOPPED
        with pytest.raises(Refused) as refusal:
            await programmer.set_rate(RATE)
        assert refusal.value.warnings == ("starts_delivery",)
        pump.advance(hours=49)
        with pytest.raises(Refused) as refusal:
            await programmer.resume()
        assert refusal.value.warnings == ("stopped_over_48_h",)
        resumed = await programmer.resume(accept=("stopped_over_48_h",))
        assert resumed.after.rate_nl_per_day == 170_000
        assert pump.status.rate_nl_per_day == 170_000
        with pytest.raises(Refused, match="not stopped"):
            await programmer.resume(accept=tuple(Warn))


async def test_alarms_are_silenced_for_a_time_and_acknowledged(bench: Bench, pump: VirtualPump) -> None:
    pump.advance_until("alarm_raised", "low_reservoir")
    async with bench.connect() as programmer:
        (alarm,) = await programmer.silence_alarm(60_000)
        assert (alarm.kind, alarm.signal) == (AlarmKind.LOW_RESERVOIR, AlarmSignal.SILENCED)
        pump.advance(minutes=1)
        (alarm,) = await programmer.read_alarms()
        assert alarm.signal is AlarmSignal.ON
        (alarm,) = await programmer.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)
        assert alarm.signal is AlarmSignal.ACKNOWLEDGED
        with pytest.raises(UsageError, match="no whole number of seconds"):
            await programmer.silence_alarm(1_500)


async def test_alarms_come_as_they_are_raised(bench: Bench, pump: VirtualPump) -> None:
    pump.advance_until("alarm_raised", "low_reservoir")
    seen: list[AlarmKind] = []

    async def listen() -> None:
        async with bench.connect(role=Role.OBSERVER) as programmer:
            async for alarm in programmer.alarms():
                seen.append(alarm.kind)
                if len(seen) == 2:
                    return

    listening = asyncio.ensure_future(listen())
    await until(lambda: bool(seen))
    async with bench.connect() as other:  # a poll that is over does not hold the pump
        await other.read_status()
    pump.advance_until("alarm_raised", "empty_reservoir")
    await listening
    assert seen == [AlarmKind.LOW_RESERVOIR, AlarmKind.EMPTY_RESERVOIR]


async def test_a_role_may_not_do_more_than_its_row(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect(role=Role.OBSERVER) as programmer:
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
        with pytest.raises(Refused) as refusal:
            await programmer.set_rate(RATE)
        assert (refusal.value.reason, refusal.value.status) == ("role_forbids", "role")
        with pytest.raises(Refused, match="role forbids"):
            await programmer.stop()
    async with bench.connect(role=Role.EMERGENCY) as programmer:
        await programmer.stop(StopReason.OVERDOSE)
    assert pump.status.mode is PumpMode.STOPPED


async def test_another_slot_finds_the_pump_in_use(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect() as first, bench.connect(role=Role.OBSERVER) as second:
        await first.read_status()
        with pytest.raises(LinkError, match="in use"):
            await second.read_status()
        await first.release()
        await second.read_status()
    assert pump.status.rate_nl_per_day == 170_000


async def test_a_session_that_idled_out_is_opened_again(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect() as programmer:
        await programmer.read_status()
        pump.advance(seconds=31)
        assert (await programmer.read_status()).now_ms == 31_000
        pump.advance(days=190)
        await programmer.set_rate(RATE)


async def test_no_contact_is_said_at_once_and_nothing_is_sent(bench: Bench, pump: VirtualPump) -> None:
    telemeter = station_of(pump).telemeter
    telemeter.lift()
    async with bench.connect() as programmer:
        with pytest.raises(LinkTimeout, match="not over the pump"):
            await programmer.set_rate(RATE)
        assert telemeter.frames_to_pump == 0
        assert bench.stages() == []
        telemeter.place()
        await programmer.set_rate(RATE)


async def test_contact_lost_in_mid_command_is_explained(bench: Bench, pump: VirtualPump) -> None:
    telemeter = station_of(pump).telemeter
    events: list[int] = []
    async with bench.connect() as programmer:
        await programmer.watch_contact(lambda event: events.append(event.coupling_bars))
        await programmer.read_status()
        telemeter.lift()
        with pytest.raises(LinkTimeout, match="is not over the pump"):
            await programmer.read_status()
        assert events == [0]
        telemeter.place(3)
        await programmer.read_status()
        assert events == [0, 3]


@pytest.mark.inv(61)
@pytest.mark.parametrize("fault", ["drop:1@tx", "drop:1@rx", "corrupt:1@tx", "corrupt:1@rx", "truncate:1"])
async def test_inv_61_no_call_hangs_on_a_dead_link(bench: Bench, pump: VirtualPump, fault: str) -> None:
    async with bench.connect(fault) as programmer:
        for call in (programmer.read_status(), programmer.set_rate(RATE), programmer.stop()):
            started_ms = pump.now_ms
            with pytest.raises(LinkTimeout, match="no telemeter answered"):
                await call
            assert pump.now_ms - started_ms <= 10_000
    assert bench.stages() == []
    assert pump.status.rate_nl_per_day == 170_000


@pytest.mark.inv(20)
@pytest.mark.parametrize(
    "lost",
    [
        "drop:1@tx/Commit*1",
        "drop:1@rx/VerdictReport*1",
        "drop:1@rx/VerdictReport*3",
        "duplicate:1@tx/Commit",
        "duplicate:1@rx/VerdictReport",
        "corrupt:1@rx/VerdictReport*2",
        "drop:1@rx/Staged*1",
    ],
)
async def test_inv_20_a_lost_frame_or_two_changes_nothing_about_the_outcome(
    bench: Bench, pump: VirtualPump, lost: str
) -> None:
    sequence = pump.device.ledger_sequence
    async with bench.connect(lost) as programmer:
        change = await programmer.set_rate(RATE)
    assert change.after.rate_nl_per_day == pump.status.rate_nl_per_day == 150_000
    assert pump.device.ledger_sequence == sequence + 1
    assert bench.stages() == [Stage.APPLIED]


@pytest.mark.inv(21)
async def test_inv_21_a_commit_that_never_arrived_is_refused_for_good(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect("drop:1@tx/Commit") as programmer:
        with pytest.raises(Refused, match="never") as refusal:
            await programmer.set_rate(RATE)
    assert pump.status.rate_nl_per_day == 170_000
    assert bench.stages() == [Stage.REFUSED]
    async with bench.connect() as programmer:
        outcome = await programmer.outcome(refusal.value.transaction)
    assert outcome.verdict is Verdict.NEVER


async def test_a_verdict_lost_for_good_is_found_by_asking_in_a_new_session(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect("drop:1@rx/VerdictReport*4") as programmer:
        change = await programmer.set_rate(RATE)
    assert change.after.rate_nl_per_day == pump.status.rate_nl_per_day == 150_000
    assert bench.stages() == [Stage.APPLIED]


@pytest.mark.inv(22)
@pytest.mark.parametrize("applied", [True, False])
async def test_inv_22_unknown_blocks_dosing_until_the_pump_has_told(
    bench: Bench,
    pump: VirtualPump,
    applied: bool,
) -> None:
    lost = "drop:1@rx/VerdictReport" if applied else "drop:1@tx/Commit,drop:1@tx/Query"
    async with bench.connect(lost) as programmer:
        with pytest.raises(OutcomeUnknown) as unknown:
            await programmer.set_rate(RATE)
        assert bench.stages() == [Stage.SENT]
        assert len(unresolved(bench.journal)) == 1
        sequence = pump.device.ledger_sequence
        for call in (programmer.set_rate(FlowRate(160_000)), programmer.resume()):
            with pytest.raises((OutcomeUnknown, LinkError)):
                await call
        assert pump.device.ledger_sequence == sequence, "a dosing request left while an outcome was unknown"
        assert [entry.op_id for entry in bench.journal.entries()] == [unknown.value.transaction]
    async with bench.connect() as programmer:
        await programmer.read_status()
        (outcome,) = programmer.resolved
        assert outcome.transaction == unknown.value.transaction
        assert outcome.verdict is (Verdict.APPLIED if applied else Verdict.NEVER)
        await programmer.set_rate(FlowRate(160_000))
    assert bench.stages() == [Stage.APPLIED if applied else Stage.REFUSED, Stage.APPLIED]


@pytest.mark.inv(22)
async def test_inv_22_the_first_request_of_the_next_contact_asks(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect("drop:1@rx/VerdictReport") as programmer:
        with pytest.raises(OutcomeUnknown):
            await programmer.set_rate(RATE)
    seen: list[str] = []
    channel = station_of(pump).firmware.channel
    channel._tap = lambda direction, frame, message: (
        seen.append(type(message).__name__) if direction == "to_pump" and message is not None else None
    )
    async with bench.connect() as programmer:
        await programmer.read_status()
    assert seen[:2] == ["Query", "ReadStatus"]


async def test_a_stop_goes_out_whatever_is_unknown_and_is_repeated_safely(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect("drop:1@rx/VerdictReport") as programmer:
        with pytest.raises(OutcomeUnknown):
            await programmer.set_rate(RATE)
        with pytest.raises(OutcomeUnknown):
            await programmer.stop(StopReason.OVERDOSE)
    assert pump.status.mode is PumpMode.STOPPED
    assert bench.stages() == [Stage.SENT, Stage.SENT]
    async with bench.connect("drop:1@rx/VerdictReport*6") as programmer:
        change = await programmer.stop()
        assert change.after.mode is PumpMode.STOPPED
        await programmer.read_status()
    assert unresolved(bench.journal) == []


async def test_cancelling_after_commit_leaves_the_operation_uncertain(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect() as programmer:
        setting = asyncio.ensure_future(programmer.set_rate(RATE))
        await until(lambda: Stage.SENT in bench.stages())
        setting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await setting
        assert bench.stages() == [Stage.SENT]
        await programmer.read_status()
    assert len(bench.stages()) == 1
    assert (bench.stages() == [Stage.APPLIED]) == (pump.status.rate_nl_per_day == 150_000)
    assert Stage.SENT not in bench.stages()


async def test_cancelling_before_commit_changes_nothing(bench: Bench, pump: VirtualPump) -> None:
    async def hesitate(_proposal: Proposal) -> bool:
        await asyncio.Event().wait()
        return True

    async with bench.connect() as programmer:
        setting = asyncio.ensure_future(programmer.set_rate(RATE, confirm=hesitate))
        await until(lambda: bool(bench.stages()))
        await turns(20)
        setting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await setting
        assert bench.stages() == [Stage.PENDING]
        await programmer.set_rate(FlowRate(160_000))
    assert pump.status.rate_nl_per_day == 160_000


@pytest.mark.inv(25)
async def test_inv_25_what_the_pump_forgot_is_settled_by_a_person(bench: Bench, pump: VirtualPump) -> None:
    async with bench.connect("drop:1@rx/VerdictReport") as programmer:
        with pytest.raises(OutcomeUnknown) as unknown:
            await programmer.set_rate(RATE)
    transaction = unknown.value.transaction
    other = MemoryJournalStore()  # a second programmer with the same credential, and no idea of ours
    for turn in range(pump.device.ledger_capacity * 2):
        async with telemetry.connect(pump=pump, journal=other) as stranger:
            await stranger.set_rate(FlowRate(150_000 + turn % 2 * 10_000))
    async with bench.connect() as programmer:
        assert (await programmer.outcome(transaction)).verdict is Verdict.FORGOTTEN
        with pytest.raises(OutcomeUnknown, match="no record of its outcome"):
            await programmer.set_rate(FlowRate(170_000))
        with pytest.raises(UsageError, match="say what was decided"):
            await programmer.settle(transaction, " ")
        with pytest.raises(UsageError, match="not an operation whose outcome is unknown"):
            await programmer.settle("00" * 16, "no such thing")
        await programmer.settle(transaction, "log shows 0.150 ml/day at 10:02; taken as applied, Dr A.")
        await programmer.set_rate(FlowRate(170_000))
    assert bench.stages()[0] is Stage.SETTLED


@pytest.mark.parametrize("lie", ["rate", "dose", "digest"])
async def test_a_read_back_that_differs_from_the_intent_is_never_committed(
    bench: Bench, pump: VirtualPump, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    true_part = ReadyProposal.part

    def part(self: ReadyProposal, number: int) -> ReadBack | Staged:
        staged = true_part(self, number)
        assert isinstance(staged, Staged)
        if lie == "digest":
            return replace(staged, image_digest=bytes(32))
        image = decode_record("program_image", staged.image)
        image = (
            replace(image, rate_nl_per_day=image.rate_nl_per_day + 1)
            if lie == "rate"
            else replace(image, dose_ng_per_day=image.dose_ng_per_day * 24)
        )
        return replace(staged, image=encode_record("program_image", image))

    monkeypatch.setattr(ReadyProposal, "part", part)
    async with bench.connect() as programmer:
        with pytest.raises(Refused, match="read back another program"):
            await programmer.set_rate(RATE)
    assert pump.status.rate_nl_per_day == 170_000
    assert bench.stages() == [Stage.ABANDONED]


async def test_a_refusal_of_commit_is_certain(bench: Bench, pump: VirtualPump) -> None:
    async def refill_meanwhile(_proposal: Proposal) -> bool:
        pump.refill()
        return True

    async with bench.connect() as programmer:
        with pytest.raises(Refused) as refusal:
            await programmer.set_rate(RATE, confirm=refill_meanwhile)
        assert refusal.value.reason == "base_changed"
        assert bench.stages() == [Stage.REFUSED]
        assert (await programmer.outcome(refusal.value.transaction)).verdict is Verdict.REFUSED
        with pytest.raises(UsageError, match="no operation id"):
            await programmer.outcome("17")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give either a URL"),
        ({"url": "sim:", "pump": "both"}, "give either a URL"),
        ({"url": "sim:", "role": "king"}, "role: 'king' is unknown"),
        ({"url": "sim:", "arm": True}, "arm: the published test credential"),
        ({"url": "nonsense"}, "nonsense"),
    ],
)
async def test_connect_says_what_is_wrong_before_anything_is_opened(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        telemetry.connect(**arguments)  # type: ignore[arg-type]


async def test_a_manual_clock_never_meets_real_io() -> None:
    with pytest.raises(UsageError, match="must not race real I/O"):
        telemetry.connect("tcp://127.0.0.1:1", clock=telemetry.ManualClock())
    pump = VirtualPump()
    with pytest.raises(UsageError, match="brings its own"):
        telemetry.connect(pump=pump, clock=telemetry.ManualClock())


async def test_a_sim_url_is_one_world_per_clock() -> None:
    clock = telemetry.ManualClock()
    url = "sim:?profile=itb-20&seed=7&fill=10ml"
    async with telemetry.connect(url, clock=clock) as programmer:
        assert (await programmer.read_status()).reservoir_nl == 10_000_000
        await programmer.set_rate(RATE)
        identity = await programmer.read_identity()
    async with telemetry.connect(url, clock=clock) as programmer:
        assert (await programmer.read_status()).rate_nl_per_day == 150_000
        clock.advance(days=10)
        assert (await programmer.read_status()).reservoir_nl == 8_500_000
    async with telemetry.connect(url) as programmer:
        assert (await programmer.read_status()).rate_nl_per_day == 170_000
        assert (await programmer.read_identity()).pump_id == identity.pump_id


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sim:somewhere", "takes no address"),
        ("sim:?colour=red", "no parameter 'colour'"),
        ("sim:?seed=x", "seed=x is no whole number"),
        ("sim:?fill=40", "has no unit"),
        ("sim:?fill=50ml", "outside 0 to the reservoir"),
        ("sim:?profile=nothing", "nothing"),
        ("sim:?age=ERI*1d", "age"),
        ("sim:?loss_ppm=2000000", "loss_ppm=2000000"),
    ],
)
async def test_a_wrong_sim_url_names_value_and_rule(url: str, words: str) -> None:
    async with telemetry.connect(url) as programmer:
        with pytest.raises(UsageError, match=words):
            await programmer.read_status()


async def test_a_slow_near_field_needs_longer_deadlines_and_gets_them() -> None:
    clock = telemetry.ManualClock()
    async with telemetry.connect("sim:?bits_per_s=4000&delay_ms=20", clock=clock) as programmer:
        change = await programmer.set_rate(RATE)
        assert change.after.rate_nl_per_day == 150_000
        telemeter = await programmer.read_telemeter()
    assert (telemeter.air_bits_per_s, telemeter.air_delay_ms) == (4_000, 20)
    # PROBE to ACCEPT at 4 kbit/s alone is over half a second (trust.md 4.3).
    assert 600 < clock.link_ms() < 6_000


@pytest.mark.inv(62)
async def test_inv_62_a_seed_replays_the_conversation_byte_for_byte() -> None:
    async def run() -> list[bytes]:
        from random import Random

        frames: list[bytes] = []
        pump = VirtualPump(seed=3)
        station = station_of(pump)
        station.firmware.channel._tap = lambda _d, frame, _m: frames.append(frame.body)
        async with telemetry.connect(pump=pump, entropy=Random(9).randbytes) as programmer:
            programmer._connection._utc_s = lambda: 1_790_000_000
            await programmer.set_rate(RATE)
            pump.advance(days=254)
            await programmer.read_alarms()
        return frames

    first, second = await run(), await run()
    assert first == second
    assert len(first) > 10


def test_the_blocking_face_does_the_same() -> None:
    pump = VirtualPump(seed=5)
    with telemetry.connect_sync(pump=pump) as programmer:
        assert programmer.read_status() == pump.status
        change = programmer.set_rate(RATE, confirm=lambda proposal: proposal.dose_24h_ng == 300_000)
        assert change.after.rate_nl_per_day == 150_000
        assert programmer.read_program().program.rate_nl_per_day == 150_000
        assert programmer.read_identity().simulated
        assert programmer.read_telemeter().contact
        assert programmer.read_limits().min_rate_nl_per_day == 48_000
        assert programmer.outcome(change.transaction).verdict is Verdict.APPLIED
        assert programmer.stop().after.mode is PumpMode.STOPPED
        assert programmer.resume().after.rate_nl_per_day == 150_000
        programmer.program(Therapy.simple_continuous(FlowRate(160_000)))
        pump.advance_until("alarm_raised", "low_reservoir")
        assert next(programmer.alarms()).kind is AlarmKind.LOW_RESERVOIR
        seen = next(programmer.follow())
        assert isinstance(seen, Interrogation)
        assert seen.status.alarms == (AlarmKind.LOW_RESERVOIR,)
        assert programmer.silence_alarm()[0].signal is AlarmSignal.SILENCED
        assert programmer.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)[0].kind is AlarmKind.LOW_RESERVOIR
        assert programmer.read_alarms()[0].kind is AlarmKind.LOW_RESERVOIR
        assert programmer.read_log().records
        assert programmer.resolved == ()
        with pytest.raises(UsageError, match="unknown"):
            programmer.settle(change.transaction, "no need")
        programmer.release()
    programmer.close()
    with pytest.raises(UsageError, match="closed"):
        programmer.read_status()


async def test_the_blocking_face_refuses_a_running_loop() -> None:
    with pytest.raises(UsageError, match="event loop is running"):
        telemetry.connect_sync("sim:")
