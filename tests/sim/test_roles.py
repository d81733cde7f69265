"""Every role at the driver: role x call x state against the table, what it leaves unchanged, and who must wait."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import telemetry
from telemetry import FlowRate, LinkError, Refused, Therapy, UsageError, VirtualPump
from telemetry.model import AlarmKind, PumpMode, Role, Warn
from telemetry.programmer.journal import MemoryJournalStore, Stage
from telemetry.programmer.prescription import Prescription
from telemetry.protocol.credentials import role_within, test_credential, test_slots
from telemetry.protocol.roles import allows
from telemetry.sim.connector import station_of
from telemetry.units import Concentration, Dose, Duration, Volume
from tests.support.turns import turns
from tests.support.virtual_loop import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from telemetry.programmer import Programmer

    Call = Callable[[Programmer], Awaitable[object]]

RATE = FlowRate.parse("0.150 ml/day")
EVERYTHING = tuple(Warn)
UNKNOWN_OPERATION = (99).to_bytes(8, "little").hex() + "00" * 8

STRENGTH = Concentration.parse("2000 ug/ml")


@cache
def old_prescription() -> Prescription:
    """What a pump that is to be replaced was doing."""
    device = VirtualPump(seed=12).device
    program = device.program_report().program
    zone_minutes = device.delivery().zone_minutes
    return Prescription(device.identity(), program, device.limits(), device.alarm_settings(), zone_minutes)


async def titrate(programmer: Programmer) -> object:
    """15 % more; a pump at its minimum rate has no rate of which that could be a share."""
    try:
        return await programmer.titrate(150_000, accept=EVERYTHING)
    except UsageError:
        assert (await programmer.read_program()).program.mode is PumpMode.MINIMUM_RATE
        return await programmer.set_rate(RATE, accept=EVERYTHING)


# Every call of the driver that reaches the pump, with the row of the role table that it stands in.
CALLS: dict[str, tuple[str, Call]] = {
    "read_identity": ("read_status", lambda programmer: programmer.read_identity()),
    "read_status": ("read_status", lambda programmer: programmer.read_status()),
    "read_alarms": ("read_status", lambda programmer: programmer.read_alarms()),
    "read_program": ("read_program", lambda programmer: programmer.read_program()),
    "read_limits": ("read_program", lambda programmer: programmer.read_limits()),
    "read_log": ("read_history", lambda programmer: programmer.read_log()),
    "read_rules": ("read_program", lambda programmer: programmer.read_rules()),
    "read_alarm_settings": ("read_program", lambda programmer: programmer.read_alarm_settings()),
    "read_delivery": ("read_status", lambda programmer: programmer.read_delivery()),
    "read_prescription": ("read_program", lambda programmer: programmer.read_prescription()),
    "last_fill": ("read_history", lambda programmer: programmer.last_fill(1)),
    "silence_alarm": ("silence", lambda programmer: programmer.silence_alarm(60_000)),
    "acknowledge_alarm": ("acknowledge", lambda programmer: programmer.acknowledge_alarm(AlarmKind.LOW_RESERVOIR)),
    "set_rate": ("program", lambda programmer: programmer.set_rate(RATE, accept=EVERYTHING)),
    "program": ("program", lambda programmer: programmer.program(Therapy.minimum_rate(), accept=EVERYTHING)),
    "titrate": ("program", titrate),
    "bolus": ("program", lambda programmer: programmer.bolus(Dose(25_000), Duration(600_000), accept=EVERYTHING)),
    "prime": ("program", lambda programmer: programmer.prime(Volume(20_000), accept=EVERYTHING)),
    "refill": (
        "program",
        lambda programmer: programmer.refill(Volume(38_000_000), withdrawn=Volume(1_000_000), accept=EVERYTHING),
    ),
    "implant": (
        "program",
        lambda programmer: programmer.implant(
            Volume(38_000_000), STRENGTH, Therapy.simple_continuous(RATE), accept=EVERYTHING
        ),
    ),
    "replace": (
        "program",
        lambda programmer: programmer.replace(old_prescription(), Volume(38_000_000), accept=EVERYTHING),
    ),
    "resume": ("program", lambda programmer: programmer.resume(accept=EVERYTHING)),
    "set_limits": (
        "therapy_limits",
        lambda programmer: programmer.set_limits(old_prescription().limits, accept=EVERYTHING),
    ),
    "set_clock": ("set_clock", lambda programmer: programmer.set_clock(zone_minutes=60, accept=EVERYTHING)),
    "configure_alarms": (
        "alarm_settings",
        lambda programmer: programmer.configure_alarms(low_reservoir=Volume(3_000_000), accept=EVERYTHING),
    ),
    # A stock pump holds baclofen, which forbids it to everybody alike, so that the role never comes to be asked.
    "patient_bolus": ("own_operation", lambda programmer: programmer.patient_bolus()),
    "emergency_stop": ("stop", lambda programmer: programmer.emergency_stop()),
    "stop": ("stop", lambda programmer: programmer.stop()),
    "outcome": ("own_operation", lambda programmer: programmer.outcome(UNKNOWN_OPERATION)),
}
STATES = ("running", "minimum_rate", "stopped", "alarm", "empty", "end_of_service", "proposal_left", "power_cut")


@cache
def snapshot_in(state: str) -> dict[str, object]:
    """A pump in this state; made once, for some states lie years ahead."""
    pump = VirtualPump(seed=11, fill=Volume.parse("3 ml") if state == "empty" else None)
    if state == "minimum_rate":
        pump.program(Therapy.minimum_rate())
    elif state == "stopped":
        pump.stop()
    elif state == "alarm":
        pump.advance_until("alarm_raised", "low_reservoir")
    elif state == "empty":
        pump.advance(days=30)
    elif state == "end_of_service":
        pump.advance_until("alarm_raised", "end_of_service")
    return pump.snapshot()


async def pump_in(state: str) -> VirtualPump:
    """The pump, with whatever lives in its RAM."""
    pump = VirtualPump.restore(snapshot_in(state))
    if state == "power_cut":
        pump.inject("power_cut")
    elif state == "proposal_left":  # a clinician has staged a change, read it, and walked away
        async with telemetry.connect(pump=pump, journal=MemoryJournalStore()) as programmer:
            with pytest.raises(WalkedAwayError):
                await programmer.set_rate(RATE, confirm=walk_away)
    return pump


class WalkedAwayError(Exception):
    """The person at the tablet is gone."""


async def walk_away(_proposal: telemetry.Proposal) -> bool:
    raise WalkedAwayError


async def result_of(doing: Awaitable[object]) -> Refused | None:
    """None for an answer, or the refusal."""
    try:
        await doing
    except Refused as refused:
        return refused
    return None


def is_forbidden(refused: Refused | None) -> bool:
    """Whether it was the role, and nothing else, that was in the way; the reason and its status must agree."""
    forbidden = refused is not None and refused.reason == "role_forbids"
    assert forbidden == (refused is not None and refused.status == "role")
    return forbidden


def therapy_of(pump: VirtualPump) -> object:
    """What INV-15 speaks of: the program in force, its digest, whether it runs."""
    return pump.device.program_report(), pump.status.mode, pump.status.rate_nl_per_day


def everything_of(pump: VirtualPump) -> dict[str, object]:
    """All that a refused call must leave as it was; charge is not among it, for listening costs some."""
    device = pump.device
    log = device.log(0, 10_000)
    return {
        "therapy": therapy_of(pump),
        "limits": device.limits(),
        "alarms": device.alarms(),
        "alarm sequence": device.alarm_sequence,
        "ledger": device.ledger_sequence,
        "operations": tuple(device.last_operation_counter(slot.number) for slot in test_slots()),
        "unacknowledged": device.unacknowledged,
        "log": (log, device.log_head()),
        "drug": pump.ledger,
    }


def test_every_call_of_the_driver_is_in_the_table() -> None:
    reaching = {
        name
        for name in dir(telemetry.Programmer)
        if not name.startswith("_") and name not in {"close", "release", "resolved"}
    }
    # The telemeter answers for itself; alarms() and follow() read what others read; settle() writes into our own
    # journal only.
    assert reaching - {"read_telemeter", "watch_contact", "alarms", "follow", "settle"} == CALLS.keys()


@pytest.mark.inv(13)
@pytest.mark.inv(15)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("role", list(Role))
async def test_inv_13_and_15_a_role_gets_its_answer_or_the_reason_and_changes_nothing_else(
    role: Role, state: str
) -> None:
    for name, (operation, call) in CALLS.items():
        pump = await pump_in(state)
        before, therapy = everything_of(pump), therapy_of(pump)
        store = MemoryJournalStore()
        async with telemetry.connect(pump=pump, role=role, journal=store) as programmer:
            refused = await result_of(call(programmer))
            assert is_forbidden(refused) is not allows(role, operation), (name, refused)
            if refused is not None:
                # Certain not to have happened, and written down as that.
                entries = store.journal(pump.device.pump_id, test_credential(role).slot).entries()
                assert {entry.stage for entry in entries} <= {Stage.ABANDONED, Stage.REFUSED}, name
                assert therapy_of(pump) == therapy, name
            if is_forbidden(refused):
                assert everything_of(pump) == before, name
            # A refusal ends nothing: the session goes on, and what is allowed still works.
            assert (await programmer.read_identity()).serial == pump.device.identity().serial
        if role is not Role.CLINICIAN and not (role is Role.EMERGENCY and name in {"stop", "emergency_stop"}):
            assert therapy_of(pump) == therapy, name


@pytest.mark.inv(13)
@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize("role", list(Role))
async def test_inv_13_no_role_gets_a_patient_bolus_of_baclofen_and_each_is_told_why(role: Role, state: str) -> None:
    pump = await pump_in(state)
    before = everything_of(pump)
    async with telemetry.connect(pump=pump, role=role) as programmer:
        refused = await result_of(programmer.patient_bolus())
    assert refused is not None
    assert (refused.reason, refused.status) == ("patient_bolus_forbidden", "unsupported")
    assert "baclofen" in str(refused)
    assert everything_of(pump) == before


@pytest.mark.inv(15)
@pytest.mark.parametrize("role", [Role.OBSERVER, Role.PATIENT, Role.SERVICE, Role.COMMISSION])
async def test_inv_15_a_whole_day_of_a_role_leaves_therapy_as_the_same_day_without_it(role: Role) -> None:
    visited, alone = VirtualPump(seed=11), VirtualPump(seed=11)
    for _ in range(24):
        async with telemetry.connect(pump=visited, role=role) as programmer:
            for name, (operation, call) in CALLS.items():
                assert is_forbidden(await result_of(call(programmer))) is not allows(role, operation), name
        visited.advance(hours=1)
        alone.advance(hours=1)
        assert visited.ledger == alone.ledger
    assert therapy_of(visited) == therapy_of(alone)
    assert visited.device.ledger_sequence == alone.device.ledger_sequence
    assert visited.device.log(0, 1_000) == alone.device.log(0, 1_000)


@pytest.mark.inv(14)
@pytest.mark.parametrize("slot", list(Role))
@pytest.mark.parametrize("wanted", list(Role))
async def test_inv_14_a_card_opens_its_own_role_and_lesser_ones_with_their_rows(slot: Role, wanted: Role) -> None:
    pump = VirtualPump(seed=11)
    connecting = telemetry.connect(pump=pump, credentials=test_credential(slot), role=wanted)
    if not role_within(wanted, slot):
        async with connecting as programmer:
            with pytest.raises(UsageError, match="may ask for less, never for more"):
                await programmer.read_status()
        return
    async with connecting as programmer:
        for name, (operation, call) in CALLS.items():
            assert is_forbidden(await result_of(call(programmer))) is not allows(wanted, operation), name


# --- two programmers at once


@pytest.mark.parametrize("role", list(Role))
async def test_a_second_programmer_is_told_in_use_whatever_it_wants_and_nothing_changes(role: Role) -> None:
    pump = VirtualPump(seed=11)
    holder_role = Role.OBSERVER if role is Role.CLINICIAN else Role.CLINICIAN
    async with (
        telemetry.connect(pump=pump, role=holder_role) as holder,
        telemetry.connect(pump=pump, role=role) as second,
    ):
        await holder.read_status()
        before = everything_of(pump)
        for name, (_, call) in CALLS.items():
            with pytest.raises(LinkError, match="in use by another programmer; it is free again in at most 30 s"):
                await call(second)
            assert everything_of(pump) == before, name
        assert (await second.read_telemeter()).contact
        await holder.read_status()  # undisturbed
        await holder.release()
        assert (await second.read_status()).mode is PumpMode.SIMPLE_CONTINUOUS


async def test_a_second_programmer_with_the_same_card_takes_over_and_the_first_finds_back() -> None:
    pump = VirtualPump(seed=11)
    async with telemetry.connect(pump=pump) as first, telemetry.connect(pump=pump) as second:
        await first.read_status()
        await second.read_status()
        assert (await first.set_rate(RATE)).after.rate_nl_per_day == 150_000
        assert (await second.read_status()).rate_nl_per_day == 150_000


# --- emergency: less, never more

CLINICIANS: dict[str, Call] = {
    "0.150": lambda programmer: programmer.set_rate(FlowRate(150_000), accept=EVERYTHING),
    "0.250": lambda programmer: programmer.set_rate(FlowRate(250_000), accept=EVERYTHING),
    "0.300": lambda programmer: programmer.set_rate(FlowRate(300_000), accept=EVERYTHING),
    "minimum": lambda programmer: programmer.program(Therapy.minimum_rate(), accept=EVERYTHING),
    "stop": lambda programmer: programmer.stop(),
    "resume": lambda programmer: programmer.resume(accept=EVERYTHING),
    "nothing": lambda programmer: programmer.read_status(),
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(sorted(CLINICIANS)),
        st.lists(st.sampled_from(sorted(CALLS)), max_size=3),
        st.integers(0, 120 * 3_600_000),
    ),
    min_size=1,
    max_size=5,
)


async def life(steps: Sequence[tuple[str, Sequence[str], int]], *, emergencies: bool) -> list[Any]:
    """What had been delivered at the end of each step, in nanolitres and in nanograms."""
    pump = VirtualPump(seed=11, fill=Volume.parse("6 ml"))
    delivered = []
    for doing, calls, pause_ms in steps:
        async with telemetry.connect(pump=pump) as clinician:
            assert not is_forbidden(await result_of(CLINICIANS[doing](clinician)))
        if emergencies and calls:
            async with telemetry.connect(pump=pump, role=Role.EMERGENCY) as rescuer:
                for name in calls:
                    operation, call = CALLS[name]
                    assert is_forbidden(await result_of(call(rescuer))) is not allows(Role.EMERGENCY, operation)
        pump.advance(ms=pause_ms)
        delivered.append((pump.truth.delivered_nl, pump.truth.delivered_ng))
        assert pump.ledger.balance_nl == 0
    return delivered


@pytest.mark.inv(17)
@given(STEPS)
def test_inv_17_emergency_sessions_never_raise_what_was_delivered(steps: list[tuple[str, list[str], int]]) -> None:
    loop = VirtualLoop()
    try:
        without = loop.run_until_complete(life(steps, emergencies=False))
        with_them = loop.run_until_complete(life(steps, emergencies=True))
    finally:
        loop.close()
    for (nl, ng), (most_nl, most_ng) in zip(with_them, without, strict=True):
        assert nl <= most_nl
        assert ng <= most_ng


@pytest.mark.inv(17)
async def test_inv_17_an_emergency_stop_does_lower_it() -> None:
    """The property above would hold for sessions that do nothing at all, too."""
    steps = [("0.300", ["read_status", "stop"], 48 * 3_600_000)]
    ((nl, _),) = await life(steps, emergencies=True)
    ((most_nl, _),) = await life(steps, emergencies=False)
    assert nl < 10_000
    assert most_nl > 590_000


async def test_the_station_is_the_same_for_all_of_them() -> None:
    """What the tests above rest on: programmers of one pump meet at one telemeter."""
    pump = VirtualPump(seed=11)
    async with telemetry.connect(pump=pump) as first, telemetry.connect(pump=pump, role=Role.PATIENT) as second:
        await asyncio.gather(first.read_telemeter(), second.read_telemeter())
        assert len(station_of(pump)._links) == 2
    await turns(4)
    assert station_of(pump)._links == set()
