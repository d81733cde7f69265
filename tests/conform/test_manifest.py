"""The manifest: every mistake told with its place, and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.conform.manifest import Limits, Manifest, parse_manifest, read_manifest
from telemetry.conform.programmer.catalogue import FEATURES, programmer_steps
from telemetry.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
equipment:
  - name: Clinic tablet
    maker: ACME
    model: T-1000
    version: 2.4.1
    serial: "0042"
  - {name: oscilloscope, role: test_equipment}
claims: [read, change, alarms]
left_out:
  P-22: its review has no way back
limits:
  poll_interval_ms: 5000
  alarm_shown_ms: 10000
words:
  applied: [Done, Programmed]
fields:
  dose: Total daily dose
"""


def test_a_manifest_says_what_is_claimed() -> None:
    made = parse_manifest(GOOD, programmer_steps())
    assert [(one.name, one.role, one.serial) for one in made.equipment] == [
        ("Clinic tablet", "under_test", "0042"),
        ("oscilloscope", "test_equipment", ""),
    ]
    assert made.claimed(programmer_steps()) == ("read", "change", "alarms")
    assert made.left_out == {"P-22": "its review has no way back"}
    assert made.limits == Limits(poll_interval_ms=5_000, alarm_shown_ms=10_000)
    assert made.words.applied == ("Done", "Programmed")
    assert made.words.unknown == ("unknown", "uncertain")
    assert made.fields == {"dose": "Total daily dose"}
    assert made.text == GOOD
    assert Manifest().claimed(programmer_steps()) == tuple(FEATURES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"m:1:1: "),
        ("equipment: []\n", r"m:1:12: equipment: .*"),
        ("equipment:\n  - {name: x, seriel: 1}\n", r"m:2:15: equipment\[0\]\.seriel: 'seriel' is unknown.*'serial'"),
        ("equipment: [{name: x}]\nclaims: [red]\n", r"m:2:10: claims\[0\]: 'red' is no feature; did you mean 'read'"),
        ("equipment: [{name: x}]\nleft_out: {P-99: no}\n", r"m:2:12: left_out\.P-99: there is no step 'P-99'"),
        (
            "equipment: [{name: x}]\nlimits: {poll_interval_ms: 0}\n",
            r"m:2:28: limits\.poll_interval_ms: 0 is less than",
        ),
        (
            "equipment: [{name: x}]\nlimits: {poll_interval_ms: 2.5}\n",
            r"m:2:28: limits\.poll_interval_ms: '2\.5' is",
        ),
        ("equipment: [{name: x}]\nwords: {applied: []}\n", r"m:2:18: words\.applied: "),
        ("equipment: [{name: x}]\nfields: {doze: y}\n", r"m:2:10: fields\.doze: 'doze' is unknown here; did you mean"),
        ("equipment: [{name: x, role: test_equipment}]\n", r"m:1:12: equipment: none of it is under test"),
        ("equipment: [{name: x}]\nequipment: [{name: y}]\n", r"m:2:1: equipment: 'equipment' stands here a second"),
        ("- a\n", r"m:1:1: \['a'\] is not of type 'object'"),
        ("a: [", r"m:1:5: this is no YAML"),
        ("equipment: 7\n", r"m:1:12: equipment: 7 is not of type 'array'"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_manifest(text, programmer_steps(), "m")


@given(st.text(max_size=120))
def test_any_text_is_a_manifest_or_is_refused(text: str) -> None:
    try:
        made = parse_manifest(text, programmer_steps())
    except UsageError:
        return
    assert made.equipment


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["equipment", "claims", "limits", "words", "name", "role", "poll_interval_ms", "P-01"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_data_is_a_manifest_or_is_refused(data: object) -> None:
    import json

    try:
        made = parse_manifest(json.dumps(data), programmer_steps())
    except UsageError:
        return
    assert made.equipment


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"equipment: \xff")
    for name, words in (("latin.yaml", "no text in UTF-8"), ("none.yaml", "cannot be read")):
        with pytest.raises(UsageError, match=f"{name}: .*{words}"):
            read_manifest(tmp_path / name, programmer_steps())
