"""What the back door can do to a pump besides letting time pass: faults, needle, surroundings, scanner, button.

Each act is a name, the fields that it takes, and a function; all values are as JSON has them, quantities as text with
their unit. Everything raises ``UsageError`` or ``Refused`` as Python would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telemetry.errors import UsageError
from telemetry.sim.faults.mri import DEFAULT_FIELD, scan
from telemetry.sim.faults.reading import read_injection, read_share_ppm
from telemetry.sim.faults.telling import armed_record
from telemetry.sim.pump.environment import BODY_DECIDEGREES
from telemetry.units import Concentration, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from telemetry.sim.faults.armed import Armed
    from telemetry.sim.virtual_pump import VirtualPump

    Body = Mapping[str, object]

_TEXTS = ("at", "after", "when", "hazard", "within", "duration", "mode")
_ORDER = ("name", "values", "nth", "count", "seed", *_TEXTS)
NEEDLE_ACTS = ("withdraw", "fill", "refill", "replace_catheter")


@dataclass(frozen=True, slots=True)
class Tampering:
    """One act: the fields that its request may have, and what does it."""

    fields: tuple[str, ...]
    do: Callable[[VirtualPump, Body], dict[str, object]]


def _orders(armed: Iterable[Armed]) -> list[dict[str, object]]:
    return [armed_record(one) for one in armed]


def _text(body: Body, name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name}: {value!r} is no text; write it with its unit, as in '4 h'")
    return value


def _whole(body: Body, name: str) -> int | None:
    value = body.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise UsageError(f"{name}: {value!r} is no whole number")
    return value if isinstance(value, int) else None


def _switch(body: Body, name: str, *, default: bool = False) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise UsageError(f"{name}: {value!r} is neither true nor false")
    return value


def _fault(pump: VirtualPump, body: Body) -> dict[str, object]:
    name = _text(body, "name")
    if name is None:
        raise UsageError("name: is missing; 'telemetry fault list' shows the faults")
    values = body.get("values") or {}
    if not isinstance(values, dict):
        raise UsageError(f"values: {values!r} is no table of parameters")
    plain = {str(key): value for key, value in values.items() if isinstance(value, str | int)}
    if len(plain) != len(values):
        raise UsageError("values: each is a whole number, or text with a unit")
    nth = _whole(body, "nth")
    seed = _whole(body, "seed")
    order = read_injection(
        name,
        _text(body, "mode") or "",
        now_ms=pump.now_ms,
        epoch_utc_s=pump.device.identity().epoch_utc_s,
        at=_text(body, "at"),
        after=_text(body, "after"),
        when=_text(body, "when") or "",
        nth=1 if nth is None else nth,
        hazard=_text(body, "hazard"),
        within=_text(body, "within"),
        duration=_text(body, "duration"),
        count=_whole(body, "count"),
        seed=(pump.seed or 0) if seed is None else seed,
        values=plain,
    )
    return {"armed": _orders([pump.inject(order)])}


def _clear(pump: VirtualPump, body: Body) -> dict[str, object]:
    what = body.get("fault")
    if what is not None and (isinstance(what, bool) or not isinstance(what, str | int)):
        raise UsageError(f"fault: {what!r} is neither an order's number nor a fault's name")
    return {"cleared": _orders(pump.clear(what)), "armed": _orders(pump.faults)}


def _needle(pump: VirtualPump, body: Body) -> dict[str, object]:
    act = _text(body, "act")
    text = _text(body, "volume")
    volume = None if text is None else Volume.parse(text)
    text = _text(body, "concentration")
    strength = None if text is None else Concentration.parse(text)
    if act == "withdraw":
        return {"withdrawn_nl": pump.withdraw(volume).nl}
    if act == "fill":
        if volume is None:
            raise UsageError("volume: is missing; a filling is of something, as in '20 ml'")
        held = Concentration(pump.status.concentration_ng_per_ml) if strength is None else strength
        return {"filled_nl": pump.fill(volume, held, _text(body, "into") or "reservoir").nl}
    if act == "refill":
        done = pump.refill(volume, strength)
        return {"withdrawn_nl": done.withdrawn_nl, "filled_nl": done.filled_nl}
    if act == "replace_catheter":
        pump.replace_catheter(volume)
        return {"catheter_nl": pump.device.core.reservoir.path.catheter_nl}
    raise UsageError(f"act: {act!r} is none of {', '.join(NEEDLE_ACTS)}")


def _environment(pump: VirtualPump, body: Body) -> dict[str, object]:
    """Where the patient is from now on; what is not said is as usual."""
    said = {name: _whole(body, name) for name in ("altitude_m", "depth_dm", "temperature_decidegrees")}
    if said["altitude_m"] and said["depth_dm"]:
        raise UsageError("altitude_m, depth_dm: a patient is up a mountain or under water; give one of them")
    before = [armed.id for armed in pump.faults if armed.name == "pressure"]
    made = []
    if said["altitude_m"]:
        made.append(pump.inject("pressure", "altitude", metres=said["altitude_m"]))
    if said["depth_dm"]:
        made.append(pump.inject("pressure", "depth", depth_dm=said["depth_dm"]))
    warmth = said["temperature_decidegrees"]
    if warmth is not None and warmth != BODY_DECIDEGREES:
        made.append(pump.inject("pressure", "fever", decidegrees=warmth))
    for number in before:
        pump.clear(number)
    around = pump.device.core.reservoir.environment
    return {
        "armed": _orders(made),
        "pressure_hpa": around.pressure_hpa,
        "temperature_decidegrees": around.temperature_decidegrees,
        "bent": around.bent,
    }


def _mri(pump: VirtualPump, body: Body) -> dict[str, object]:
    share = _text(body, "reprograms")
    armed = scan(
        pump,
        field=_text(body, "field") or DEFAULT_FIELD,
        lasts=_text(body, "lasts"),
        binds=_text(body, "binds"),
        interference=_switch(body, "interference"),
        reprograms_ppm=0 if share is None else read_share_ppm(share),
    )
    return {"armed": _orders(armed)}


def _press(pump: VirtualPump, _body: Body) -> dict[str, object]:
    record = pump.patient_bolus()
    return {"verdict": record.verdict.value, "reason": None if record.reason is None else record.reason.value}


def _reset_memory(pump: VirtualPump, _body: Body) -> dict[str, object]:
    pump.device.reset_memory()
    return {"stored_error": pump.device.core.upsets.stored_error}


TAMPERINGS: dict[str, Tampering] = {
    "fault": Tampering(_ORDER, _fault),
    "fault/clear": Tampering(("fault",), _clear),
    "needle": Tampering(("act", "volume", "concentration", "into"), _needle),
    "environment": Tampering(("altitude_m", "depth_dm", "temperature_decidegrees"), _environment),
    "mri": Tampering(("field", "lasts", "binds", "interference", "reprograms"), _mri),
    "patient-bolus": Tampering((), _press),
    "memory-reset": Tampering((), _reset_memory),
}
"""Every act, by the last part of its path."""


def armed_faults(pump: VirtualPump) -> dict[str, object]:
    """Every order, JSON-able."""
    pump.sync()
    return {"armed": _orders(pump.faults)}
