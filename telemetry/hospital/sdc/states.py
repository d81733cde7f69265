"""What changes: a sighting written into the MDIB, in one transaction for metrics, alerts and components each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sdc11073.xml_types import pm_types

from telemetry.hospital.alerts import (
    PRIORITIES,
    Activation,
    Presence,
    Signal,
    by_kind,
    priority_now,
    system_activation,
    view,
)
from telemetry.hospital.metrics import METRICS, ml
from telemetry.hospital.sdc import tree
from telemetry.model import AlarmKind
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from sdc11073.mdib import ProviderMdib

    from telemetry.hospital.alerts import AlertView
    from telemetry.interrogation import Interrogation

pm: Any = pm_types  # the library types its values in part only


class Validity(StrEnum):
    """How far a value can be believed, in the words of BICEPS."""

    VALID = "Vld"
    QUESTIONABLE = "Qst"
    INVALID = "Inv"


@dataclass(frozen=True, slots=True)
class Ages:
    """From when on a reading is questionable although no look has failed, and from when on it is of no use; ms."""

    questionable_ms: int
    invalid_ms: int

    def validity(self, age_ms: int, *, missed: bool) -> Validity:
        """What a reading of this age is worth, ``missed`` telling that the last look at the pump failed."""
        if age_ms >= self.invalid_ms:
            return Validity.INVALID
        return Validity.QUESTIONABLE if missed or age_ms >= self.questionable_ms else Validity.VALID


class States:
    """Writes into one MDIB; used from one thread at a time."""

    def __init__(self, mdib: ProviderMdib, seen: Interrogation) -> None:
        self._mdib: Any = mdib
        self._looks = 0
        self._shown: dict[str, tuple[object, ...]] = {}
        self._fixed(seen)
        self.show(seen)
        self.contact(lost=False, at_ms=seen.read_utc_ms)

    def show(self, seen: Interrogation) -> None:
        """A whole reading: every metric valid, every alarm as the pump said it."""
        self._looks += 1
        self.judge(seen, Validity.VALID)
        alarms = by_kind(seen.alarms)
        views = {kind: view(alarms.get(kind), priority_now(kind, seen.status)) for kind in AlarmKind}
        with self._mdib.alert_state_transaction(set_determination_time=False) as writing:
            for kind, found in views.items():
                self._alarm(writing, kind, found, seen)
            system = writing.get_state(tree.ALERTS)
            system.LastSelfCheck = seen.read_utc_ms / MS_PER_SECOND
            system.SelfCheckCount = self._looks
            system.PresentTechnicalAlarmConditions = [
                tree.condition_of(kind) for kind, found in views.items() if found.present
            ]
            sounding = system_activation(found.audible for found in views.values())
            system.SystemSignalActivation = [
                pm.SystemSignalActivation(pm.AlertSignalManifestation.AUD, pm.AlertActivation(sounding))
            ]

    def judge(self, seen: Interrogation, validity: Validity) -> None:
        """Write every metric with its worth; one that is of no use any more has no value."""
        with self._mdib.metric_state_transaction(set_determination_time=False) as writing:
            for metric in METRICS:
                state = writing.get_state(metric.handle)
                if state.MetricValue is None:
                    state.mk_metric_value()
                value = state.MetricValue
                value.Value = None if validity is Validity.INVALID else metric.read(seen)
                value.DeterminationTime = seen.read_utc_ms / MS_PER_SECOND
                value.MetricQuality.Validity = pm.MeasurementValidity(validity)
                value.MetricQuality.Mode = pm.GenerationMode.TEST

    def contact(self, *, lost: bool, at_ms: int) -> None:
        """Whether the pump can be read; alarms stay as they were last read, for they may be sounding still."""
        here = (lost,)
        if self._shown.get(tree.NOT_READ) == here:
            return
        self._shown[tree.NOT_READ] = here
        with self._mdib.alert_state_transaction(set_determination_time=False) as writing:
            condition = writing.get_state(tree.NOT_READ)
            condition.Presence = lost
            condition.DeterminationTime = at_ms / MS_PER_SECOND
            sign = Signal(Activation.ON, Presence.ON if lost else Presence.OFF)
            _write_signal(writing.get_state(tree.NOT_READ_SIGN), sign, pm.AlertSignalPrimaryLocation.REMOTE)
            system = writing.get_state(tree.ALERTS)
            others = [name for name in system.PresentTechnicalAlarmConditions or () if name != tree.NOT_READ]
            system.PresentTechnicalAlarmConditions = [*others, *([tree.NOT_READ] if lost else [])]
        with self._mdib.component_state_transaction() as writing:
            activation = pm.ComponentActivation.NOT_READY if lost else pm.ComponentActivation.ON
            writing.get_state(tree.VMD).ActivationState = activation

    def _alarm(self, writing: Any, kind: AlarmKind, found: AlertView, seen: Interrogation) -> None:  # noqa: ANN401 - the library's
        limit_nl = seen.limits.low_reservoir_alarm_nl if kind is AlarmKind.LOW_RESERVOIR else 0
        name = tree.condition_of(kind)
        before = self._shown.get(name)
        now = (found, limit_nl)
        if before == now:
            return
        self._shown[name] = now
        was_present = isinstance(before, tuple) and bool(getattr(before[0], "present", False))
        condition = writing.get_state(name)
        condition.ActivationState = pm.AlertActivation(found.activation)
        condition.ActualPriority = pm.AlertConditionPriority(PRIORITIES[found.priority])
        condition.Presence = found.present
        if before is None or was_present != found.present:
            condition.DeterminationTime = seen.read_utc_ms / MS_PER_SECOND
        if kind is AlarmKind.LOW_RESERVOIR:
            condition.Limits = pm.Range(lower=ml(limit_nl))
            watched = found.activation is Activation.ON
            condition.MonitoredAlertLimits = (
                pm.AlertConditionMonitoredLimits.HIGH_OFF if watched else pm.AlertConditionMonitoredLimits.NONE
            )
        _write_signal(writing.get_state(tree.sound_of(kind)), found.audible, pm.AlertSignalPrimaryLocation.LOCAL)
        _write_signal(writing.get_state(tree.sign_of(kind)), found.visible, pm.AlertSignalPrimaryLocation.REMOTE)

    def _fixed(self, seen: Interrogation) -> None:
        with self._mdib.component_state_transaction() as writing:
            writing.get_state(tree.VMD).CalibrationInfo = tree.calibration(seen.identity)
            mds = writing.get_state(tree.MDS)
            mds.OperatingMode = pm.MdsOperatingMode.DEMO
            mds.Lang = tree.LANGUAGE


def _write_signal(state: Any, signal: Signal, location: Any) -> None:  # noqa: ANN401 - the library's
    state.ActivationState = pm.AlertActivation(signal.activation)
    state.Presence = pm.AlertSignalPresence(signal.presence)
    state.Location = location
