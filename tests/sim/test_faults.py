"""When armed faults strike and end, whatever they are: triggers, counts, snapshots, any partition of time, refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import Refused, UsageError
from telemetry.model import PumpEvent, PumpMode
from telemetry.sim.faults.armed import Armed
from telemetry.sim.faults.catalogue import EVERY, FAULTS, find_fault
from telemetry.sim.faults.engine import FaultEngine
from telemetry.sim.faults.injection import MS_PER_YEAR, Injection, Trigger, TriggerKind
from telemetry.sim.faults.mri import scan
from telemetry.sim.faults.reading import QUANTITIES, read_injection, read_share_ppm, short_name
from telemetry.sim.faults.telling import armed_record, fault_record, in_units
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import PeriodicBolus, Therapy
from telemetry.units import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, Concentration, Duration, FlowRate, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOURLY = Therapy(
    PumpMode.PERIODIC_BOLUS,
    FlowRate.parse("0.100 ml/day"),
    bolus=PeriodicBolus(Volume.parse("0.002 ml"), Duration.parse("10 min"), Duration.parse("1 h"), Duration(0)),
)


# --- the engine alone ------------------------------------------------------------------------------------------------


@dataclass
class Patient:
    """Notes what is done to it; does not let itself be struck by what is in ``immune``."""

    done: list[str] = field(default_factory=list)
    immune: set[str] = field(default_factory=set)

    def refuse(self, injection: Injection) -> None:
        if injection.name == "tube_set":
            raise UsageError("fault tube_set: never")

    def hinder(self, armed: Armed) -> None:
        if armed.name in self.immune:
            raise UsageError(f"fault {armed.name}: not now")

    def strike(self, armed: Armed, others: Iterable[Armed]) -> None:
        self.done.append(f"+{armed.name} beside {sorted(other.name for other in others)}")

    def step(self, armed: Armed) -> None:
        self.done.append(f"++{armed.name}")

    def relieve(self, armed: Armed, others: Iterable[Armed]) -> None:
        self.done.append(f"-{armed.name}")

    def tell(self, kind: str, detail: str) -> None:
        self.done.append(f"{kind} {detail}")


def run(engine: FaultEngine, until_ms: int) -> None:
    """Drive an engine by the clock alone."""
    now_ms = 0
    while (at_ms := engine.next_ms(now_ms)) is not None and at_ms <= until_ms:
        now_ms = at_ms
        engine.apply_due(now_ms)


def test_now_strikes_at_once_and_lasts() -> None:
    patient = Patient()
    engine = FaultEngine(patient)
    armed = engine.arm(Injection("motor_stall", lasts_ms=50), 100)
    assert patient.done == ["fault_struck motor_stall", "+motor_stall beside []"]
    assert (armed.hits, armed.struck, armed.over, engine.next_ms(100)) == (1, True, True, 150)
    engine.apply_due(150)
    assert patient.done[2:] == ["-motor_stall", "fault_ended motor_stall"]
    assert engine.next_ms(150) is None


def test_a_fault_that_strikes_learns_what_is_in_force() -> None:
    patient = Patient()
    engine = FaultEngine(patient)
    engine.arm(Injection("under_infusion"), 0)
    engine.arm(Injection("catheter_failure"), 0)
    assert patient.done[-1] == "+catheter_failure beside ['under_infusion']"
    assert [armed.name for armed in engine.in_force] == ["under_infusion", "catheter_failure"]


def test_what_cannot_ever_be_is_refused_and_not_taken() -> None:
    engine = FaultEngine(Patient())
    with pytest.raises(UsageError, match="never"):
        engine.arm(Injection("tube_set"), 0)
    with pytest.raises(UsageError, match="at: 5 ms lies before now"):
        engine.arm(Injection("motor_stall", trigger=Trigger(TriggerKind.AT, instant_ms=5)), 6)
    assert (len(engine), list(engine)) == (0, [])


def test_what_cannot_be_now_is_refused_now_and_missed_later() -> None:
    patient = Patient(immune={"motor_stall"})
    engine = FaultEngine(patient)
    with pytest.raises(UsageError, match="not now"):
        engine.arm(Injection("motor_stall"), 0)
    assert len(engine) == 0
    armed = engine.arm(Injection("motor_stall", trigger=Trigger(TriggerKind.AT, instant_ms=7)), 0)
    run(engine, 10)
    assert patient.done == ["fault_missed motor_stall: not now"]
    assert (armed.hits, armed.misses, armed.over, armed.struck) == (0, 1, True, False)


def test_a_missed_strike_at_a_hazard_draws_the_next() -> None:
    patient = Patient(immune={"motor_stall"})
    engine = FaultEngine(patient)
    order = Injection("motor_stall", trigger=Trigger(TriggerKind.HAZARD, per_year_ppm=10_000_000), lasts_ms=1)
    armed = engine.arm(order, 0)
    run(engine, MS_PER_YEAR)
    assert armed.misses > 2
    assert armed.hits == 0
    assert len(set(patient.done)) == 1


@pytest.mark.parametrize(("count", "hits"), [(None, 1), (1, 1), (3, 3), (0, 8)])
def test_an_event_strikes_as_often_as_asked(count: int | None, hits: int) -> None:
    patient = Patient()
    engine = FaultEngine(patient)
    armed = engine.arm(
        Injection("feedthrough_short", trigger=Trigger(TriggerKind.EVENT, event="bolus_started"), count=count), 0
    )
    for at_ms in range(8):
        engine.notice([PumpEvent(at_ms, "bolus_started")], at_ms)
    assert armed.hits == hits
    assert engine.watching is (count == 0)


def test_each_nth_event_of_that_detail() -> None:
    engine = FaultEngine(Patient())
    trigger = Trigger(TriggerKind.EVENT, event="alarm_raised", detail="motor_stall", nth=3)
    armed = engine.arm(Injection("feedthrough_short", trigger=trigger, count=0), 0)
    struck = []
    for at_ms in range(1, 20):
        engine.notice([PumpEvent(at_ms, "alarm_raised", "motor_stall" if at_ms % 2 else "low_reservoir")], at_ms)
        if armed.last_ms == at_ms:
            struck.append(at_ms)
    assert struck == [5, 11, 17]


def test_an_event_of_its_own_making_strikes_once_an_instant() -> None:
    class Echo(Patient):
        def tell(self, kind: str, detail: str) -> None:
            super().tell(kind, detail)
            told.append(PumpEvent(now_ms, kind, detail))

    told: list[PumpEvent] = []
    now_ms = 5
    patient = Echo()
    engine = FaultEngine(patient)
    engine.arm(Injection("power_cut", trigger=Trigger(TriggerKind.EVENT, event="fault_struck"), count=0), 0)
    told.append(PumpEvent(now_ms, "fault_struck"))
    rounds = 0
    while told:
        events, told = told, []
        engine.notice(events, now_ms)
        rounds += 1
        assert rounds < 5
    assert patient.done.count("+power_cut beside []") == 1


def test_waiting_ends_where_it_was_said() -> None:
    engine = FaultEngine(Patient())
    waiting = Trigger(TriggerKind.EVENT, event="bolus_started", until_ms=100)
    drawing = Trigger(TriggerKind.HAZARD, per_year_ppm=1, until_ms=100)
    first = engine.arm(Injection("motor_stall", trigger=waiting), 0)
    second = engine.arm(Injection("motor_stall", trigger=drawing), 0)
    assert engine.next_ms(0) == 100
    run(engine, 200)
    engine.notice([PumpEvent(201, "bolus_started")], 201)
    assert (first.over, first.hits, second.over, second.next_ms) == (True, 0, True, None)
    assert engine.next_ms(201) is None


def test_a_hazard_is_as_frequent_as_asked() -> None:
    hits = 0
    for seed in range(60):
        engine = FaultEngine(Patient())
        order = Injection("power_cut", trigger=Trigger(TriggerKind.HAZARD, per_year_ppm=5_000_000), seed=seed)
        armed = engine.arm(order, 0)
        run(engine, MS_PER_YEAR)
        hits += armed.hits
    assert 248 < hits < 352  # 300 expected; three deviations of a Poisson count either way


def test_clear_by_number_name_and_all() -> None:
    patient = Patient()
    engine = FaultEngine(patient)
    for name in ("motor_stall", "power_cut", "motor_stall", "dead_beeper", "update_blocked"):
        engine.arm(Injection(name), 0)
    assert [armed.id for armed in engine.clear("F1")] == [1, 3]
    assert [armed.id for armed in engine.clear(4)] == [4]
    assert patient.done[-2:] == ["-dead_beeper", "fault_ended dead_beeper"]
    with pytest.raises(UsageError, match=r"'gremlin' is not armed; armed: 2 \(power_cut\), 5 \(update_blocked\)"):
        engine.clear("gremlin")
    assert [armed.name for armed in engine.clear()] == ["power_cut", "update_blocked"]
    assert engine.clear() == ()
    assert engine.arm(Injection("motor_stall"), 0).id == 6  # a number never means two orders


# --- orders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda: Injection("gremlin"), "'gremlin' is unknown; 'telemetry fault list' shows them all"),
        (lambda: Injection("motor_stal"), "did you mean motor_stall or mri_stall?"),
        (lambda: Injection("motor_stall", "rust"), "mode: 'rust' is unknown; modes: shaft_wear, gear_corrosion"),
        (lambda: Injection("motor_stall", values={"x": 1}), "has no parameter 'x'; it has: none"),
        (lambda: Injection("over_infusion", values={"error_ppm": 0}), "error_ppm: 0 is outside 1 to 1000000"),
        (lambda: Injection("over_infusion", values={"error_ppm": True}), "error_ppm: True is outside"),
        (lambda: Injection("motor_stall", count=-1), "count: -1 is outside 0 (no limit)"),
        (lambda: Injection("motor_stall", lasts_ms=0), "lasts_ms: 0 is outside 1"),
        (lambda: Injection("power_cut", lasts_ms=5), "it is over as soon as it has struck; give no duration"),
        (lambda: Injection("pocket_fill", lasts_ms=5), "give no duration"),
        (lambda: Injection("tube_set", lasts_ms=5), "what it did stays for good; give no duration"),
        (lambda: Injection("radio", "drain", lasts_ms=5), "give no duration"),
        (lambda: Injection("motor_stall", seed=-1), "seed: -1 is no whole number"),
        (lambda: Trigger(TriggerKind.AT), "an instant belongs to 'at'"),
        (lambda: Trigger(TriggerKind.EVENT), "the kind of an event belongs to 'event'"),
        (lambda: Trigger(per_year_ppm=4), "a rate per year belongs to 'hazard'"),
        (lambda: Trigger(until_ms=4), "an end of waiting belongs to 'event' and 'hazard'"),
        (lambda: Trigger(TriggerKind.EVENT, event="stopped", nth=0), "nth: 0 is outside 1"),
        (lambda: Trigger(TriggerKind.AT, instant_ms=-1), "before the pump's epoch"),
    ],
)
def test_a_wrong_order_names_field_value_and_limit(order: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        order()
    assert message in str(wrong.value)


def test_a_number_is_as_good_as_a_name() -> None:
    assert Injection("F7").name == Injection("f7").name == "catheter_failure"


def test_every_order_reads_back_from_its_own_table() -> None:
    for fault in EVERY:
        for mode in fault.modes:
            trigger = Trigger(TriggerKind.EVENT, event="stopped", detail="bench", nth=2, until_ms=9)
            order = Injection(fault.name, mode, {p.name: p.most for p in fault.parameters}, trigger, count=4, seed=8)
            armed = Armed(3, order, 5, hits=2, misses=1, matches=7, steps=1, ends_ms=8, struck=True)
            assert Armed.from_table(json.loads(json.dumps(armed.to_table())), "x") == armed


# --- text ------------------------------------------------------------------------------------------------------------


def read(name: str, mode: object = "", **said: object) -> Injection:
    words = {"at", "after", "when", "nth", "hazard", "within", "duration", "count", "seed"}
    values = {key: value for key, value in said.items() if key not in words}
    rest = {key: value for key, value in said.items() if key in words}
    return read_injection(name, str(mode), now_ms=1_000, epoch_utc_s=1_767_225_600, values=values, **rest)  # type: ignore[arg-type]


def test_values_bring_their_unit() -> None:
    assert read("intermittent_stall", lasts="30 min").values == {"lasts_ms": 30 * MS_PER_MINUTE}
    assert read("intermittent_stall", lasts=Duration(7)).values == {"lasts_ms": 7}
    assert read("intermittent_stall", lasts_ms=7).values == read("intermittent_stall", lasts_ms="7").values
    assert read("over_infusion", error="20 %").value("error_ppm") == 200_000
    assert read("over_infusion", error="1500 ppm").value("error_ppm") == 1_500
    assert read("wrong_calibration", told="-2.5 %").value("told_ppm") == -25_000
    assert read("overfill", excess="1.5 ml").value("excess_nl") == 1_500_000
    assert read("wrong_concentration", true=Concentration.parse("500 ug/ml")).value("true_ng_per_ml") == 500_000
    assert read("memory_corruption", bit="12").value("bit") == 12


def test_a_mode_may_stand_among_the_parameters() -> None:
    order = read_injection("catheter_failure", now_ms=0, epoch_utc_s=0, values={"mode": "leaking", "lost": "30 %"})
    assert (order.mode, dict(order.values)) == ("leaking", {"lost_ppm": 300_000})
    with pytest.raises(UsageError, match="mode: 'leaky' is unknown; modes: disconnected, leaking"):
        read_injection("catheter_failure", now_ms=0, epoch_utc_s=0, values={"mode": "leaky"})
    with pytest.raises(UsageError, match="has no parameter 'mode'"):
        read_injection("catheter_failure", "leaking", now_ms=0, epoch_utc_s=0, values={"mode": "kinked"})


def test_triggers_as_people_write_them() -> None:
    assert read("motor_stall", at="2 h").trigger.instant_ms == 2 * MS_PER_HOUR
    assert read("motor_stall", at=5_000).trigger.instant_ms == 5_000
    assert read("motor_stall", at="2026-01-02").trigger.instant_ms == MS_PER_DAY
    assert read("motor_stall", at="2026-01-01T13:00+01:00").trigger.instant_ms == 12 * MS_PER_HOUR
    assert read("motor_stall", after="2 h").trigger.instant_ms == 2 * MS_PER_HOUR + 1_000
    assert read("motor_stall", hazard="5 %/y").trigger.per_year_ppm == 50_000
    assert read("motor_stall", hazard="0.05/y").trigger.per_year_ppm == 50_000
    assert read("motor_stall", hazard=7).trigger.per_year_ppm == 7
    assert read("motor_stall", when="bolus_started").trigger.event == "bolus_started"
    event = read("motor_stall", when="alarm_raised low_reservoir", nth=2, within="1 h").trigger
    assert (event.detail, event.nth, event.until_ms) == ("low_reservoir", 2, MS_PER_HOUR + 1_000)
    assert read("motor_stall", duration="4 h").lasts_ms == 4 * MS_PER_HOUR


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"lasts": "7"}, "fault intermittent_stall lasts: '7' has no unit; write it with one, or lasts_ms=7"),
        ({"lasts": 7}, "has no unit"),
        ({"lasts": "7 ml"}, "fault intermittent_stall lasts: '7 ml' is a volume, not a duration"),
        ({"lasts": Volume(7)}, "is no Duration"),
        ({"lasting": "7 h"}, "has no parameter 'lasting'; did you mean lasts?"),
        ({"q": "7 h"}, "has no parameter 'q'; it has: lasts"),
        ({"at": "1 h", "when": "stopped"}, "at and when stand together; give at most one of them"),
        ({"at": "noon"}, "at: duration 'noon'"),
        ({"at": "2026-99-01"}, "is no date such as 2026-03-01T12:00Z"),
        ({"hazard": "often"}, "hazard: 'often' is no rate; write it as '5 %/y' or '0.05/y'"),
        ({"hazard": "0.00001 %/y"}, "finer than a millionth"),
        ({"nth": 2}, "nth: 2 belongs to 'when'"),
        ({"within": "1 h"}, "within: it belongs to 'when' and 'hazard'"),
        ({"duration": 1.5}, "duration: 1.5 is no Duration"),
    ],
)
def test_wrong_text_names_what_and_how(said: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        read("intermittent_stall", "", **said)
    assert message in str(wrong.value)


def test_a_share_is_never_rounded() -> None:
    assert read_share_ppm("0.0001 %") == 1
    for text in ("0.00001 %", "0.5 ppm", "20", "a lot"):
        with pytest.raises(UsageError):
            read_share_ppm(text)


@given(st.sampled_from([(f, p) for f in EVERY for p in f.parameters]), st.data())
def test_what_is_shown_reads_back(entry: tuple[object, object], data: st.DataObject) -> None:
    fault, parameter = entry
    count = data.draw(st.integers(parameter.least, parameter.most))  # type: ignore[attr-defined]
    name = parameter.name  # type: ignore[attr-defined]
    shown = in_units(name, count)
    again = read_injection(fault.name, now_ms=0, epoch_utc_s=0, values={short_name(name): shown})  # type: ignore[attr-defined]
    assert again.values == {name: count}


def test_the_catalogue_is_whole() -> None:
    assert len({fault.name for fault in EVERY}) == len({fault.number for fault in EVERY}) == len(EVERY)
    endings = (*(ending for ending, _ in QUANTITIES), "_ppm")
    for fault in EVERY:
        assert fault.source
        assert fault.happens.endswith(".")
        assert fault.shows.endswith(".")
        assert fault.confidence in {"A", "B", "C", "calc", "design"}
        # Who says "No alarm" raises none, and the other way round.
        assert fault.shows.startswith("No alarm") <= (not fault.alarms), fault.name
        shorts = [short_name(parameter.name) for parameter in fault.parameters]
        assert len(set(shorts)) == len(shorts)
        for parameter in fault.parameters:
            assert parameter.least <= parameter.default <= parameter.most, (fault.name, parameter.name)
            assert (
                parameter.name.endswith(endings)
                or "_" not in parameter.name
                or parameter.name in {"depth_dm", "film_mohm"}
            )
        assert json.dumps(fault_record(fault))
    assert all(fault.source.startswith(f"domain.md 4 {fault.number}") for fault in FAULTS)
    assert find_fault("f30").name == "radio"


# --- on a pump -------------------------------------------------------------------------------------------------------


def test_struck_by_an_event_at_the_events_own_instant() -> None:
    pump = VirtualPump()
    pump.program(HOURLY)
    pump.take_events()  # the first bolus began with the program, before anybody waited for it
    pump.inject("motor_stall", when="bolus_started", nth=3, duration="2 h")
    events = pump.advance(days=1)
    struck = [event.at_ms for event in events if event.kind == "fault_struck"]
    ended = [event.at_ms for event in events if event.kind == "fault_ended"]
    third = [event.at_ms for event in events if event.kind == "bolus_started"][2]
    assert (struck, ended) == ([third], [third + 2 * MS_PER_HOUR])


def test_an_act_is_an_event_too() -> None:
    pump = VirtualPump()
    pump.inject("motor_stall", when="bolus_started")
    pump.bolus(Volume.parse("0.010 ml"), Duration.parse("10 min"))
    assert pump.truth.stalled
    assert pump.take_events()[-1] == PumpEvent(0, "fault_struck", "motor_stall")


def test_a_fault_may_wait_for_a_fault() -> None:
    pump = VirtualPump()
    pump.inject("dead_beeper", when="fault_struck motor_stall")
    pump.inject("motor_stall", after="1 h")
    pump.advance(hours=2)
    assert not pump.truth.beeper_works


def test_faults_that_go_round_at_one_instant_end() -> None:
    pump = VirtualPump()
    pump.inject("power_cut", when="power_on", count=0)
    pump.inject("power_cut", when="fault_struck", count=0)
    pump.inject("power_cut", after="1 h")
    pump.advance(hours=2)
    assert pump.status.boot_epoch <= 4


def test_advance_until_stops_at_a_strike() -> None:
    pump = VirtualPump()
    pump.inject("motor_stall", after="3 d")
    assert pump.advance_until("fault_struck")[-1].at_ms == 3 * MS_PER_DAY == pump.now_ms
    assert pump.advance_until("stall_detected")[-1].at_ms == 3 * MS_PER_DAY + 20 * MS_PER_MINUTE == pump.now_ms


@pytest.mark.parametrize(
    ("profile", "order", "message"),
    [
        ("itb-40", {"fault": "mri_reservoir_dump"}, "needs a pump with the drive valve_gated; itb-40 is motor"),
        ("itb-40", {"fault": "level_sensor_drift"}, "needs a pump with a level sensor; itb-40 has none"),
        ("valve-20", {"fault": "tube_set"}, "needs a pump with the drive motor; valve-20 is valve_gated"),
        ("valve-20", {"fault": "mri_stall", "after": "1 h"}, "needs a pump with the drive motor"),
        ("itb-40", {"fault": "mri_telemetry_latch"}, "latches only a pump that is sounding an alarm"),
        ("itb-40", {"fault": "radio", "mode": "replay"}, "no telemeter has been laid over this pump"),
        ("itb-40", {"fault": "battery_film", "mode": "brown_out", "film_mohm": 1}, "never brings this battery down"),
        ("itb-40", {"fault": "memory_error", "mode": "bank_b"}, "bank_b was never written"),
        ("itb-40", {"fault": "memory_error", "mode": "limits_a", "bit": 99_999}, "is outside page limits_a (0 to"),
    ],
)
def test_accepted_means_applied(profile: str, order: dict[str, object], message: str) -> None:
    pump = VirtualPump(profile)
    with pytest.raises(UsageError) as wrong:
        pump.inject(**order)  # type: ignore[arg-type]
    assert message in str(wrong.value)
    assert pump.faults.list() == ()
    assert pump.take_events() == []


def test_what_stands_against_it_depends_on_the_state() -> None:
    pump = VirtualPump()
    pump.inject("over_infusion", error="80 %")
    with pytest.raises(UsageError, match="the rate error would be 1600000 ppm"):
        pump.inject("over_infusion", error="80 %")
    pump.inject("pocket_fill")
    with pytest.raises(UsageError, match="it waits for the next fill already; clear that one first"):
        pump.inject("pocket_fill")
    pump.inject("catheter_failure", "kinked")
    with pytest.raises(UsageError, match="the catheter is occluded and takes nothing"):
        pump.inject("side_port_injection")


def test_a_slip_is_taken_back_unused() -> None:
    pump = VirtualPump()
    order = pump.inject("pocket_fill")
    assert armed_record(order)["state"] == "waits for the next fill"
    pump.clear(order.id)
    pump.refill()
    assert pump.truth.lost_nl == 0
    assert not [event for event in pump.take_events() if event.kind.startswith("fault")]


def test_two_stalls_hold_the_rotor_until_both_are_over() -> None:
    pump = VirtualPump()
    pump.inject("motor_stall", duration="2 h")
    pump.inject("magnet", lasts="1 h")
    standing = []
    for _ in range(3):
        standing.append(pump.truth.stalled)
        pump.advance(hours=1)
    assert standing == [True, True, False]


def test_what_sets_holds_again_when_the_other_ends() -> None:
    pump = VirtualPump()
    first = pump.inject("wrong_tubing_volume", told="0.199 ml")
    second = pump.inject("wrong_tubing_volume", told="0.250 ml")
    pump.clear(second.id)
    assert pump.device.identity().tubing_volume_nl == 199_000
    pump.clear(first.id)
    assert pump.device.identity().tubing_volume_nl == pump.device.profile.labelled_tubing_volume_nl


def test_a_scan_is_what_the_pump_is_made_of() -> None:
    assert [order.name for order in scan(VirtualPump())] == ["mri_stall"]
    assert [order.name for order in scan(VirtualPump("valve-20"))] == ["mri_reservoir_dump"]
    with pytest.raises(UsageError, match="nothing on record happens to a pump like sensor-40"):
        scan(VirtualPump("sensor-40"))
    for field_text in ("0.1 T", "11 T", "strong"):
        with pytest.raises(UsageError, match=r"write 0\.2 T to 10\.5 T"):
            scan(VirtualPump(), field=field_text)
    pump = VirtualPump()
    change, stall, latch = scan(pump, field="7 T", lasts="40 min", interference=True, reprograms_ppm=-200_000)
    assert (change.name, stall.name, latch.name) == ("memory_corruption", "mri_stall", "mri_telemetry_latch")
    assert stall.injection.value("binds_ms") == 24 * MS_PER_HOUR  # beyond what any pump is labelled for
    assert latch.injection.trigger.until_ms == 40 * MS_PER_MINUTE
    events = pump.advance(hours=1)  # twenty minutes on the stall is found out, and the alarm latches it
    assert [event.kind for event in events if event.at_ms == 20 * MS_PER_MINUTE] == [
        "stall_detected",
        "alarm_raised",
        "fault_struck",
        "telemetry_mode_entered",
        "delivery_stopped",
    ]
    assert pump.truth.flow_error_ppm == -200_000


# --- the laws --------------------------------------------------------------------------------------------------------

ORDERS = (
    {"fault": "motor_stall", "after": "30 h", "duration": "5 h"},
    {"fault": "intermittent_stall", "hazard": "30000 %/y", "count": 0, "lasts": "40 min"},
    {
        "fault": "over_infusion",
        "mode": "jump",
        "error": "13 %",
        "jumps_after": "11 h",
        "when": "bolus_started",
        "nth": 5,
    },
    {"fault": "under_infusion", "passes": "37 %", "when": "alarm_raised", "count": 0, "duration": "7 h"},
    {"fault": "catheter_failure", "mode": "positional", "period": "7 h", "kinked": "2 h", "after": "9 h"},
    {
        "fault": "catheter_failure",
        "mode": "leaking",
        "lost": "33 %",
        "hazard": "9000 %/y",
        "count": 0,
        "duration": "3 h",
    },
    {"fault": "feedthrough_short", "when": "stall_detected", "count": 0},
    {"fault": "battery_film", "mode": "brown_out", "after": "60 h"},
    {"fault": "power_cut", "hazard": "20000 %/y", "count": 0},
    {"fault": "mri_telemetry_latch", "when": "alarm_raised", "count": 0},
    {"fault": "memory_corruption", "mode": "repaired", "after": "17 h"},
    {"fault": "clock_error", "mode": "drift", "drift_ppm": 700, "after": "5 h", "duration": "20 h"},
    {"fault": "wrong_calibration", "told": "4 %", "after": "40 h", "duration": "9 h"},
    {"fault": "overfill", "mode": "over_pressure", "after": "20 h"},
    {"fault": "pocket_fill", "missed": "10 %", "after": "20 h"},
    {"fault": "unapproved_drug", "failed_at_78_months": "99.9999 %"},
    {"fault": "dead_beeper", "when": "fault_struck", "duration": "1 h", "count": 0},
)
ACTS: tuple[Callable[[VirtualPump], object], ...] = (
    lambda pump: pump.bolus(Volume.parse("0.010 ml"), Duration.parse("30 min")),
    lambda pump: pump.stop(),
    lambda pump: pump.resume(),
    lambda pump: pump.refill(),
    lambda pump: pump.replace_catheter(),
    lambda pump: pump.program(HOURLY),
    lambda pump: pump.device.interrogated(),
    lambda pump: pump.clear(),
)
SPAN_MS = 4 * MS_PER_DAY


def play(
    orders: list[int], acts: dict[int, int], cuts: list[int], seed: int, restore_at: int | None = None
) -> tuple[list[PumpEvent], object]:
    """A pump with these orders, these acts at their instants, looked at wherever it is cut."""
    pump = VirtualPump(seed=seed)
    pump.program(HOURLY)
    for number in orders:
        pump.inject(**ORDERS[number], seed=seed)
    events: list[PumpEvent] = []
    for at_ms in sorted({*acts, *cuts, SPAN_MS, *([] if restore_at is None else [restore_at])}):
        events += pump.advance_to(at_ms)
        if at_ms == restore_at:
            pump = VirtualPump.restore(json.loads(json.dumps(pump.snapshot())))
        if at_ms in acts:
            try:
                ACTS[acts[at_ms]](pump)
            except (Refused, UsageError) as error:
                events.append(PumpEvent(at_ms, "refused", str(error)))
            events += pump.take_events()
    truth, ledger = pump.truth, pump.ledger
    assert ledger.balance_nl == 0
    return events, (truth, ledger, pump.status.mode, pump.faults.snapshot(), pump.device.core.upsets.snapshot())


instants = st.integers(0, SPAN_MS - 1)
some_orders = st.lists(st.integers(0, len(ORDERS) - 1), max_size=5, unique=True)
some_acts = st.dictionaries(instants, st.integers(0, len(ACTS) - 1), max_size=5)


@settings(max_examples=80, deadline=None)
@given(some_orders, some_acts, st.lists(instants, max_size=40), st.integers(0, 5))
def test_any_partition_of_time_gives_the_same(
    orders: list[int], acts: dict[int, int], cuts: list[int], seed: int
) -> None:
    assert play(orders, acts, [], seed) == play(orders, acts, cuts, seed)


@settings(max_examples=50, deadline=None)
@given(some_orders, some_acts, instants, st.integers(0, 5))
def test_a_restored_pump_goes_on_with_its_faults(
    orders: list[int], acts: dict[int, int], restore_at: int, seed: int
) -> None:
    assert _without_boots(play(orders, acts, [], seed)) == _without_boots(
        play(orders, acts, [], seed, restore_at=restore_at)
    )


def _without_boots(played: tuple[list[PumpEvent], object]) -> tuple[list[PumpEvent], object]:
    """A restored pump counts one boot more."""
    events, rest = played
    return [PumpEvent(e.at_ms, e.kind, "" if e.kind == "power_on" else e.detail) for e in events], rest


def test_a_fork_and_a_rewound_pump_have_their_faults() -> None:
    pump = VirtualPump()
    pump.inject("intermittent_stall", hazard="20000 %/y", count=0)
    pump.inject("radio", "tremor")
    early = pump.snapshot()
    whole = pump.advance(days=50)
    fork = VirtualPump.restore(early)
    assert [order.name for order in fork.faults] == ["intermittent_stall", "radio"]
    assert fork.advance(days=50) == [event for event in whole if event.detail != "radio"]
    assert fork.faults.snapshot() == pump.faults.snapshot()
    later = pump.advance(days=10)
    pump.rewind(early)
    pump.advance(days=50)
    assert pump.advance(days=10) == later


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["faults"].pop("armed"),
        lambda state: state["faults"]["armed"][0].update(hits=-1),
        lambda state: state["faults"]["armed"][0]["injection"].update(name="gremlin"),
        lambda state: state["faults"]["armed"][0]["injection"].update(values=3),
        lambda state: state["faults"]["armed"][0]["injection"]["trigger"].update(kind="whim"),
        lambda state: state["radio"].update(x={}),
        lambda state: state["device"]["upsets"]["slips"].update(gremlin={"mode": "", "values": {}}),
        lambda state: state["device"]["upsets"].update(resets=["x"]),
    ],
)
def test_a_broken_snapshot_is_refused(change: Callable[[dict[str, object]], object]) -> None:
    pump = VirtualPump()
    pump.inject("motor_stall", after="1 h")
    state = json.loads(json.dumps(pump.snapshot()))
    change(state)
    with pytest.raises(UsageError):
        VirtualPump.restore(state)
