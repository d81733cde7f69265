"""The role table against trust.md 4.9, written out again here."""

from __future__ import annotations

import pytest

from telemetry.model import OperationKind, Role
from telemetry.protocol.orders import KINDS
from telemetry.protocol.roles import OPERATIONS, STAGED, allows
from telemetry.protocol.wire import MESSAGES, Plane

# Observer, patient, clinician, service, commission, emergency.
TABLE = {
    "read_status": "xxxxxx",
    "read_program": "x.x..x",
    "read_history": "x.x..x",
    "export_log": "..xxxx",
    "patient_bolus": ".x....",
    "silence": ".xx..x",
    "acknowledge": "..x...",
    "program": "..x...",
    "therapy_limits": "..x...",
    "stop": "..x..x",
    "set_clock": "..x...",
    "alarm_settings": "..x...",
    "diagnostics": "...x..",
    "rotate_own": "..x...",
    "enrol": "....x.",
    "own_operation": "xxxxxx",
    "device_limits": "......",
}
CELLS = [
    (role, operation, mark == "x") for operation, marks in TABLE.items() for role, mark in zip(Role, marks, strict=True)
]


@pytest.mark.inv(13)
@pytest.mark.parametrize(("role", "operation", "allowed"), CELLS, ids=[f"{role}-{name}" for role, name, _ in CELLS])
def test_inv_13_roles_may_what_the_table_says(role: Role, operation: str, allowed: bool) -> None:
    assert allows(role, operation) is allowed


def test_the_table_is_complete() -> None:
    assert set(OPERATIONS) == set(TABLE)
    assert {row.name for row in OPERATIONS.values() if row.commit} == {
        "program",
        "therapy_limits",
        "set_clock",
        "alarm_settings",
        "enrol",
    }


def test_what_is_staged_has_a_row_that_asks_for_the_commit_flow() -> None:
    """Every kind of operation is either staged under a row of its own or takes effect in one step."""
    one_step = {OperationKind.STOP, OperationKind.PATIENT_BOLUS}
    assert set(STAGED) == set(OperationKind) - one_step
    assert all(OPERATIONS[row].commit for row in STAGED.values())
    assert set(KINDS.values()) == set(STAGED) - {OperationKind.RESUME}


@pytest.mark.parametrize("role", Role)
def test_what_has_no_row_is_allowed_to_nobody(role: Role) -> None:
    assert not allows(role, "")
    assert not allows(role, "raise_dose")


def test_every_request_has_a_row_and_nothing_else_has() -> None:
    for spec in MESSAGES:
        if spec.plane is Plane.REQUEST:
            assert spec.operation in OPERATIONS, spec.name
        else:
            assert spec.operation == "", spec.name


def test_emergency_reads_everything_and_raises_nothing() -> None:
    may = {name for name in OPERATIONS if allows(Role.EMERGENCY, name)}
    assert may == {"read_status", "read_program", "read_history", "export_log", "silence", "stop", "own_operation"}
