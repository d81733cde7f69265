"""What the provider consists of: the descriptors of one pump, made from its first reading.

MDS "pump" - alert system, one VMD - three channels - the metrics of ``telemetry.hospital.metrics``. There is no SCO and
no operation anywhere in it: nobody can command through it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sdc11073.definitions_sdc import SdcV1Definitions
from sdc11073.mdib import ProviderMdib
from sdc11073.mdib import descriptorcontainers as dc
from sdc11073.xml_types import pm_types

from telemetry.alarm_table import PUMP_ROWS
from telemetry.hospital import codes
from telemetry.hospital.alerts import PRIORITIES
from telemetry.hospital.metrics import BY_HANDLE, METRICS, Category, Channel, ml
from telemetry.model import AlarmKind, AlarmPriority
from telemetry.units import MS_PER_SECOND

if TYPE_CHECKING:
    from telemetry.alarm_table import AlarmRow
    from telemetry.hospital.codes import Term, Unit
    from telemetry.hospital.metrics import Metric
    from telemetry.interrogation import Interrogation
    from telemetry.model import Identity

pm: Any = pm_types  # the library types its values in part only
MDS, VMD, ALERTS = "pump", "pump.vmd", "pump.alerts"
NOT_READ = "condition.not-read"
NOT_READ_SIGN = "sign.not-read"
LANGUAGE = "en-US"
_CHANNELS = {
    Channel.SOURCE: codes.SOURCE_CHANNEL,
    Channel.DELIVERY: codes.DELIVERY_CHANNEL,
    Channel.SERVICE: codes.SERVICE_CHANNEL,
}
_CATEGORIES = {Category.SETTING: pm.MetricCategory.SETTING, Category.CALCULATION: pm.MetricCategory.CALCULATION}
_NOT_READ_TERM = codes.Term("not-read", "the pump cannot be read: everything else is as it was last read")
_NOT_READ_ADVICE = "Hold the telemeter over the pump, and look whether its link is up."


def condition_of(kind: AlarmKind) -> str:
    """The handle of an alarm's condition."""
    return f"condition.{kind.value}"


def sound_of(kind: AlarmKind) -> str:
    """The handle of what the pump's beeper makes of it."""
    return f"sound.{kind.value}"


def sign_of(kind: AlarmKind) -> str:
    """The handle of what whoever reads the pump shows of it."""
    return f"sign.{kind.value}"


def channel_of(channel: Channel) -> str:
    """The handle of a channel."""
    return f"channel.{channel.value}"


def coded(term: Term) -> Any:  # noqa: ANN401 - the library types its own values as Any
    """A term as BICEPS has it: the standard's code where it is sure and meant exactly, else ours; the rest as words."""
    words = [pm.LocalizedText(term.label, lang=LANGUAGE)]
    if term.mdc is not None and not term.nearest:
        return pm.CodedValue(str(term.mdc), concept_descriptions=words, symbolic_code_name=term.symbol)
    made = _own(term.own, words)
    if term.mdc is not None:
        made.Translation.append(pm.Translation(str(term.mdc)))
    return made


def unit_of(unit: Unit) -> Any:  # noqa: ANN401 - as above
    """A unit as BICEPS has it: the standard's code with UCUM beside it where that code is sure, else UCUM."""
    words = [pm.LocalizedText(unit.label or unit.ucum, lang=LANGUAGE)]
    if unit.mdc is None:
        return pm.CodedValue(unit.ucum, coding_system=codes.UCUM_OID, concept_descriptions=words)
    made = pm.CodedValue(str(unit.mdc), concept_descriptions=words, symbolic_code_name=unit.symbol)
    made.Translation.append(pm.Translation(unit.ucum, coding_system=codes.UCUM_OID))
    return made


def describe(seen: Interrogation, *, poll_ms: int) -> ProviderMdib:
    """The MDIB of this pump with every descriptor and a state for each, none of them filled in yet."""
    found: list[Any] = [_mds(seen.identity), _vmd(), *_alert_system(seen, poll_ms), *_context()]
    found += [_channel(channel) for channel in Channel]
    found += [_metric(metric, poll_ms) for metric in METRICS]
    mdib = ProviderMdib(SdcV1Definitions)
    mdib.add_description_containers(found)
    mdib.xtra.mk_state_containers_for_all_descriptors()
    mdib.xtra.set_all_source_mds()
    return mdib


def calibration(identity: Identity) -> Any:  # noqa: ANN401 - as above
    """The pump's calibration constant as calibration information: what it was told, in ppm of nominal flow."""
    result = pm.CalibrationResult()
    result.Code = coded(codes.CALIBRATION)
    result.Value = pm.Measurement(Decimal(identity.calibration_ppm), unit_of(codes.PPM))
    documented = pm.CalibrationDocumentation()
    documented.Documentation = [pm.LocalizedText(f"SIMULATED: {codes.CALIBRATION.label}", lang=LANGUAGE)]
    documented.CalibrationResult = [result]
    info = pm.CalibrationInfo()
    info.ComponentCalibrationState = pm.CalibrationState.CALIBRATED
    info.CalibrationDocumentation = [documented]
    return info


def _own(code: str, words: list[Any]) -> Any:  # noqa: ANN401 - as above
    names = [pm.LocalizedText(codes.OWN_SYSTEM_NAME, lang=LANGUAGE)]
    return pm.CodedValue(code, coding_system=codes.OWN_SYSTEM, coding_system_names=names, concept_descriptions=words)


def _mds(identity: Identity) -> Any:  # noqa: ANN401 - as above
    mds = dc.MdsDescriptorContainer(handle=MDS, parent_handle=None)
    mds.Type = coded(codes.PUMP_MDS)
    about = pm.MetaData()
    about.Manufacturer = [pm.LocalizedText("itb-telemetry, SIMULATED", lang=LANGUAGE)]
    about.ModelName = [pm.LocalizedText(f"SIMULATED {identity.model}", lang=LANGUAGE)]
    about.ModelNumber = identity.model
    about.SerialNumber = [identity.serial]
    mds.MetaData = about
    return mds


def _vmd() -> Any:  # noqa: ANN401 - as above
    vmd = dc.VmdDescriptorContainer(handle=VMD, parent_handle=MDS)
    vmd.Type = coded(codes.PUMP_VMD)
    return vmd


def _context() -> list[Any]:
    """A place for a location; there is none for a patient, because nobody here is one."""
    return [
        dc.SystemContextDescriptorContainer(handle="context", parent_handle=MDS),
        dc.LocationContextDescriptorContainer(handle="context.location", parent_handle="context"),
    ]


def _channel(channel: Channel) -> Any:  # noqa: ANN401 - as above
    made = dc.ChannelDescriptorContainer(handle=channel_of(channel), parent_handle=VMD)
    made.Type = coded(_CHANNELS[channel])
    return made


def _metric(metric: Metric, poll_ms: int) -> Any:  # noqa: ANN401 - as above
    handle, parent = metric.handle, channel_of(metric.channel)
    made: Any
    if metric.numeric:
        made = dc.NumericMetricDescriptorContainer(handle=handle, parent_handle=parent)
        made.Resolution = metric.resolution
    elif metric.values:
        made = dc.EnumStringMetricDescriptorContainer(handle=handle, parent_handle=parent)
        made.AllowedValue = [_allowed(metric, value) for value in metric.values]
    else:
        made = dc.StringMetricDescriptorContainer(handle=handle, parent_handle=parent)
    made.Type = coded(metric.term)
    made.Unit = unit_of(metric.unit)
    made.MetricCategory = _CATEGORIES[metric.category]
    made.DerivationMethod = pm.DerivationMethod.AUTOMATIC
    made.MetricAvailability = pm.MetricAvailability.INTERMITTENT
    made.DeterminationPeriod = poll_ms / MS_PER_SECOND
    made.SafetyClassification = pm.SafetyClassification.INF
    return made


def _allowed(metric: Metric, value: str) -> Any:  # noqa: ANN401 - as above
    words = [pm.LocalizedText(value.replace("_", " "), lang=LANGUAGE)]
    return pm.AllowedValue(value, _own(f"{metric.term.own}.{value}", words))


def _alert_system(seen: Interrogation, poll_ms: int) -> list[Any]:
    system = dc.AlertSystemDescriptorContainer(handle=ALERTS, parent_handle=MDS)
    system.Type = coded(codes.ALERT_SYSTEM)
    system.SelfCheckPeriod = poll_ms / MS_PER_SECOND
    found: list[Any] = [system]
    for row in PUMP_ROWS:
        if isinstance(row.kind, AlarmKind):
            found += _alarm(row, row.kind, seen)
    return [*found, *_not_read()]


def _alarm(row: AlarmRow, kind: AlarmKind, seen: Interrogation) -> list[Any]:
    made: Any
    if kind is AlarmKind.LOW_RESERVOIR:
        made = dc.LimitAlertConditionDescriptorContainer(handle=condition_of(kind), parent_handle=ALERTS)
        made.MaxLimits = pm.Range(lower=Decimal(0), upper=ml(seen.identity.reservoir_capacity_nl))
        made.Source = [BY_HANDLE["reservoir-volume"].handle]
    else:
        made = dc.AlertConditionDescriptorContainer(handle=condition_of(kind), parent_handle=ALERTS)
        made.Source = [VMD]
    made.Type = _own(f"alarm.{kind.value}", [pm.LocalizedText(row.condition, lang=LANGUAGE)])
    made.Kind = pm.AlertConditionKind.TECHNICAL
    made.Priority = pm.AlertConditionPriority(PRIORITIES[row.priority])
    if row.near_priority is not None:
        made.CanEscalate = pm.CanEscalate(PRIORITIES[row.near_priority])
    made.CauseInfo = [_cause(row.condition, row.advice.clinician)]
    sound = _signal(sound_of(kind), condition_of(kind), pm.AlertSignalManifestation.AUD, latching=row.latching)
    sound.AcknowledgementSupported = True
    sign = _signal(sign_of(kind), condition_of(kind), pm.AlertSignalManifestation.VIS, latching=row.latching)
    return [made, sound, sign]


def _not_read() -> list[Any]:
    made = dc.AlertConditionDescriptorContainer(handle=NOT_READ, parent_handle=ALERTS)
    made.Source = [MDS]
    made.Type = _own(f"alarm.{_NOT_READ_TERM.own}", [pm.LocalizedText(_NOT_READ_TERM.label, lang=LANGUAGE)])
    made.Kind = pm.AlertConditionKind.TECHNICAL
    made.Priority = pm.AlertConditionPriority(PRIORITIES[AlarmPriority.LOW])
    made.CauseInfo = [_cause(_NOT_READ_TERM.label, _NOT_READ_ADVICE)]
    return [made, _signal(NOT_READ_SIGN, NOT_READ, pm.AlertSignalManifestation.VIS, latching=False)]


def _cause(what: str, advice: str) -> Any:  # noqa: ANN401 - as above
    remedy = pm.RemedyInfo([pm.LocalizedText(f"SIMULATED pump. {advice}", lang=LANGUAGE)])
    return pm.CauseInfo(remedy, [pm.LocalizedText(what, lang=LANGUAGE)])


def _signal(handle: str, condition: str, manifestation: Any, *, latching: bool) -> Any:  # noqa: ANN401 - as above
    made = dc.AlertSignalDescriptorContainer(handle=handle, parent_handle=ALERTS)
    made.ConditionSignaled = condition
    made.Manifestation = manifestation
    made.Latching = latching
    return made
