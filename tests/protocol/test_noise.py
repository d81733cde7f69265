"""Our KKpsk0 against the public vector, two other implementations, and everything it must refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import OutOfTurn, PeerError, SecurityError
from telemetry.protocol.noise import OVERHEAD, Initiator, Responder, TransportKeys
from telemetry.protocol.primitives import Aead, Ephemeral, KeyPair, Secret
from tests.protocol.channel_rig import StolenPump
from tests.protocol.test_primitives import LOW_ORDER

h = bytes.fromhex
VECTORS = json.loads((Path(__file__).parents[2] / "fixtures/vectors/noise.json").read_text(encoding="utf-8"))["vectors"]
ALICE, BOB = Secret(b"\x0a" * 32), Secret(b"\x0b" * 32)
PSK = Secret(b"\x0c" * 32)


def ends(  # the two ends of one handshake, each part alterable
    *,
    prologue: tuple[bytes, bytes] = (b"p", b"p"),
    psk: tuple[Secret, Secret] = (PSK, PSK),
    believed_responder: bytes | None = None,
    believed_initiator: bytes | None = None,
) -> tuple[Initiator, Responder]:
    alice, bob = KeyPair(ALICE), KeyPair(BOB)
    ephemeral = Ephemeral(Secret(b"\x0e" * 32))
    return (
        Initiator(prologue[0], alice, believed_responder or bob.public, psk[0], ephemeral),
        Responder(prologue[1], bob, believed_initiator or alice.public, psk[1]),
    )


def finished(payload: bytes = b"") -> tuple[TransportKeys, TransportKeys]:
    initiator, responder = ends()
    responder.read(initiator.write(payload))
    message, responders = responder.write(payload, Ephemeral(Secret(b"\x0f" * 32)))
    return initiator.read(message)[1], responders


@pytest.mark.inv(3)
@pytest.mark.parametrize("vector", VECTORS, ids=[vector["protocol_name"] for vector in VECTORS])
def test_inv_03_public_vector(vector: dict[str, object]) -> None:
    v = {key: str(value) for key, value in vector.items()}
    psks = vector["init_psks"]
    assert isinstance(psks, list)
    psk = Secret(h(psks[0]))
    messages = vector["messages"]
    assert isinstance(messages, list)
    texts = [(h(message["payload"]), h(message["ciphertext"])) for message in messages]
    static = KeyPair(Secret(h(v["init_static"])))
    initiator = Initiator(
        h(v["init_prologue"]),
        static,
        h(v["init_remote_static"]),
        psk,
        Ephemeral(Secret(h(v["init_ephemeral"]))),
    )
    responder = Responder(h(v["resp_prologue"]), KeyPair(Secret(h(v["resp_static"]))), h(v["resp_remote_static"]), psk)
    assert initiator.write(texts[0][0]) == texts[0][1]
    assert responder.read(texts[0][1]) == texts[0][0]
    second, responders = responder.write(texts[1][0], Ephemeral(Secret(h(v["resp_ephemeral"]))))
    assert second == texts[1][1]
    payload, initiators = initiator.read(second)
    assert payload == texts[1][0]
    assert initiators == responders
    assert initiators.handshake_hash == h(v["handshake_hash"])
    ciphers = Aead(initiators.initiator_to_responder), Aead(initiators.responder_to_initiator)
    for index, (payload, sealed) in enumerate(texts[2:]):
        assert ciphers[index % 2].seal(index // 2, payload) == sealed


@pytest.mark.inv(3)
@given(
    payload=st.binary(max_size=80),
    other=st.sampled_from(("same", "prologue", "psk", "responder", "initiator")),
    junk=st.binary(min_size=1, max_size=32),
)
@settings(max_examples=60)
def test_inv_03_same_hash_or_no_session(payload: bytes, other: str, junk: bytes) -> None:
    changed = KeyPair(Secret(junk.ljust(32, b"\x01"))).public
    initiator, responder = ends(
        prologue=(b"p", b"p" + junk if other == "prologue" else b"p"),
        psk=(PSK, Secret(junk.ljust(32, b"\x01")) if other == "psk" else PSK),
        believed_responder=changed if other == "responder" else None,
        believed_initiator=changed if other == "initiator" else None,
    )
    first = initiator.write(payload)
    assert len(first) == len(payload) + OVERHEAD
    if other != "same":
        with pytest.raises(PeerError, match="tag does not fit"):
            responder.read(first)
        return
    assert responder.read(first) == payload
    second, responders = responder.write(payload[::-1], Ephemeral(Secret(junk.ljust(32, b"\x02"))))
    answer, initiators = initiator.read(second)
    assert answer == payload[::-1]
    assert initiators == responders


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_psk_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SecurityError, match=f"{size} bytes"):
        Responder(b"", KeyPair(BOB), KeyPair(ALICE).public, Secret(bytes(size)))


def test_an_all_zero_psk_is_refused() -> None:
    with pytest.raises(SecurityError, match="all zero"):
        Responder(b"", KeyPair(BOB), KeyPair(ALICE).public, Secret(bytes(32)))
    with pytest.raises(SecurityError, match="all zero"):
        Initiator(b"", KeyPair(ALICE), KeyPair(BOB).public, Secret(bytes(32)), Ephemeral(Secret(b"\x0e" * 32)))


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused_on_every_way_in(point: str) -> None:
    initiator, responder = ends()
    first = initiator.write(b"")
    with pytest.raises(PeerError, match="low-order"):
        responder.read(h(point) + first[32:])
    with pytest.raises(PeerError, match="low-order"):
        initiator.read(h(point) + bytes(16))
    towards_low_order, _ = ends(believed_responder=h(point))
    with pytest.raises(PeerError, match="low-order"):
        towards_low_order.write(b"")


@pytest.mark.parametrize("cut", [1, 16, 17, 48])
def test_a_truncated_message_is_refused_and_the_true_one_still_taken(cut: int) -> None:
    initiator, responder = ends()
    first = initiator.write(b"hello")
    with pytest.raises(PeerError):
        responder.read(first[:-cut])
    assert responder.read(first) == b"hello"
    second, keys = responder.write(b"accept", Ephemeral(Secret(b"\x0f" * 32)))
    with pytest.raises(PeerError):
        initiator.read(second[:-cut])
    assert initiator.read(second) == (b"accept", keys)


def test_a_reflected_message_is_refused() -> None:
    initiator, _ = ends()
    first = initiator.write(b"hello")
    with pytest.raises(PeerError, match="tag does not fit"):
        initiator.read(first)


@pytest.mark.inv(11)
def test_inv_11_a_reused_ephemeral_raises() -> None:
    ephemeral = Ephemeral(Secret(b"\x0e" * 32))
    Initiator(b"", KeyPair(ALICE), KeyPair(BOB).public, PSK, ephemeral)
    with pytest.raises(SecurityError, match="already used"):
        Initiator(b"", KeyPair(ALICE), KeyPair(BOB).public, PSK, ephemeral)
    initiator, responder = ends()
    responder.read(initiator.write(b""))
    with pytest.raises(SecurityError, match="already used"):
        responder.write(b"", ephemeral)


def test_swapped_directions_do_not_open() -> None:
    keys, _ = finished()
    there, back = Aead(keys.initiator_to_responder), Aead(keys.responder_to_initiator)
    assert back.open(0, there.seal(0, b"request")) is None
    assert there.open(0, back.seal(0, b"answer")) is None


def test_each_step_is_taken_once_and_in_order() -> None:
    initiator, responder = ends()
    with pytest.raises(OutOfTurn):
        initiator.read(bytes(48))
    with pytest.raises(OutOfTurn):
        responder.write(b"", Ephemeral(Secret(b"\x0f" * 32)))
    first = initiator.write(b"")
    with pytest.raises(OutOfTurn):
        initiator.write(b"")
    responder.read(first)
    with pytest.raises(OutOfTurn):
        responder.read(first)
    second, _ = responder.write(b"", Ephemeral(Secret(b"\x0f" * 32)))
    with pytest.raises(OutOfTurn):
        responder.write(b"", Ephemeral(Secret(b"\x10" * 32)))
    initiator.read(second)
    with pytest.raises(OutOfTurn):
        initiator.read(second)


def test_keys_do_not_show() -> None:
    keys, _ = finished()
    assert keys.initiator_to_responder.reveal().hex() not in repr(keys)
    assert repr(keys.initiator_to_responder.reveal()) not in repr(keys)


@pytest.mark.inv(12)
def test_inv_12_what_the_pump_stores_forges_message_1_and_no_session() -> None:
    alice, bob = KeyPair(ALICE), KeyPair(BOB)
    thief = Initiator(b"p", StolenPump(bob, alice.public), bob.public, PSK, Ephemeral(Secret(b"\x67" * 32)))
    responder = Responder(b"p", bob, alice.public, PSK)
    assert responder.read(thief.write(b"forged")) == b"forged", "which is why nothing may follow from message 1"
    message, _ = responder.write(b"accept", Ephemeral(Secret(b"\x0f" * 32)))
    with pytest.raises(PeerError, match="tag does not fit"):
        thief.read(message)
