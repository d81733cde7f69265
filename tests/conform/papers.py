"""Runs made by hand, for the tests of what is printed of them."""

from __future__ import annotations

from telemetry.conform.results import (
    Cited,
    Deviation,
    Equipment,
    Evidence,
    EvidenceKind,
    Finding,
    FrameSeen,
    Measurement,
    Run,
    StepResult,
    Subject,
    Verdict,
)


def step(number: int, verdict: Verdict, *, group: str = "reading", **changes: object) -> StepResult:
    """A step as a run leaves it; a failed one has a finding, a passed one evidence and a measurement."""
    tried = verdict in {Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE}
    fields: dict[str, object] = {
        "number": f"P-{number:02d}",
        "group": group,
        "title": f"Shows thing number {number} with its unit",
        "purpose": "A number without a unit is read in the reader's own unit.",
        "stimulus": "The pump is interrogated; it delivers 340 µg/day.",
        "expected": "340 µg/day stands on the screen.",
        "sources": [Cited(document="domain.md", section="2.2"), Cited(document="IEC 60601-1-8", section="6.3")],
        "claims": ["read"] if verdict is not Verdict.NOT_CLAIMED else ["read", "refill"],
        "verdict": verdict,
        "observed": "340 µg/day" if tried else "",
        "reason": "" if verdict in {Verdict.PASS, Verdict.FAIL} else "the operator has no such control",
        "started_ms": number * 1_000,
        "ended_ms": number * 1_000 + (400 if tried else 0),
    }
    if tried:
        fields["evidence"] = [
            Evidence(at_ms=number * 1_000 + 10, kind=EvidenceKind.ACT, what="interrogate", found="done"),
            Evidence(at_ms=number * 1_000 + 20, kind=EvidenceKind.SHOWN, what="dose", found="340 µg/day"),
        ]
        fields["measurements"] = [Measurement(name="alarm shown after", unit="ms", values=[120, 180], limit=5_000)]
    if verdict is Verdict.FAIL:
        fields["findings"] = [Finding(at_ms=number * 1_000 + 300, expected="340 µg/day", observed="340 mg/day <b>")]
        fields["measurements"] = [Measurement(name="gives up after", unit="ms", values=[31_000], limit=30_000)]
        fields["frames"] = [
            FrameSeen(at_ms=number * 1_000 + 5, direction="to_pump", message="ReadStatus", size=40),
            FrameSeen(
                at_ms=number * 1_000 + 9,
                direction="from_pump",
                message="Status",
                size=120,
                fields={"rate_nl_per_day": "170000", "mode": "simple_continuous"},
                fate="dropped",
            ),
        ]
    return StepResult(**{**fields, **changes})  # type: ignore[arg-type]


def run(*steps: StepResult, **changes: object) -> Run:
    """A run of a programmer with these steps, or with one of each verdict in three groups."""
    shown = steps or (
        step(1, Verdict.PASS),
        step(2, Verdict.PASS, group="changing"),
        step(3, Verdict.FAIL, group="changing"),
        step(4, Verdict.INCONCLUSIVE, group="changing"),
        step(5, Verdict.BLOCKED, group="alarms"),
        step(6, Verdict.NOT_CLAIMED, group="alarms"),
    )
    fields: dict[str, object] = {
        "simulated": True,
        "subject": Subject.PROGRAMMER,
        "title": "acceptance of tablet 4711",
        "tool_version": "itb-telemetry 0.1.0",
        "python": "3.11.7",
        "platform": "Linux",
        "seed": 42,
        "command": "telemetry conform --listen tcp://127.0.0.1:7410 --seed 42",
        "started_utc_ms": 1_790_000_000_000,
        "ended_utc_ms": 1_790_000_300_000,
        "link": "tcp://127.0.0.1:7410",
        "equipment": [
            Equipment(role="under_test", name="Tablet A", maker="Maker & Co", model="T1", version="2.3", serial="4711"),
            Equipment(
                role="test_equipment", name="itb-telemetry", version="0.1.0", simulated=True, note="virtual pump"
            ),
        ],
        "claims": ["read", "change"],
        "limits": {"poll_interval_ms": 5_000, "give_up_ms": 30_000},
        "fields": {"dose": "Tagesdosis"},
        "steps": list(shown),
        "deviations": [Deviation(step="P-02", text="done with the second tablet; the first was charging")],
    }
    return Run(**{**fields, **changes})  # type: ignore[arg-type]
