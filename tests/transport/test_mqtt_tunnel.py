"""The tunnel's messages and its book: any bytes are read, nothing is delivered twice, out of order or past a gap."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.transport.mqtt_tunnel import (
    HALF_BYTES,
    HEAD_BYTES,
    MOST_PAYLOAD_BYTES,
    WINDOW,
    Arrival,
    Book,
    Fault,
    Kind,
    Message,
    decode,
)

HALVES = st.binary(min_size=HALF_BYTES, max_size=HALF_BYTES)
COUNTS = st.integers(0, (1 << 64) - 1)
PAYLOADS = {Kind.OPEN: 2, Kind.ACCEPT: 8, Kind.REFUSE: 1, Kind.ALIVE: 0, Kind.CLOSE: 0, Kind.GONE: 0}


@st.composite
def some_message(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(Kind))
    size = PAYLOADS.get(kind)
    payload = st.binary(min_size=1, max_size=300) if size is None else st.binary(min_size=size, max_size=size)
    return Message(kind, draw(HALVES), draw(HALVES), draw(COUNTS), draw(COUNTS), draw(payload))


@given(some_message())
def test_every_message_is_read_as_it_was_written(message: Message) -> None:
    assert decode(message.encode()) == message


ALMOST = st.builds(
    lambda kind, rest: b"IT\x01" + kind + rest, st.binary(max_size=2), st.binary(min_size=30, max_size=60)
)


@given(st.one_of(st.binary(max_size=80), ALMOST))
def test_any_bytes_are_a_message_or_a_fault(data: bytes) -> None:
    found = decode(data)
    assert isinstance(found, Fault) or found.encode() == data


def test_the_head_is_as_documented() -> None:
    message = Message(Kind.DATA, b"CLIENT..", b"DEVICE..", 0x0102, 0x03, b"payload")
    assert message.encode() == b"IT\x01\x04CLIENT..DEVICE.." + bytes([0] * 6 + [1, 2] + [0] * 7 + [3]) + b"payload"
    assert HEAD_BYTES == 36


@pytest.mark.parametrize(
    ("spoilt", "fault"),
    [
        (b"", Fault.LENGTH),
        (bytes(HEAD_BYTES - 1), Fault.LENGTH),
        (Message(Kind.DATA, b"CLIENT..", payload=bytes(MOST_PAYLOAD_BYTES + 1)).encode(), Fault.LENGTH),
        (b"XX" + Message(Kind.ALIVE, b"CLIENT..").encode()[2:], Fault.NOT_OURS),
        (b"IT\x02" + Message(Kind.ALIVE, b"CLIENT..").encode()[3:], Fault.VERSION),
        (b"IT\x01\x08" + Message(Kind.ALIVE, b"CLIENT..").encode()[4:], Fault.KIND),
        (b"IT\x01\x00" + Message(Kind.ALIVE, b"CLIENT..").encode()[4:], Fault.KIND),
        (Message(Kind.DATA, b"CLIENT..").encode(), Fault.PAYLOAD),
        (Message(Kind.CLOSE, b"CLIENT..", payload=b"x").encode(), Fault.PAYLOAD),
        (Message(Kind.OPEN, b"CLIENT..", payload=b"x").encode(), Fault.PAYLOAD),
    ],
)
def test_what_is_no_message_is_named(spoilt: bytes, fault: Fault) -> None:
    assert decode(spoilt) is fault


@given(st.lists(st.binary(min_size=1, max_size=9_000), max_size=12), st.integers(0, 1 << 32))
def test_a_stream_arrives_whole_through_a_broker_that_repeats(parts: list[bytes], seed: int) -> None:
    draw, sender, receiver, got = Random(seed), Book(), Book(), bytearray()
    on_its_way: list[tuple[int, bytes]] = []
    for part in parts:
        sender.write(part)
    while sender.unsent_bytes or on_its_way:
        for sequence, payload in sender.due():
            assert 1 <= len(payload) <= MOST_PAYLOAD_BYTES
            on_its_way += [(sequence, payload)] * draw.choice((1, 1, 2))
        assert sender.sent - sender.acknowledged <= WINDOW
        sequence, payload = on_its_way.pop(0)
        if receiver.arrived(sequence) is Arrival.NEXT:
            got += payload
        if receiver.owes_word or not on_its_way:
            assert sender.heard(receiver.tell())
    assert bytes(got) == b"".join(parts)


@given(st.lists(st.integers(0, 20), max_size=40))
def test_nothing_is_taken_that_is_not_the_next(sequences: list[int]) -> None:
    book, taken = Book(), list[int]()
    for sequence in sequences:
        verdict = book.arrived(sequence)
        assert verdict is (
            Arrival.NEXT if sequence == len(taken) else Arrival.AGAIN if sequence < len(taken) else Arrival.AHEAD
        )
        if verdict is Arrival.NEXT:
            taken.append(sequence)
    assert taken == list(range(len(taken)))


def test_the_window_holds_what_is_not_acknowledged() -> None:
    book = Book()
    book.write(bytes((WINDOW + 3) * MOST_PAYLOAD_BYTES))
    assert [sequence for sequence, _ in book.due()] == list(range(WINDOW))
    assert list(book.due()) == []
    assert not book.heard(WINDOW + 1), "more than was sent"
    assert book.heard(2)
    assert book.heard(1), "an older word is none against it"
    assert [sequence for sequence, _ in book.due()] == [WINDOW, WINDOW + 1]
    assert book.unsent_bytes == MOST_PAYLOAD_BYTES
