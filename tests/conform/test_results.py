"""The file of a run: read back strictly, by a published schema, whatever is in it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from telemetry.conform.manifest import published_schema as manifest_schema
from telemetry.conform.manifest import schema_text as manifest_schema_text
from telemetry.conform.results import (
    Measurement,
    Run,
    Verdict,
    parse_run,
    published_schema,
    read_run,
    schema_text,
)
from telemetry.errors import UsageError

FIXTURES = Path(__file__).parents[2] / "fixtures" / "schemas"
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
COUNT = st.integers(-(2**40), 2**40)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    step = {
        "number": "P-01",
        **{name: draw(TEXT) for name in ("group", "title", "purpose", "stimulus", "expected", "observed", "reason")},
        "sources": [{"document": draw(TEXT), "section": draw(TEXT)}],
        "claims": draw(st.lists(TEXT, max_size=2)),
        "verdict": draw(st.sampled_from([one.value for one in Verdict])),
        "started_ms": 5,
        "ended_ms": draw(st.integers(5, 10**9)),
        "evidence": draw(
            st.lists(st.fixed_dictionaries({"at_ms": COUNT, "kind": st.just("note"), "what": TEXT}), max_size=3)
        ),
        "measurements": draw(
            st.lists(
                st.fixed_dictionaries(
                    {"name": TEXT, "unit": TEXT, "values": st.lists(COUNT, max_size=4), "limit": st.none() | COUNT}
                ),
                max_size=2,
            )
        ),
        "frames": draw(
            st.lists(
                st.fixed_dictionaries(
                    {
                        "at_ms": COUNT,
                        "direction": TEXT,
                        "message": TEXT,
                        "size": COUNT,
                        "fields": st.dictionaries(TEXT, TEXT, max_size=3),
                    }
                ),
                max_size=3,
            )
        ),
    }
    if step["verdict"] == "fail":
        step["findings"] = [{"at_ms": draw(COUNT), "expected": draw(TEXT), "observed": draw(TEXT)}]
    plain = {
        **{name: draw(TEXT) for name in ("title", "tool_version", "python", "platform", "command", "link", "manifest")},
        "simulated": draw(st.booleans()),
        "subject": draw(st.sampled_from(["programmer", "device", "subscriber"])),
        "seed": draw(COUNT),
        "started_utc_ms": draw(COUNT),
        "ended_utc_ms": draw(COUNT),
        "equipment": draw(st.lists(st.fixed_dictionaries({"role": TEXT, "name": TEXT}), max_size=2)),
        "claims": draw(st.lists(TEXT, max_size=2)),
        "limits": draw(st.dictionaries(TEXT, COUNT, max_size=2)),
        "fields": draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        "steps": [step],
        "deviations": draw(st.lists(st.fixed_dictionaries({"step": TEXT, "text": TEXT}), max_size=2)),
    }
    return msgspec.convert(plain, Run)


@given(runs())
def test_a_run_comes_back_as_it_was_and_fits_the_published_schema(run: Run) -> None:
    assert parse_run(run.to_json()) == run
    Draft202012Validator(json.loads(schema_text())).validate(json.loads(run.to_json()))


@given(runs(), st.sampled_from(["started_utc_ms", "python", "seed", "title"]))
def test_the_digest_leaves_out_when_and_where(run: Run, name: str) -> None:
    value = getattr(run, name)
    changed = msgspec.structs.replace(run, **{name: value + 1 if isinstance(value, int) else value + "!"})
    assert (changed.digest() == run.digest()) == (name in {"started_utc_ms", "python"})


@given(st.binary(max_size=300))
def test_bytes_that_are_no_run_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(UsageError, match="run"):
        parse_run(data)


def base() -> dict[str, object]:
    step = {
        **dict.fromkeys(("group", "title", "purpose", "stimulus", "expected"), "x"),
        "number": "P-01",
        "sources": [],
        "claims": [],
        "verdict": "pass",
    }
    texts = ("title", "tool_version", "python", "platform", "command", "link")
    return {
        "format": "itb-conformance-run",
        "version": 1,
        **dict.fromkeys(texts, "x"),
        "simulated": True,
        "subject": "programmer",
        **dict.fromkeys(("seed", "started_utc_ms", "ended_utc_ms"), 0),
        **{name: [] for name in ("equipment", "claims", "deviations")},
        "limits": {},
        "fields": {},
        "steps": [step],
    }


def changed(**said: object) -> bytes:
    made = base()
    steps = made["steps"]
    assert isinstance(steps, list)
    for name, value in said.items():
        if name.startswith("step_"):
            steps[0][name[5:]] = value
        else:
            made[name] = value
    return json.dumps(made).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(format="itb-run"), "no conformance run"),
        (changed(version=2), "version 2; this program reads version 1"),
        (changed(nonsense=1), "nonsense"),
        (changed(seed="7"), "seed"),
        (changed(step_verdict="passed"), "passed"),
        (changed(step_verdict="fail"), "P-01: verdict fail with 0 findings"),
        (changed(step_findings=[{"at_ms": 0, "expected": "a", "observed": "b"}]), "verdict pass with 1 findings"),
        (changed(step_ended_ms=-1), "ends at -1 ms, before 0 ms"),
        (b"[" * 100_000, "no conformance run"),
    ],
)
def test_what_is_wrong_in_a_run_is_named(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_run(data)


def test_a_step_that_stands_there_twice_is_named() -> None:
    made = base()
    steps = made["steps"]
    assert isinstance(steps, list)
    made["steps"] = steps * 2
    with pytest.raises(UsageError, match="P-01 stands in it twice"):
        parse_run(json.dumps(made).encode())


def test_files_are_written_and_read_or_refused_by_name(tmp_path: Path) -> None:
    run = parse_run(changed())
    run.write(tmp_path / "a.conform.json")
    assert read_run(tmp_path / "a.conform.json") == run
    with pytest.raises(UsageError, match=r"none\.json: cannot be read"):
        read_run(tmp_path / "none.json")
    with pytest.raises(UsageError, match="cannot be written"):
        run.write(tmp_path / "no" / "folder.json")


@pytest.mark.parametrize(
    ("values", "limit", "at_most", "held"),
    [
        ([1, 2], 2, True, True),
        ([1, 3], 2, True, False),
        ([3], 2, False, True),
        ([1], 2, False, False),
        ([9], None, True, True),
    ],
)
def test_a_measurement_holds_its_limit(values: list[int], limit: int | None, at_most: bool, held: bool) -> None:
    assert Measurement(name="n", unit="ms", values=values, limit=limit, at_most=at_most).held is held


def test_the_published_schemas_are_those_of_the_code() -> None:
    assert published_schema() == schema_text() == (FIXTURES / "conform-run.schema.json").read_text(encoding="utf-8")
    manifest = (FIXTURES / "conform-manifest.schema.json").read_text(encoding="utf-8")
    assert manifest_schema() == manifest_schema_text() == manifest
    for text in (schema_text(), manifest_schema_text()):
        Draft202012Validator.check_schema(json.loads(text))


def test_a_run_passes_only_with_a_pass_and_nothing_open() -> None:
    for verdict, passed in (("pass", True), ("not_claimed", False), ("inconclusive", False), ("blocked", False)):
        assert parse_run(changed(step_verdict=verdict)).passed is passed
