"""P-50 to P-56: the pump says no, or warns, and the programmer honours it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.operator import ActKind, Field
from telemetry.conform.programmer.bench import APPLIED, NOT_APPLIED
from telemetry.conform.programmer.catalogue import PROGRAMMER, domain, itp, trust
from telemetry.model import OperationKind, Role

if TYPE_CHECKING:
    from telemetry.conform.programmer.bench import Bench
    from telemetry.model import PumpStatus

_CHANGE = ("read", "change")
_SOFT = "0.300 ml/day"
"""600 µg/day from 340: beyond the soft limit of the change, inside the hard one."""


async def _refused(bench: Bench, before: PumpStatus) -> None:
    """It ends as not applied, with a reason, and the pump is unchanged."""
    result = await bench.result()
    bench.expect(result == NOT_APPLIED, "the word for not applied", result or "nothing")
    reason = await bench.show(Field.REASON)
    bench.expect(len(reason) > 3, "the screen says why", reason or "nothing")
    bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-50",
    group="refusals",
    title="Shows a hard limit's refusal and its reason",
    purpose="Who is not told why goes round the limit.",
    stimulus="The operator enters 1.000 ml/day, 2000 µg/day at this concentration: far beyond the pump's limit.",
    expected="The word for not applied, with a reason; the pump is unchanged.",
    sources=(trust("5.7"), domain("3.1"), itp("9 (Reasons)")),
    claims=_CHANGE,
)
async def _p50_hard_limit(bench: Bench) -> None:
    before = bench.status
    answer = await bench.change("1.000 ml/day")
    if answer.kind.value != "refused":  # else the equipment has its own limit, and said so
        await bench.confirm()
        await _refused(bench, before)
    bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-51",
    group="refusals",
    title="Shows a soft limit's warning",
    purpose="A warning that is not seen is no warning.",
    stimulus="The operator enters 0.300 ml/day, which the pump warns of: the dose rises by more than its soft limit.",
    expected="The review shows a warning; nothing is committed.",
    sources=(trust("5.8 (soft limit)"), trust("5.7")),
    claims=(*_CHANGE, "soft_limits"),
)
async def _p51_soft_limit_shown(bench: Bench) -> None:
    before = bench.status
    await bench.change(_SOFT)
    text = await bench.show(Field.WARNINGS)
    bench.expect(bool(text), "a warning stands in the review", text or "nothing")
    bench.expect_no_commit("before the warning is accepted")
    await bench.act(ActKind.CANCEL)
    bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-52",
    group="refusals",
    title="Does not accept a warning by itself",
    purpose="A confirmation out of habit is not an acceptance.",
    stimulus="The operator enters 0.300 ml/day and confirms without having accepted the warning.",
    expected="No COMMIT that accepts the warning is sent; the pump is unchanged.",
    sources=(trust("5.2 (warnings accepted by bit)"), trust("5.7"), domain("5.2 (work-around of limits)")),
    claims=(*_CHANGE, "soft_limits"),
)
async def _p52_soft_limit_not_taken(bench: Bench) -> None:
    before = bench.status
    await bench.change(_SOFT)
    await bench.confirm()
    bench.expect_no_commit("without an acceptance")
    bench.expect_unchanged(before)


@PROGRAMMER.step(
    "P-53",
    group="refusals",
    title="Commits what was explicitly accepted",
    purpose="A soft limit is there to be passed on purpose.",
    stimulus="The operator enters 0.300 ml/day, accepts the warning, reviews, and confirms.",
    expected="Applied once; the pump delivers 0.300 ml/day.",
    sources=(trust("5.8 (soft limit)"), trust("5.2")),
    claims=(*_CHANGE, "soft_limits"),
)
async def _p53_soft_limit_accepted(bench: Bench) -> None:
    await bench.change(_SOFT)
    await bench.act(ActKind.ACCEPT)
    bench.expect_no_commit("before the confirmation")
    await bench.confirm()
    bench.expect_applied(1, OperationKind.PROGRAM)
    result = await bench.result()
    bench.expect(result == APPLIED, "the word for applied", result or "nothing")


@PROGRAMMER.step(
    "P-54",
    group="refusals",
    title="Shows that the pump takes no change",
    purpose="A pump with a stored error goes on delivering and refuses every update; taken for success, that is "
    "a month.",
    stimulus="The pump holds a stored error code and refuses every change; the operator enters 0.190 ml/day and "
    "confirms.",
    expected="The word for not applied, with a reason; the pump is unchanged.",
    sources=(domain("4 F14"), trust("5.12 (fault reply taken for a missing one)")),
    claims=_CHANGE,
)
async def _p54_blocked_update(bench: Bench) -> None:
    bench.pump.inject("update_blocked")
    before = bench.status
    await bench.change("0.190 ml/day")
    await bench.confirm()
    await _refused(bench, before)


@PROGRAMMER.step(
    "P-55",
    group="refusals",
    title="Honours the role that the pump gives it",
    purpose="The role belongs to the pump; a programmer that takes it for a technical error tries again.",
    stimulus="The pump grants no more than an observer may; the operator enters 0.190 ml/day and confirms.",
    expected="The word for not applied, with a reason; the pump is unchanged; it can still be read.",
    sources=(trust("4.9"), itp("10")),
    claims=_CHANGE,
)
async def _p55_role_refused(bench: Bench) -> None:
    bench.bedside.treat_as(Role.OBSERVER)
    before = bench.status
    answer = await bench.change("0.190 ml/day")
    if answer.kind.value != "refused":
        await bench.confirm()
        await _refused(bench, before)
    bench.expect_unchanged(before)
    await bench.interrogate()
    dose = await bench.show(Field.DOSE)
    bench.expect(bool(dose), "the pump can still be read", dose or "nothing")


@PROGRAMMER.step(
    "P-56",
    group="refusals",
    title="Shows that a patient's bolus of baclofen is refused",
    purpose="Baclofen has no patient bolus; a button that seems to work is pressed again.",
    stimulus="The operator asks for the patient's own bolus at a pump with baclofen.",
    expected="The word for not applied, with a reason; no bolus in the ledger.",
    sources=(domain("2.8"), domain("0 (10)"), trust("4.9")),
    claims=("read", "patient_bolus"),
)
async def _p56_patient_bolus_refused(bench: Bench) -> None:
    await bench.interrogate()
    before = bench.status
    await bench.act(ActKind.PATIENT_BOLUS)
    await _refused(bench, before)
    bench.expect_applied(0, OperationKind.PATIENT_BOLUS)
