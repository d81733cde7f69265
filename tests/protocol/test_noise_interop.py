"""Two independent implementations of Noise, both unmaintained and used here as oracles only, agree with ours."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import pytest
from dissononce.cipher.chachapoly import ChaChaPolyCipher
from dissononce.dh.x25519.keypair import KeyPair as DissononceKeyPair
from dissononce.dh.x25519.private import PrivateKey
from dissononce.dh.x25519.public import PublicKey
from dissononce.dh.x25519.x25519 import X25519DH
from dissononce.hash.sha256 import SHA256Hash
from dissononce.processing.handshakepatterns.interactive.KK import KKHandshakePattern
from dissononce.processing.impl.cipherstate import CipherState
from dissononce.processing.impl.handshakestate import HandshakeState
from dissononce.processing.impl.symmetricstate import SymmetricState
from dissononce.processing.modifiers.psk import PSKPatternModifier
from noise.connection import Keypair, NoiseConnection

from telemetry.protocol.noise import PROTOCOL_NAME, Initiator, Responder
from telemetry.protocol.primitives import Aead, Ephemeral, KeyPair, Secret

RUNS = 200
VECTOR = json.loads((Path(__file__).parents[2] / "fixtures/vectors/noise.json").read_text(encoding="utf-8"))["vectors"][
    0
]


def key(run: int, name: str) -> bytes:
    return hashlib.sha256(f"{run} {name}".encode()).digest()


class Other:
    """The other implementation's end, whichever it is."""

    def write(self, payload: bytes) -> bytes:
        raise NotImplementedError

    def read(self, message: bytes) -> bytes:
        raise NotImplementedError

    def hash(self) -> bytes:
        raise NotImplementedError

    def seal(self, text: bytes) -> bytes:
        raise NotImplementedError

    def open(self, sealed: bytes) -> bytes:
        raise NotImplementedError


class NoiseProtocolEnd(Other):
    def __init__(self, *, initiator: bool, prologue: bytes, static: bytes, remote: bytes, psk: bytes, e: bytes) -> None:
        self.c = NoiseConnection.from_name(PROTOCOL_NAME)
        self.c.set_psks(psk)
        self.c.set_prologue(prologue)
        (self.c.set_as_initiator if initiator else self.c.set_as_responder)()
        self.c.set_keypair_from_private_bytes(Keypair.STATIC, static)
        self.c.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
        self.c.set_keypair_from_private_bytes(Keypair.EPHEMERAL, e)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it warns that the ephemeral is injected, which is the point
            self.c.start_handshake()

    def write(self, payload: bytes) -> bytes:
        return bytes(self.c.write_message(payload))

    def read(self, message: bytes) -> bytes:
        return bytes(self.c.read_message(message))

    def hash(self) -> bytes:
        return bytes(self.c.get_handshake_hash())

    def seal(self, text: bytes) -> bytes:
        return bytes(self.c.encrypt(text))

    def open(self, sealed: bytes) -> bytes:
        return bytes(self.c.decrypt(sealed))


class _FixedDH(X25519DH):  # type: ignore[misc] # the library has no types
    """Gives the ephemeral key that the run prescribes."""

    def __init__(self, private: bytes) -> None:
        super().__init__()
        self._private = private

    def generate_keypair(self, privatekey: object = None) -> object:
        return super().generate_keypair(privatekey or PrivateKey(self._private))


class DissononceEnd(Other):
    def __init__(self, *, initiator: bool, prologue: bytes, static: bytes, remote: bytes, psk: bytes, e: bytes) -> None:
        self.initiator = initiator
        dh = _FixedDH(e)
        self.state = HandshakeState(SymmetricState(CipherState(ChaChaPolyCipher()), SHA256Hash()), dh)
        pattern = PSKPatternModifier(0).modify(KKHandshakePattern())
        pair = KeyPair(Secret(static))
        own = DissononceKeyPair(PublicKey(pair.public), PrivateKey(static))
        self.state.initialize(pattern, initiator, prologue, s=own, rs=PublicKey(remote), psks=[psk])
        self.ciphers: tuple[object, object] | None = None

    def write(self, payload: bytes) -> bytes:
        buffer = bytearray()
        self.ciphers = self.state.write_message(payload, buffer) or self.ciphers
        return bytes(buffer)

    def read(self, message: bytes) -> bytes:
        buffer = bytearray()
        self.ciphers = self.state.read_message(message, buffer) or self.ciphers
        return bytes(buffer)

    def hash(self) -> bytes:
        return bytes(self.state.symmetricstate.get_handshake_hash())

    def seal(self, text: bytes) -> bytes:
        assert self.ciphers is not None
        return bytes(self.ciphers[0 if self.initiator else 1].encrypt_with_ad(b"", text))  # type: ignore[attr-defined]

    def open(self, sealed: bytes) -> bytes:
        assert self.ciphers is not None
        return bytes(self.ciphers[1 if self.initiator else 0].decrypt_with_ad(b"", sealed))  # type: ignore[attr-defined]


OTHERS = [NoiseProtocolEnd, DissononceEnd]


@pytest.mark.inv(3)
@pytest.mark.parametrize("other", OTHERS)
def test_inv_03_other_implementations_agree(other: type[NoiseProtocolEnd | DissononceEnd]) -> None:
    """200 handshakes, ours in turn the initiator and the responder, two transport messages each way."""
    for run in range(RUNS):
        ours_first = run % 2 == 0
        mine, theirs = key(run, "mine"), key(run, "theirs")
        prologue, psk = key(run, "prologue")[: run % 33], key(run, "psk")
        payloads = key(run, "payload 1")[: run % 32], key(run, "payload 2")[: run % 29]
        end = other(
            initiator=not ours_first,
            prologue=prologue,
            static=theirs,
            remote=KeyPair(Secret(mine)).public,
            psk=psk,
            e=key(run, "their e"),
        )
        our_static, remote, our_psk = KeyPair(Secret(mine)), KeyPair(Secret(theirs)).public, Secret(psk)
        ephemeral = Ephemeral(Secret(key(run, "our e")))
        if ours_first:
            initiator = Initiator(prologue, our_static, remote, our_psk, ephemeral)
            assert end.read(initiator.write(payloads[0])) == payloads[0]
            payload, keys = initiator.read(end.write(payloads[1]))
            assert payload == payloads[1]
            send, receive = Aead(keys.initiator_to_responder), Aead(keys.responder_to_initiator)
        else:
            responder = Responder(prologue, our_static, remote, our_psk)
            assert responder.read(end.write(payloads[0])) == payloads[0]
            message, keys = responder.write(payloads[1], ephemeral)
            assert end.read(message) == payloads[1]
            receive, send = Aead(keys.initiator_to_responder), Aead(keys.responder_to_initiator)
        assert end.hash() == keys.handshake_hash
        for counter in range(2):
            text = key(run, f"text {counter}")
            assert end.open(send.seal(counter, text)) == text
            assert receive.open(counter, end.seal(text)) == text


@pytest.mark.inv(3)
@pytest.mark.parametrize("other", OTHERS)
def test_inv_03_other_implementations_reach_the_public_vector(
    other: type[NoiseProtocolEnd | DissononceEnd],
) -> None:
    h = bytes.fromhex
    ends = [
        other(
            initiator=side == "init",
            prologue=h(VECTOR[f"{side}_prologue"]),
            static=h(VECTOR[f"{side}_static"]),
            remote=h(VECTOR[f"{side}_remote_static"]),
            psk=h(VECTOR[f"{side}_psks"][0]),
            e=h(VECTOR[f"{side}_ephemeral"]),
        )
        for side in ("init", "resp")
    ]
    for index, message in enumerate(VECTOR["messages"]):
        sender, receiver = ends[index % 2], ends[1 - index % 2]
        payload, sealed = h(message["payload"]), h(message["ciphertext"])
        if index < 2:
            assert sender.write(payload) == sealed
            assert receiver.read(sealed) == payload
        else:
            assert sender.seal(payload) == sealed
            assert receiver.open(sealed) == payload
    assert [end.hash().hex() for end in ends] == [VECTOR["handshake_hash"]] * 2
