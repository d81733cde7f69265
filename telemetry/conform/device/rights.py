"""Steps D-40 to D-45: every request in every role, held against the table of protocol.md 10."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telemetry.conform.device.bench import told
from telemetry.conform.device.catalogue import CATALOGUE, itp, trust
from telemetry.model import AlarmKind, Drug, OperationKind, RefusalReason, Role, StopReason
from telemetry.protocol import messages as wire
from telemetry.protocol.roles import STAGED, allows
from telemetry.protocol.wire import BY_NAME, IMAGE_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telemetry.conform.device.bench import Bench
    from telemetry.conform.device.session import RawSession
    from telemetry.protocol.messages import Message

GROUP = "roles"
_DIGEST8, _DIGEST16, _DIGEST32 = bytes(8), bytes(16), bytes(32)


def _requests(session: RawSession) -> list[Message]:
    """Every request but Close; none of them can change a therapy, whoever sends it.

    What would stage names a program that never was, what would commit has no proposal before it, what acknowledges
    names an alarm that is not there or changes nothing. ``Stop`` is the one that is sent only where it is forbidden.
    """
    op_id = session.new_op_id()
    base = {"op_id": op_id, "acked_through": 0, "base_sequence": 0xFFFF_FFFF, "base_digest": _DIGEST8}
    made: list[Message] = [
        wire.ReadIdentity(),
        wire.ReadStatus(),
        wire.ReadProgram(part=0),
        wire.ReadAlarms(),
        wire.ReadLog(from_sequence=0, max_records=1),
        wire.ReadLimits(),
        wire.ReadLedger(),
        wire.ReadDelivery(),
        wire.ReadAlarmSettings(),
        wire.SetRate(
            **base,  # type: ignore[arg-type]
            drug=Drug.BACLOFEN,
            concentration_ng_per_ml=1,
            reservoir_generation=0,
            rate_nl_per_day=1,
            dose_ng_per_day=1,
        ),
        wire.Write(offset=0, data=b"\0"),
        wire.Verify(part=0),
        wire.Commit(op_id=op_id, token=_DIGEST16, image_digest=_DIGEST32, accepted_warnings=()),
        wire.Query(op_id=op_id),
        wire.Abort(op_id=op_id),
        wire.SilenceAlarms(duration_s=1),
        wire.AcknowledgeAlarm(kind=AlarmKind.MEMORY_WARNING),
    ]
    made += [
        wire.Begin(**base, kind=kind, schema=IMAGE_SCHEMA, total_length=1, image_digest=_DIGEST32)  # type: ignore[arg-type]
        for kind in OperationKind
    ]
    return made


def _operation(message: Message) -> tuple[str, ...]:
    """The rows of the table that must all allow a request."""
    rows = [BY_NAME[type(message).__name__].operation]
    if isinstance(message, wire.Begin) and message.kind in STAGED:
        rows.append(STAGED[message.kind])
    return tuple(rows)


async def _held_to_the_table(bench: Bench, role: Role) -> None:
    session = await bench.session(role=role)
    record = bench.record
    before = await bench.ask(session, wire.ReadStatus(), wire.Status)
    requests = _requests(session)
    if not allows(role, "stop"):
        requests.append(wire.Stop(op_id=session.new_op_id(), acked_through=0, reason=StopReason.BENCH))
    allowed = refused = 0
    for message in requests:
        answer = await session.ask(message)
        told_no = isinstance(answer, wire.Refusal) and answer.reason is RefusalReason.ROLE_FORBIDS
        what = type(message).__name__ + (f" ({message.kind.value})" if isinstance(message, wire.Begin) else "")
        if not all(allows(role, row) for row in _operation(message)):
            refused += 1
            bench.expect_refusal(answer, RefusalReason.ROLE_FORBIDS, f"{what} as {role.value}")
        else:
            allowed += 1
            if told_no or answer is None:
                record.expect(held=False, expected=f"{what} served as {role.value}", observed=told(answer))
    await _patient_bolus(bench, session, role)
    after = await bench.ask(session, wire.ReadStatus(), wire.Status)
    same = (before.program_sequence, before.program_digest, before.mode, before.rate_nl_per_day) == (
        after.program_sequence,
        after.program_digest,
        after.mode,
        after.rate_nl_per_day,
    )
    record.expect(same, "the therapy as it was", f"program {after.program_sequence}, {after.mode.value}")
    answer = await session.ask(wire.Close())
    record.expect(isinstance(answer, wire.Closed), "Closed to Close", told(answer))
    record.conclude(f"{role.value}: {allowed} requests served, {refused} refused by role")


async def _patient_bolus(bench: Bench, session: RawSession, role: Role) -> None:
    """Forbidden to everybody where the drug forbids it; else to every role but the patient, who is not asked here."""
    if not allows(role, "read_program"):
        forbidden = None
    else:
        limits = await bench.ask(session, wire.ReadLimits(), wire.Limits)
        forbidden = not limits.patient_bolus_allowed
    if forbidden is None or (role is Role.PATIENT and not forbidden):
        return
    message = wire.PatientBolus(op_id=session.new_op_id(), acked_through=0)
    reason = RefusalReason.PATIENT_BOLUS_FORBIDDEN if forbidden else RefusalReason.ROLE_FORBIDS
    bench.expect_refusal(await session.ask(message), reason, f"PatientBolus as {role.value}")


def _declare(number: int, role: Role) -> None:
    async def act(bench: Bench) -> None:
        await _held_to_the_table(bench, role)

    declare: Callable[[Callable[[Bench], Awaitable[None]]], object] = CATALOGUE.step(
        f"D-{number}",
        group=GROUP,
        title=f"The role {role.value} gets what the table gives it, and no more",
        purpose="Default deny: a right that nobody wrote down is a right that somebody will find.",
        stimulus=f"Every request, and Begin of every kind, in a session as {role.value}; none can change anything.",
        expected="What the table allows is served; all else is refused by role; the therapy is as it was.",
        sources=(itp("10"), trust("4.9")),
        claims=("itp/1", "roles"),
    )
    declare(act)


for _offset, _role in enumerate(Role):
    _declare(40 + _offset, _role)
