"""The patient's bolus over the wire: whom the pump lets, when, how often, and whom never."""

from __future__ import annotations

import pytest

from telemetry.model import Activity, RefusalReason, Role, Verdict
from telemetry.protocol import messages as wire
from telemetry.protocol.wire import Status
from telemetry.therapy import ClockSetting, ProgramPatientBolus
from telemetry.units import NL_PER_ML
from tests.support.orders import everything, refused, simple, visit
from tests.support.talk import Rig, Talker


def patient_rig() -> Rig:
    """A morphine pump whose program allows 0.05 ml in 10 min, an hour apart, three in 24 h."""
    rig = Rig(profile="valve-20")
    strength = rig.device.status().concentration_ng_per_ml
    rule = ProgramPatientBolus(10_000, 10_000 * strength // NL_PER_ML, 600, 3_600, 3)
    rate = rig.device.status().rate_nl_per_day
    assert visit(rig).apply(simple(rig, rate, patient_bolus=rule)).verdict is Verdict.APPLIED
    return rig


def press(talker: Talker, op_id: bytes | None = None) -> wire.VerdictReport:
    answer = talker.ask(wire.PatientBolus(op_id=op_id or talker.new_op_id(), acked_through=0))
    assert isinstance(answer, wire.VerdictReport), answer
    return answer


def test_a_patient_gives_what_was_prescribed_and_the_pump_decides() -> None:
    rig = patient_rig()
    patient = visit(rig, Role.PATIENT)
    given = press(patient)
    assert given.verdict is Verdict.APPLIED
    assert rig.firmware.verdict_pending
    status = patient.ask(wire.ReadStatus())
    assert isinstance(status, wire.Status)
    assert status.activity is Activity.PATIENT_BOLUS
    running = press(patient)
    assert (running.verdict, running.reason) == (Verdict.REFUSED, RefusalReason.ACTIVITY_RUNNING)
    rig.pump.advance(minutes=30)
    patient = visit(rig, Role.PATIENT)
    denied = press(patient)
    assert (denied.verdict, denied.reason) == (Verdict.REFUSED, RefusalReason.LOCKED_OUT)
    delivery = patient.ask(wire.ReadDelivery())
    assert isinstance(delivery, wire.Delivery)
    assert delivery.patient_boluses_24h == 1
    assert delivery.locked_out_until_s == delivery.now_s + 40 * 60
    rig.pump.advance(ms=(delivery.locked_out_until_s - delivery.now_s) * 1_000)
    patient = visit(rig, Role.PATIENT)
    assert press(patient, denied.op_id) == denied, "what was denied must not be given later"
    assert press(patient, given.op_id).verdict is Verdict.APPLIED
    assert rig.device.delivery().activity is Activity.NONE, "a repeat gave it twice"
    assert press(patient).verdict is Verdict.APPLIED


@pytest.mark.inv(45)
def test_inv_45_a_clock_setting_does_not_end_a_lock_out() -> None:
    rig = patient_rig()
    press(visit(rig, Role.PATIENT))
    rig.pump.advance(minutes=11)
    clinician = visit(rig)
    status = rig.device.status()
    assert clinician.apply(ClockSetting(status.clock_utc_s + 86_400, 600)).verdict is Verdict.APPLIED
    assert press(visit(rig, Role.PATIENT)).reason is RefusalReason.LOCKED_OUT


def test_no_more_than_the_count_in_any_24_hours() -> None:
    rig = patient_rig()
    for _ in range(3):
        assert press(visit(rig, Role.PATIENT)).verdict is Verdict.APPLIED
        rig.pump.advance(hours=2)
    denied = press(visit(rig, Role.PATIENT))
    assert denied.reason is RefusalReason.BOLUS_COUNT_REACHED
    rig.pump.advance(hours=18)
    assert press(visit(rig, Role.PATIENT)).verdict is Verdict.APPLIED


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.PATIENT])
def test_nobody_but_the_patient_gives_it(role: Role) -> None:
    rig = patient_rig()
    before = everything(rig)
    talker = visit(rig, role)
    answer = talker.ask(wire.PatientBolus(op_id=talker.new_op_id(), acked_through=0))
    assert refused(answer) == (Status.ROLE, RefusalReason.ROLE_FORBIDS)
    assert everything(rig) == before


@pytest.mark.inv(13)
@pytest.mark.parametrize("role", list(Role))
def test_inv_13_a_baclofen_pump_gives_no_patient_bolus_and_says_why(role: Role) -> None:
    """Not *your role forbids it*: the drug does, whoever asks (domain.md 0, fact 10)."""
    rig = Rig()
    before = everything(rig)
    talker = visit(rig, role)
    op_id = talker.new_op_id()
    answer = talker.ask(wire.PatientBolus(op_id=op_id, acked_through=0))
    assert refused(answer) == (Status.UNSUPPORTED, RefusalReason.PATIENT_BOLUS_FORBIDDEN)
    assert everything(rig) == before
    assert not rig.firmware.verdict_pending
    rule = ProgramPatientBolus(1_000, 2_000, 600, 3_600, 1)
    if role is Role.CLINICIAN:
        prescribed = talker.refused_order(simple(rig, patient_bolus=rule))
        assert refused(prescribed) == (Status.UNSUPPORTED, RefusalReason.PATIENT_BOLUS_FORBIDDEN)


def test_a_full_ledger_denies_a_patients_bolus() -> None:
    rig = patient_rig()
    patient = visit(rig, Role.PATIENT)
    while rig.device.unacknowledged < rig.device.ledger_capacity:
        press(patient)
    op_id = patient.new_op_id()
    full = patient.ask(wire.PatientBolus(op_id=op_id, acked_through=0))
    assert refused(full) == (Status.LEDGER_FULL, RefusalReason.LEDGER_FULL)
    acked = int.from_bytes(op_id[:8], "little") - 1
    assert isinstance(patient.ask(wire.PatientBolus(op_id=op_id, acked_through=acked)), wire.VerdictReport)
