"""A pump as one JSON-able table, complete and versioned, and back again (protocol.md, Decided 14).

A restored pump goes on identically, medium and RAM alike, under a raised boot epoch: challenges and ephemerals that
hang on it can never repeat from a rewound state.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.model import AlarmClass, AlarmKind, AlarmPriority, Drug, Program, PumpLimits
from telemetry.sim.pump import records
from telemetry.sim.pump import state as st
from telemetry.sim.pump.battery import Battery
from telemetry.sim.pump.core import PumpCore
from telemetry.sim.pump.ledger import RECORD_PAGES, CommitRecord, Ledger
from telemetry.sim.pump.medium import Medium
from telemetry.sim.pump.profile import AlarmSpec, PumpProfile
from telemetry.sim.pump.reservoir import Reservoir
from telemetry.sim.pump.rtc import WallClock

if TYPE_CHECKING:
    from telemetry.sim.pump.device import PumpDevice

FORMAT = "itb-pump"
VERSION = 1
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
    "medium",
)
_FLAGS = ("powered", "ended", "exhausted", "dry_told", "empty_told", "running", "safe")
_INSTANTS = ("memory_check_due_ms", "still_since_ms", "safe_basal_nl_per_day")
_COUNTS = ("now_ms", "boot_epoch", "concentration_ng_per_ml", "reservoir_generation")
_CORE = (*_FLAGS, *_INSTANTS, *_COUNTS, "drug", "program", "program_digest", "limits", "staged", "checkpoint_serial")
_ALARM_INTS = ("tones_per_burst", "burst_ms", "repeat_ms", "burst_charge_pc", "acknowledged_for_ms")


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
            "limits": None if core.limits is None else records.pack_limits(core.limits).hex(),
            "staged": None if staged is None else [records.pack_bank(staged[0], staged[1]).hex(), staged[2].hex()],
            "checkpoint_serial": core.memory.checkpoint_serial,
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
        reservoir=Reservoir(0, profile.path_volume_nl, 1, 0),
        battery=Battery(profile, now_ms=0, age_ms=0, rate_nl_per_day=profile.start_rate_nl_per_day),
        clock=WallClock(0, 0),
    )
    core.reservoir.restore(top["reservoir"], "reservoir")
    core.battery.restore(top["battery"], "battery")
    core.clock.restore(top["clock"], "clock")
    core.alarms.restore(top["alarms"], "alarms")
    core.log.restore(top["log"], "log")
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
    core.program = _bank(st.text(state, "program", "core"), "core.program")[0]
    core.memory.checkpoint_serial = st.integer(state, "checkpoint_serial", "core")
    core.limits = None if state["limits"] is None else _limits(st.octets(state, "limits", "core"))
    if core.active is None or st.octets(state, "program_digest", "core") != core.active.image_digest:
        raise UsageError("snapshot core.program_digest: is not the one of the newest ledger record")
    if state["staged"] is not None:
        parts = st.items(state, "staged", "core")
        if len(parts) != 2:
            raise UsageError(f"snapshot core.staged: {len(parts)} parts, needs 2")
        program, digest = _bank(parts[0], "core.staged")
        core.staged = (program, digest, st.octets({"digest": parts[1]}, "digest", "core.staged"))


def _bank(text: object, where: str) -> tuple[Program, bytes]:
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


def profile_to_table(profile: PumpProfile) -> dict[str, object]:
    """A profile, JSON-able."""
    table: dict[str, object] = {field.name: getattr(profile, field.name) for field in fields(profile)}
    table["alarms"] = [{field.name: getattr(spec, field.name) for field in fields(spec)} for spec in profile.alarms]
    return table


def profile_from_table(value: object) -> PumpProfile:
    """A profile back from its table; raises ``UsageError`` naming what is wrong with it."""
    where = "profile"
    state = dict(st.table(value, where, [field.name for field in fields(PumpProfile)]))
    alarms: list[AlarmSpec] = []
    for item in st.items(state, "alarms", where):
        one = st.table(item, f"{where}.alarms", [field.name for field in fields(AlarmSpec)])
        at = f"{where}.alarms"
        alarms.append(
            AlarmSpec(
                kind=st.member(one, "kind", at, AlarmKind),
                alarm_class=st.member(one, "alarm_class", at, AlarmClass),
                priority=st.member(one, "priority", at, AlarmPriority),
                latching=st.flag(one, "latching", at),
                can_disable=st.flag(one, "can_disable", at),
                **{key: st.integer(one, key, at) for key in _ALARM_INTS},
            )
        )
    texts = {key: st.text(state, key, where) for key in ("name", "model", "serial")}
    numbers = {
        field.name: st.integer(state, field.name, where, least=None)
        for field in fields(PumpProfile)
        if field.name not in {*texts, "drug", "alarms"}
    }
    drug = st.member(state, "drug", where, Drug)
    return PumpProfile(**texts, **numbers, drug=drug, alarms=tuple(alarms))  # type: ignore[arg-type]
