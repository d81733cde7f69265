"""A pump as one JSON-able table, complete and versioned, and back again (protocol.md, Decided 14).

A restored pump goes on identically, medium and RAM alike, under a raised boot epoch: challenges and ephemerals that
hang on it can never repeat from a rewound state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import Drug, PumpLimits
from telemetry.sim.pump import records
from telemetry.sim.pump import state as st
from telemetry.sim.pump.activity import Running
from telemetry.sim.pump.battery import Battery
from telemetry.sim.pump.core import PumpCore
from telemetry.sim.pump.ledger import RECORD_PAGES, CommitRecord, Ledger
from telemetry.sim.pump.medium import Medium
from telemetry.sim.pump.plan import Plan
from telemetry.sim.pump.profile_table import profile_from_table, profile_to_table
from telemetry.sim.pump.reservoir import Reservoir
from telemetry.sim.pump.rtc import WallClock

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice
    from telemetry.sim.pump.orders import Order

FORMAT = "itb-pump"
VERSION = 2
_TOP = (
    "format",
    "version",
    "profile",
    "serial",
    "pump_id",
    "core",
    "reservoir",
    "battery",
    "clock",
    "alarms",
    "log",
    "ledger",
    "governor",
    "patient",
    "activity",
    "upsets",
    "medium",
)
_FLAGS = ("powered", "ended", "exhausted", "dry_told", "empty_told", "reminded", "running", "safe", "shelf", "tripped")
_INSTANTS = (
    "memory_check_due_ms",
    "still_since_ms",
    "safe_basal_nl_per_day",
    "halted_ms",
    "plan_due_ms",
    "bolus_due_ms",
)
_COUNTS = (
    "now_ms",
    "boot_epoch",
    "concentration_ng_per_ml",
    "reservoir_generation",
    "filled_nl",
    "plan_started_ms",
    "bridge_left",
    "base_nl_per_day",
    "base_ng_per_day",
)
_KEPT = ("drug", "program", "program_digest", "planned", "limits", "staged", "checkpoint_serial", "torn")
_CORE = (*_FLAGS, *_INSTANTS, *_COUNTS, *_KEPT)


def take(device: PumpDevice) -> dict[str, object]:
    """Everything of a pump."""
    core = device.core
    staged = core.staged
    ledger = core.ledger
    slots = {record.slot for record in ledger}
    return {
        "format": FORMAT,
        "version": VERSION,
        "profile": profile_to_table(device.profile),
        "serial": device.serial,
        "pump_id": device.pump_id.hex(),
        "core": {key: getattr(core, key) for key in (*_FLAGS, *_INSTANTS, *_COUNTS)}
        | {
            "drug": core.drug.value,
            "program": records.pack_bank(core.program, bytes(records.DIGEST_SIZE)).hex(),
            "program_digest": None if core.active is None else core.active.image_digest.hex(),
            "planned": core.plan is not None,
            "limits": None if core.limits is None else records.pack_limits(core.limits).hex(),
            "staged": None if staged is None else [records.pack_bank(staged[0], staged[1]).hex(), staged[2].hex()],
            "checkpoint_serial": core.memory.checkpoint_serial,
            "torn": core.memory.torn,
        },
        "reservoir": core.reservoir.snapshot(),
        "battery": core.battery.snapshot(),
        "clock": core.clock.snapshot(),
        "alarms": core.alarms.snapshot(),
        "log": core.log.snapshot(),
        "ledger": {
            "records": {str(page): records.pack_commit(record).hex() for page, record in ledger.records.items()},
            "acknowledged": {str(slot): ledger.acknowledged_through(slot) for slot in sorted(slots)},
        },
        "governor": core.governor.snapshot(core.now_ms),
        "patient": core.patient.snapshot(),
        "activity": None if core.activity is None else core.activity.snapshot(),
        "upsets": core.upsets.snapshot(),
        "medium": device.medium.snapshot(),
    }


def restore(kind: type[PumpDevice], value: object) -> PumpDevice:
    """The pump of a snapshot; raises ``UsageError`` naming what is wrong with it."""
    if isinstance(value, dict) and value.get("version") != VERSION:
        raise UsageError(f"snapshot version: {value.get('version')!r}; this program restores version {VERSION}")
    top = st.table(value, "pump", _TOP)
    if top["format"] != FORMAT:
        raise UsageError(f"snapshot format: {top['format']!r} is not {FORMAT}")
    profile = profile_from_table(top["profile"])
    device = kind.__new__(kind)
    device.profile = profile
    device.serial = st.text(top, "serial", "pump")
    device.pump_id = st.octets(top, "pump_id", "pump")
    state = st.table(top["core"], "core", _CORE)
    core = PumpCore(
        profile,
        Medium.restore(top["medium"]),
        now_ms=st.integer(state, "now_ms", "core"),
        reservoir=Reservoir(profile, fill_nl=0, concentration_ng_per_ml=1),
        battery=Battery(profile, now_ms=0, age_ms=0, rate_nl_per_day=profile.start_rate_nl_per_day),
        clock=WallClock(0, 0),
    )
    core.reservoir.restore(top["reservoir"], "reservoir")
    core.battery.restore(top["battery"], "battery")
    core.clock.restore(top["clock"], "clock")
    core.alarms.restore(top["alarms"], "alarms")
    core.log.restore(top["log"], "log")
    core.governor.restore(top["governor"], "governor")
    core.patient.restore(top["patient"], "patient")
    core.upsets.restore(top["upsets"], "upsets")
    core.activity = None if top["activity"] is None else Running.restore(top["activity"], "activity")
    core.ledger = _ledger(top["ledger"])
    core.active = core.ledger.newest()
    _restore_core(core, state)
    device.core = core
    device.attach()
    core.boot_epoch += 1
    core.memory.write_boot_epoch(core.boot_epoch)
    return device


def _restore_core(core: PumpCore, state: st.State) -> None:
    for key in _FLAGS:
        setattr(core, key, st.flag(state, key, "core"))
    for key in _INSTANTS:
        setattr(core, key, st.instant(state, key, "core"))
    for key in _COUNTS:
        setattr(core, key, st.integer(state, key, "core"))
    core.drug = st.member(state, "drug", "core", Drug)
    program = records.program_in(_bank(st.text(state, "program", "core"), "core.program")[0])
    if program is None:
        raise UsageError("snapshot core.program: is an order that brings no program")
    core.program = program
    core.plan = Plan(program, started_ms=core.plan_started_ms) if st.flag(state, "planned", "core") else None
    core.memory.torn = None if state["torn"] is None else st.text(state, "torn", "core")
    core.memory.checkpoint_serial = st.integer(state, "checkpoint_serial", "core")
    core.set_limits(None if state["limits"] is None else _limits(st.octets(state, "limits", "core")))
    if core.active is None or st.octets(state, "program_digest", "core") != core.active.image_digest:
        raise UsageError("snapshot core.program_digest: is not the one of the newest ledger record")
    if state["staged"] is not None:
        parts = st.items(state, "staged", "core")
        if len(parts) != 2:
            raise UsageError(f"snapshot core.staged: {len(parts)} parts, needs 2")
        order, digest = _bank(parts[0], "core.staged")
        core.staged = (order, digest, st.octets({"digest": parts[1]}, "digest", "core.staged"))


def _bank(text: object, where: str) -> tuple[Order, bytes]:
    parsed = records.parse_bank(st.octets({"bank": text}, "bank", where))
    if parsed is None:
        raise UsageError(f"snapshot {where}: no program whose check value holds")
    return parsed


def _limits(data: bytes) -> PumpLimits:
    limits = records.parse_limits(data)
    if limits is None:
        raise UsageError("snapshot core.limits: no limits whose check value holds")
    return limits


def _ledger(value: object) -> Ledger:
    state = st.table(value, "ledger", ("records", "acknowledged"))
    listed, seen = state["records"], state["acknowledged"]
    if not isinstance(listed, dict) or not isinstance(seen, dict):
        raise UsageError("snapshot ledger: records and acknowledged must be tables")
    found: dict[int, CommitRecord] = {}
    for page in listed:
        record = records.parse_commit(st.octets(listed, page, "ledger.records"))
        if record is None or not str(page).isdecimal() or int(page) >= RECORD_PAGES:
            raise UsageError(
                f"snapshot ledger.records.{page}: no record whose check value holds on a page below {RECORD_PAGES}"
            )
        found[int(page)] = record
    ledger = Ledger(found)
    for slot in seen:
        if not str(slot).isdecimal():
            raise UsageError(f"snapshot ledger.acknowledged: {slot!r} is no slot number")
        ledger.acknowledge_through(int(slot), st.integer(seen, slot, "ledger.acknowledged"))
    return ledger
