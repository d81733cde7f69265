"""Every kind of order over the wire: one transaction for each, read back whole, applied once, refused by name."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from telemetry.model import Activity, OperationKind, PumpMode, RefusalReason, Role, Verdict, Warn
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import KINDS, encode_order
from telemetry.protocol.roles import STAGED, allows
from telemetry.protocol.wire import MAX_IMAGE, MAX_WRITE, Status
from telemetry.therapy import (
    ClockSetting,
    Program,
    ProgramBolus,
    ProgramBridge,
    ProgramRampStep,
    ProgramStep,
    RefillOrder,
)
from telemetry.units import NL_PER_ML, Concentration
from tests.support.orders import everything, orders, refused, simple, visit, week
from tests.support.talk import Rig

# --- every kind


@pytest.mark.inv(32)
@pytest.mark.parametrize("kind", KINDS.values())
def test_inv_32_every_order_is_read_back_as_it_stands_and_committed_once(kind: OperationKind) -> None:
    rig = Rig()
    talker = rig.open()
    order = orders(rig)[kind]
    before = everything(rig)
    op_id, staged = talker.stage_order(order)
    assert talker.read_back == encode_order(order)
    assert staged.image_digest == hashlib.sha256(talker.read_back).digest()
    assert everything(rig) == before, "staging must not change anything"
    commit = talker.commit(op_id, staged)
    verdict = talker.ask(commit)
    assert isinstance(verdict, wire.VerdictReport)
    assert (verdict.verdict, verdict.reason, verdict.op_id) == (Verdict.APPLIED, None, op_id)
    assert rig.firmware.verdict_pending
    after = everything(rig)
    assert after != before
    assert talker.ask(commit) == verdict
    asked = talker.ask(wire.Query(op_id=op_id))
    assert isinstance(asked, wire.VerdictReport)
    assert (asked.verdict, asked.effective_s) == (Verdict.APPLIED, verdict.effective_s)
    assert everything(rig) == after, "a commit that came again acted"


@pytest.mark.inv(31)
@pytest.mark.parametrize("kind", KINDS.values())
def test_inv_31_every_order_that_is_not_committed_leaves_everything(kind: OperationKind) -> None:
    rig = Rig()
    talker = rig.open()
    order = orders(rig)[kind]
    before = everything(rig)
    op_id, staged = talker.stage_order(order)
    wrong = bytes([staged.token[0] ^ 1]) + staged.token[1:]
    assert refused(talker.ask(talker.commit(op_id, staged, token=wrong)))[1] is RefusalReason.TOKEN_WRONG
    op_id, staged = talker.stage_order(order)
    assert isinstance(talker.ask(wire.Abort(op_id=op_id)), wire.Aborted)
    assert isinstance(talker.ask(talker.commit(op_id, staged)), wire.Refusal)
    op_id, staged = talker.stage_order(order)
    rig.firmware.contact_lost()
    assert isinstance(rig.open().ask(talker.commit(op_id, staged)), wire.Refusal)
    assert everything(rig) == before


@pytest.mark.inv(24)
@pytest.mark.inv(27)
@pytest.mark.parametrize("kind", KINDS.values())
def test_inv_24_and_27_numbers_used_up_and_bases_that_moved_are_refused_for_every_kind(kind: OperationKind) -> None:
    rig = Rig()
    talker = rig.open()
    image = encode_order(orders(rig)[kind])
    assert refused(talker.ask(talker.begin(image, kind, base_sequence=99)))[0] is Status.STALE_BASE
    used = talker.apply_rate(160_000)
    image = encode_order(orders(rig)[kind])
    assert refused(talker.ask(talker.begin(image, kind, used.op_id)))[0] is Status.CONFLICT
    op_id, staged = talker.stage_order(orders(rig)[kind])
    rig.pump.refill()
    verdict = talker.ask(talker.commit(op_id, staged))
    assert isinstance(verdict, wire.VerdictReport)
    assert (verdict.verdict, verdict.reason) == (Verdict.REFUSED, RefusalReason.BASE_CHANGED)


@pytest.mark.inv(13)
@pytest.mark.parametrize("role", list(Role))
def test_inv_13_begin_needs_the_row_of_its_kind(role: Role) -> None:
    for kind in OperationKind:
        rig = Rig()
        talker = rig.open(role)
        before = everything(rig)
        known = orders(rig)
        image = talker.resume_image() if kind not in known else encode_order(known[kind])
        answer = talker.ask(talker.begin(image, kind))
        if not allows(role, "program"):
            assert refused(answer) == (Status.ROLE, RefusalReason.ROLE_FORBIDS), kind
        elif kind not in STAGED:
            assert refused(answer) == (Status.UNSUPPORTED, RefusalReason.MODE_UNSUPPORTED), kind
        else:
            assert isinstance(answer, wire.Begun) is allows(role, STAGED[kind]), kind
        assert everything(rig) == before, kind


@pytest.mark.inv(13)
@pytest.mark.parametrize("row", ["therapy_limits", "set_clock", "alarm_settings"])
def test_inv_13_a_role_without_the_row_of_a_kind_may_not_open_it(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Today the clinician has all of them; the row must count all the same on the day that it is taken away."""
    rig = Rig()
    talker = rig.open()
    monkeypatch.setattr(
        "telemetry.sim.transacting.allows", lambda role, operation: operation != row and allows(role, operation)
    )
    for kind, order in orders(rig).items():
        answer = talker.ask(talker.begin(encode_order(order), kind))
        if STAGED[kind] == row:
            assert refused(answer) == (Status.ROLE, RefusalReason.ROLE_FORBIDS)
        else:
            assert isinstance(answer, wire.Begun)


# --- programs of every mode, read back and read again


def programs(rig: Rig) -> dict[str, Program]:
    strength = rig.device.status().concentration_ng_per_ml

    def dose(volume_nl: int) -> int:
        return volume_nl * strength // NL_PER_ML

    night = tuple(ProgramStep(0x7F, minute, rate, dose(rate)) for minute, rate in ((0, 120_000), (720, 180_000)))
    return {
        "simple": simple(rig),
        "minimum": simple(rig, rig.device.limits().keep_alive_rate_nl_per_day, mode=PumpMode.MINIMUM_RATE),
        "flex": simple(rig, 150_000, mode=PumpMode.FLEX, steps=night),
        "weekday": week(rig),
        "periodic": simple(
            rig, mode=PumpMode.PERIODIC_BOLUS, bolus=ProgramBolus(12_500, dose(12_500), 600, 21_600, 21_600)
        ),
        "titration": simple(
            rig,
            mode=PumpMode.TITRATION,
            ramp=(ProgramRampStep(7, 150_000, dose(150_000)), ProgramRampStep(7, 165_000, dose(165_000))),
        ),
    }


@pytest.mark.inv(32)
@pytest.mark.parametrize("name", ["simple", "minimum", "flex", "weekday", "periodic", "titration"])
def test_inv_32_a_program_of_every_mode_is_read_as_it_was_committed(name: str) -> None:
    rig = Rig()
    talker = rig.open()
    program = programs(rig)[name]
    verdict = talker.apply(program)
    assert verdict.verdict is Verdict.APPLIED
    assert talker.program() == rig.device.program_report().program == program
    status = talker.ask(wire.ReadStatus())
    assert isinstance(status, wire.Status)
    assert status.mode is program.mode
    assert status.program_digest == hashlib.sha256(encode_order(program)).digest()[:8]


def test_the_longest_schedule_goes_out_and_comes_back_in_parts() -> None:
    rig = Rig()
    talker = rig.open()
    program = week(rig)
    image = encode_order(program)
    assert 2_500 < len(image) <= MAX_IMAGE
    sent = len(talker.sent)
    talker.apply(program)
    assert len(talker.sent) - sent == 1 + -(-len(image) // MAX_WRITE) + 14 + 1
    first = talker.ask(wire.ReadProgram(0))
    assert isinstance(first, wire.ProgramReport)
    assert (first.parts, len(first.image)) == (13, 200)
    assert refused(talker.ask(wire.ReadProgram(13))) == (Status.FORMAT, RefusalReason.IMAGE_OUT_OF_BOUNDS)
    assert talker.program() == program


def test_each_part_of_a_program_names_the_program_it_is_of() -> None:
    rig = Rig()
    talker = rig.open()
    talker.apply(week(rig))
    first = talker.ask(wire.ReadProgram(0))
    changed = rig.open()
    changed.apply(week(rig, steps_a_day=12))
    second = changed.ask(wire.ReadProgram(1))
    assert isinstance(first, wire.ProgramReport)
    assert isinstance(second, wire.ProgramReport)
    assert second.program_sequence == first.program_sequence + 1
    assert (second.program_digest, second.parts) != (first.program_digest, first.parts)


# --- refill and bridge


def test_a_refill_with_bridge_is_one_record_and_the_old_drug_leaves_first() -> None:
    """domain.md 2.7: 500 to 2000 ug/ml at 300 ug/day is 0.600 ml/day for 13.43 h, then 0.150 ml/day."""
    rig = Rig(concentration=Concentration.parse("500 ug/ml"), start_rate_nl_per_day=600_000)
    talker = rig.open()
    status = rig.device.status()
    assert (status.rate_nl_per_day, status.dose_ng_per_day) == (600_000, 300_000)
    path_nl = rig.device.identity().tubing_volume_nl + rig.device.identity().catheter_volume_nl
    program = simple(
        rig,
        150_000,
        dose_ng_per_day=300_000,
        concentration_ng_per_ml=2_000_000,
        reservoir_generation=status.reservoir_generation + 1,
        bridge=ProgramBridge(path_nl, 600_000, 300_000, 500_000),
    )
    sequence = rig.device.ledger_sequence
    verdict = talker.apply(RefillOrder(38_000_000, status.reservoir_nl, program))
    assert verdict.verdict is Verdict.APPLIED
    assert rig.device.ledger_sequence == sequence + 1
    bridging = talker.ask(wire.ReadStatus())
    assert isinstance(bridging, wire.Status)
    assert (bridging.reservoir_nl, bridging.concentration_ng_per_ml) == (38_000_000, 2_000_000)
    assert bridging.reservoir_generation == status.reservoir_generation + 1
    assert (bridging.activity, bridging.rate_nl_per_day, bridging.dose_ng_per_day) == (
        Activity.BRIDGE,
        600_000,
        300_000,
    )
    assert bridging.activity_ends_s is not None
    assert (bridging.activity_ends_s - bridging.now_s) // 36 == 1_343  # 13.43 h
    rig.pump.advance(hours=14)
    then = rig.open().ask(wire.ReadStatus())
    assert isinstance(then, wire.Status)
    assert (then.activity, then.rate_nl_per_day, then.dose_ng_per_day) == (Activity.NONE, 150_000, 300_000)


def test_a_refill_is_refused_whole() -> None:
    rig = Rig()
    talker = rig.open()
    good = orders(rig)[OperationKind.REFILL]
    assert isinstance(good, RefillOrder)
    before = everything(rig)
    too_much = talker.refused_order(replace(good, volume_nl=rig.device.identity().reservoir_capacity_nl + 1))
    assert refused(too_much) == (Status.LIMIT_HARD, RefusalReason.RESERVOIR_OVERFILLED)
    same = replace(good, program=simple(rig))
    assert refused(talker.refused_order(same)) == (Status.BINDING, RefusalReason.RESERVOIR_GENERATION_MISMATCH)
    strange = replace(good, program=replace(good.program, bridge=ProgramBridge(300_000, 150_000, 150_000, 1_000_000)))
    assert refused(talker.refused_order(strange)) == (Status.BINDING, RefusalReason.BRIDGE_MISMATCH)
    assert everything(rig) == before


# --- activities


def test_a_bolus_is_told_of_while_it_runs() -> None:
    rig = Rig()
    talker = rig.open()
    talker.apply(orders(rig)[OperationKind.BOLUS])
    rig.pump.advance(minutes=5)
    talker = rig.open()
    delivery = talker.ask(wire.ReadDelivery())
    assert isinstance(delivery, wire.Delivery)
    assert (delivery.activity, delivery.activity_volume_nl) == (Activity.BOLUS, 12_500)
    assert delivery.activity_delivered_nl == 6_250
    assert delivery.activity_ends_s == delivery.now_s + 300
    assert delivery.window_1h_nl >= 6_250
    status = talker.ask(wire.ReadStatus())
    assert isinstance(status, wire.Status)
    assert (status.activity, status.activity_ends_s) == (Activity.BOLUS, delivery.activity_ends_s)
    assert status.rate_nl_per_day == 170_000 + 12_500 * 144
    busy = talker.refused_order(orders(rig)[OperationKind.PRIME])
    assert refused(busy) == (Status.STATE, RefusalReason.ACTIVITY_RUNNING)
    assert refused(talker.refused_order(simple(rig))) == (Status.STATE, RefusalReason.ACTIVITY_RUNNING)


def test_a_prime_runs_at_its_own_rate_and_the_program_waits() -> None:
    rig = Rig()
    talker = rig.open()
    talker.apply(orders(rig)[OperationKind.PRIME])
    status = talker.ask(wire.ReadStatus())
    assert isinstance(status, wire.Status)
    assert (status.activity, status.rate_nl_per_day) == (Activity.PRIME, 2_000_000)


# --- settings


def test_limits_settings_and_clock_are_read_as_they_were_committed() -> None:
    rig = Rig()
    talker = rig.open()
    wanted = orders(rig)
    for kind in (OperationKind.LIMITS, OperationKind.ALARM_SETTINGS, OperationKind.CLOCK):
        assert talker.apply(wanted[kind]).verdict is Verdict.APPLIED, kind
    limits = talker.ask(wire.ReadLimits())
    assert isinstance(limits, wire.Limits)
    assert limits.daily_dose_hard_max_ng == 1_500_000
    profile = rig.device.profile
    assert tuple(row.concentration_ng_per_ml for row in limits.concentrations) == profile.concentrations_ng_per_ml
    assert (limits.max_schedule_steps, limits.patient_bolus_allowed) == (24, False)
    assert limits.prime_rate_nl_per_day == profile.prime_rate_nl_per_day
    settings = talker.ask(wire.ReadAlarmSettings())
    assert isinstance(settings, wire.AlarmSettingsReport)
    assert (settings.low_reservoir_alarm_nl, settings.low_reservoir_enabled) == (3_000_000, False)
    assert settings.elective_replacement_enabled
    delivery = talker.ask(wire.ReadDelivery())
    assert isinstance(delivery, wire.Delivery)
    assert delivery.zone_minutes == -300
    clock = wanted[OperationKind.CLOCK]
    assert isinstance(clock, ClockSetting)
    assert delivery.clock_utc_s == clock.utc_s


@pytest.mark.parametrize(("hours", "minutes"), [(2, 120), (-3, -180), (0, 0)])
def test_a_clock_shows_the_shift_of_the_schedule_before_it_is_committed(hours: int, minutes: int) -> None:
    rig = Rig()
    talker = rig.open()
    talker.apply(programs(rig)["flex"])
    status, zone = rig.device.status(), rig.device.delivery().zone_minutes
    op_id, staged = talker.stage_order(ClockSetting(status.clock_utc_s, zone + 60 * hours))
    assert staged.shift_minutes == minutes
    assert (Warn.SCHEDULE_SHIFTS in staged.warnings) is bool(hours)
    if hours:
        verdict = talker.ask(talker.commit(op_id, staged, accepted_warnings=()))
        assert isinstance(verdict, wire.VerdictReport)
        assert verdict.reason is RefusalReason.WARNINGS_NOT_ACCEPTED
        assert rig.device.delivery().zone_minutes == zone


def test_a_clock_reset_by_decades_still_tells_its_shift() -> None:
    rig = Rig()
    talker = rig.open()
    talker.apply(programs(rig)["flex"])
    _, staged = talker.stage_order(ClockSetting((1 << 32) - 1, 0))
    assert staged.shift_minutes > 40_000_000


def test_a_limit_beyond_the_device_is_refused() -> None:
    rig = Rig()
    factory = rig.device.limits()
    order = replace(factory, max_rate_nl_per_day=factory.max_rate_nl_per_day + 1)
    assert refused(rig.open().refused_order(order)) == (Status.LIMIT_HARD, RefusalReason.LIMIT_OUTSIDE_DEVICE)


# --- interrogation


def test_the_device_is_told_of_each_session_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    told: list[int] = []
    monkeypatch.setattr(type(rig.device), "interrogated", lambda device: told.append(device.now_ms))
    visit(rig)
    assert told == [], "opened, but nothing was asked yet"
    talker = visit(rig, Role.OBSERVER)
    for request in (wire.ReadIdentity(), wire.ReadStatus(), wire.ReadStatus()):
        talker.ask(request)
    assert len(told) == 1
    visit(rig).ask(wire.ReadStatus())
    assert len(told) == 2


def test_what_only_an_interrogation_ends_is_durable_before_the_answer() -> None:
    rig = Rig()
    visit(rig).ask(wire.ReadStatus())
    assert not rig.firmware.verdict_pending
    core = rig.device.core
    core.upsets.telemetry_since_ms = core.now_ms
    core.evaluate()
    status = rig.device.status()
    assert status.mode is PumpMode.TELEMETRY
    answer = visit(rig).ask(wire.ReadStatus())
    assert isinstance(answer, wire.Status)
    assert answer.mode is PumpMode.SIMPLE_CONTINUOUS
    assert rig.firmware.verdict_pending


def test_reading_every_report_changes_nothing() -> None:
    rig = Rig()
    visit(rig).apply(week(rig))
    before = everything(rig)
    talker = visit(rig, Role.OBSERVER)
    for request in (wire.ReadDelivery(), wire.ReadAlarmSettings(), wire.ReadProgram(5), wire.ReadLimits()):
        answer = talker.ask(request)
        assert not isinstance(answer, wire.Refusal), answer
    assert everything(rig) == before


def test_a_pump_that_stops_while_it_is_updated_says_so_durably() -> None:
    """domain.md 4, F12: an update that is not finished leaves it stopped."""
    rig = Rig()
    talker = rig.open()
    rig.device.core.upsets.stops_while_updating = True
    op_id, staged = talker.stage_order(orders(rig)[OperationKind.PROGRAM])
    assert rig.firmware.verdict_pending
    assert rig.device.status().mode is PumpMode.STOPPED
    verdict = talker.ask(talker.commit(op_id, staged))
    assert isinstance(verdict, wire.VerdictReport)
    assert Warn.STARTS_DELIVERY in staged.warnings, "the operator must see that it stands still"
    assert (verdict.verdict, verdict.op_id) == (Verdict.APPLIED, op_id)
    assert rig.device.status().mode is PumpMode.SIMPLE_CONTINUOUS
