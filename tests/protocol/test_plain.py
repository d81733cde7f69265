"""Messages as plain values for JSON, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.model import RefusalReason
from telemetry.protocol.messages import ReadLog, Refusal
from telemetry.protocol.plain import describe, restore, restore_record
from telemetry.protocol.wire import MESSAGES
from telemetry.protocol.wire import Status as StatusCode
from tests.protocol import strategies

if TYPE_CHECKING:
    from telemetry.protocol.messages import Message
    from telemetry.protocol.records import RecordName


@given(strategies.message())
def test_a_message_survives_json(message: Message) -> None:
    assert restore(json.loads(json.dumps(describe(message), allow_nan=False))) == message


@given(st.sampled_from(sorted(strategies.RECORD_FIELDS)).flatmap(lambda n: st.tuples(st.just(n), strategies.record(n))))
def test_a_record_survives_json(pair: tuple[str, object]) -> None:
    name, record = pair
    assert restore_record(cast("RecordName", name), json.loads(json.dumps(describe(record)))) == record


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(strategies.message(), st.data())
def test_one_value_changed_is_a_message_or_a_usage_error(message: Message, data: st.DataObject) -> None:
    plain = describe(message)
    plain[data.draw(st.sampled_from(sorted(plain)))] = data.draw(ANY)
    try:
        found = restore(plain)
    except UsageError:
        return
    assert type(found).__name__ in {spec.name for spec in MESSAGES}


@given(st.dictionaries(st.sampled_from(["name", "part", "tag"]) | st.text(max_size=5), ANY | st.just("ReadProgram")))
def test_any_object_is_a_message_or_a_usage_error(plain: dict[str, object]) -> None:
    try:
        found = restore(plain)
    except UsageError:
        return
    assert type(found).__name__ in {spec.name for spec in MESSAGES}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "ReadLgo"}, "'ReadLgo' is no name of ITP/1"),
        ({"from_sequence": -1}, "from_sequence"),
        ({"from_sequence": True}, "True of type bool, not int"),
        ({"from_sequence": "7"}, "not int"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        restore(describe(ReadLog(from_sequence=1, max_records=1)) | changed)


def test_a_missing_field_is_named() -> None:
    plain = describe(ReadLog(from_sequence=1, max_records=1))
    del plain["max_records"]
    with pytest.raises(UsageError, match="ReadLog: max_records is missing"):
        restore(plain)


def test_a_code_of_another_table_is_refused() -> None:
    plain = describe(Refusal(StatusCode.ROLE, 1, RefusalReason.ROLE_FORBIDS, 0, 0, ()))
    with pytest.raises(UsageError, match=r"Refusal.reason: 'flex' is no name of its table"):
        restore(plain | {"reason": "flex"})
