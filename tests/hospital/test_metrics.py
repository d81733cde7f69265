"""The table of metrics: exact values, units from one fixed table, every handle once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry import VirtualPump
from telemetry.hospital import codes
from telemetry.hospital.metrics import BY_HANDLE, METRICS, exact, ml, ug
from tests.hospital.looks import look

# UCUM 2.1, case-sensitive codes, of every unit that may leave; the numbers are those of the messages that domain.md 5.7
# quotes, and of the units' pages of 11073-20601 implementations (percent 0x0220, none 0x0200, of partition 4).
UCUM = {"mL/d", "ug/d", "mg/mL", "mL", "ug", "d", "%", "[ppm]", "{count}", "1"}
MDC_UNITS = {"mL": 263762, "mg/mL": 264306, "%": 4 * 65536 + 0x0220, "1": 4 * 65536 + 0x0200}


@given(st.integers(0, 2**63), st.sampled_from([0, 3, 6]))
def test_a_number_is_exact_and_written_out(count: int, decimals: int) -> None:
    found = exact(count, decimals)
    assert found * 10**decimals == count
    assert "E" not in str(found)
    assert not ("." in str(found) and str(found).endswith("0"))


def test_units_are_of_the_fixed_table() -> None:
    assert {unit.ucum for unit in codes.UNITS} == UCUM
    assert {unit.ucum: unit.mdc for unit in codes.UNITS if unit.mdc} == MDC_UNITS
    assert all(metric.unit in codes.UNITS for metric in METRICS)
    assert len(BY_HANDLE) == len(METRICS)


def test_only_sure_codes_of_the_standard_are_used() -> None:
    sure = {157784, 157760, 157872, 157924, 184504, 184508, 184330, 67996}
    assert {metric.term.mdc for metric in METRICS if metric.term.mdc} == sure
    assert BY_HANDLE["reservoir-volume"].term.nearest


@pytest.mark.virtual
async def test_values_are_those_of_the_status() -> None:
    seen = await look(VirtualPump(seed=3))
    found = {metric.handle: metric.read(seen) for metric in METRICS}
    assert found["flow-rate"] == ml(seen.status.rate_nl_per_day) == Decimal("0.17")
    assert found["dose-rate"] == ug(seen.status.dose_ng_per_day) == 340
    assert found["concentration"] == 2
    assert found["reservoir-volume"] == 40
    assert found["drug"] == "baclofen"
    assert found["mode"] == "simple_continuous"
    assert found["delivery-status"] == "infusing"
