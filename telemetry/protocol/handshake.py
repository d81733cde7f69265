"""From PROBE to session keys: derivations and bindings of trust.md 4.4, both ends, without state machines.

Integers inside derivations are little-endian: ``boot_epoch`` 4 bytes, ``wake_ctr`` 8. PROBE, BEACON and HELLO stand
for frame *bodies*.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from telemetry.protocol.codec import decode_record, encode_record
from telemetry.protocol.messages import Accept, AcceptPayload, Hello, HelloPayload
from telemetry.protocol.noise import Initiator, Responder, TransportKeys
from telemetry.protocol.primitives import KEY_SIZE, Ephemeral, Secret, hkdf, mac, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from telemetry.model import Role
    from telemetry.protocol.credentials import Credential, PumpSecrets, Slot

SUITE_LABEL = b"itp/1 session 01"
CHALLENGE_SIZE = 16
CHALLENGE_ENTROPY = 16
WAKE_TAG_SIZE = 8
GATE_MAC_SIZE = 16
PROBE_ID_SIZE = 4
HELLO_HEAD_SIZE = 4
"""Slot, wanted role and two reserved bytes: the part of HELLO that gate MAC and prologue bind as it stands."""

_WAKE = struct.Struct("<IQ")


def challenge(rng_key: Secret, boot_epoch: int, wake_ctr: int, random: bytes) -> bytes:
    """16 bytes that never repeat while (boot_epoch, wake_ctr) does not, even when ``random`` (16 bytes) is stuck."""
    return mac(rng_key, b"chal" + _WAKE.pack(boot_epoch, wake_ctr) + random, CHALLENGE_SIZE)


def wake_tag(find_key: Secret, challenge_bytes: bytes) -> bytes:
    """8 bytes by which an enrolled programmer recognises its pump, and nobody else does."""
    return mac(find_key, b"wake" + challenge_bytes, WAKE_TAG_SIZE)


def hedged_ephemeral(rng_key: Secret, boot_epoch: int, wake_ctr: int, random: bytes) -> Ephemeral:
    """The pump's ephemeral key: as good as ``random`` (32 bytes), and fresh even when that is stuck."""
    material = random + rng_key.reveal() + _WAKE.pack(boot_epoch, wake_ctr)
    return Ephemeral(hkdf(Secret(material), "itp/1 eph"))


def token_secret(rng_key: Secret, handshake_hash: bytes, random: bytes) -> Secret:
    """32 bytes for the commit tokens of one session (trust.md 5.2), hedged by the handshake hash."""
    return hkdf(Secret(random + rng_key.reveal() + handshake_hash), "itp/1 token")


def prologue(probe: bytes, beacon: bytes, hello_head: bytes) -> bytes:
    """What Noise binds: label and suite, the offer, the challenge, slot and wanted role."""
    return SUITE_LABEL + probe + beacon + hello_head


def gate_mac(gate: Secret, probe: bytes, beacon: bytes, hello_head: bytes, noise1: bytes) -> bytes:
    """The cheap symmetric gate before any public-key work, 16 bytes."""
    return mac(gate, b"gate" + probe + beacon + hello_head + noise1, GATE_MAC_SIZE)


class ProgrammerHandshake:
    """The programmer's half for one challenge: the HELLO body, then the ACCEPT body opened.

    Raises ``SecurityError`` when ``entropy`` does not give 32 bytes.
    """

    __slots__ = ("_noise", "hello")

    def __init__(
        self,
        credential: Credential,
        want_role: Role,
        probe: bytes,
        beacon: bytes,
        payload: HelloPayload,
        entropy: Callable[[int], bytes],
    ) -> None:
        head = encode_record("hello", Hello(credential.slot, want_role, 0, bytes(16), bytes(72)))[:HELLO_HEAD_SIZE]
        self._noise = Initiator(
            prologue(probe, beacon, head),
            credential.static,
            credential.pump_public,
            credential.psk,
            Ephemeral(Secret(entropy(KEY_SIZE))),
        )
        noise1 = self._noise.write(encode_record("hello_payload", payload))
        self.hello = head + gate_mac(credential.gate, probe, beacon, head, noise1) + noise1

    def accept(self, body: bytes) -> tuple[AcceptPayload, TransportKeys]:
        """Open an ACCEPT body.

        Raises ``PeerError`` when it is not the answer to our HELLO by the pump we know (wait on for the true
        one), and its subclass ``BadPayload`` when it is but is laid out otherwise.
        """
        payload, keys = self._noise.read(body)  # the body is Noise message 2 and nothing else
        return decode_record("accept_payload", payload), keys


class PumpHandshake:
    """The pump's half for one HELLO, in two steps: the gate, which costs one HMAC, then Noise."""

    __slots__ = ("_beacon", "_head", "_hello", "_noise", "_probe", "_slot")

    def __init__(self, slot: Slot, probe: bytes, beacon: bytes, hello: Hello, hello_body: bytes) -> None:
        self._slot, self._probe, self._beacon, self._hello = slot, probe, beacon, hello
        self._head = hello_body[:HELLO_HEAD_SIZE]
        self._noise: Responder | None = None

    def gate_opens(self) -> bool:
        """Whether the gate MAC is right; compared in constant time."""
        expected = gate_mac(self._slot.gate, self._probe, self._beacon, self._head, self._hello.noise1)
        return same(expected, self._hello.gate_mac)

    def read(self, secrets: PumpSecrets) -> HelloPayload:
        """Open Noise message 1. Raises ``PeerError`` when the credential behind an open gate is inconsistent."""
        noise = Responder(
            prologue(self._probe, self._beacon, self._head), secrets.static, self._slot.public, self._slot.psk
        )
        payload = decode_record("hello_payload", noise.read(self._hello.noise1))
        self._noise = noise
        return payload

    def accept(self, payload: AcceptPayload, ephemeral: Ephemeral) -> tuple[bytes, TransportKeys]:
        """The ACCEPT body and the session's keys; call after ``read``."""
        noise = self._noise
        if noise is None:  # pragma: no cover - a mistake of ours
            raise AssertionError("accept before read: HELLO was not opened")
        noise2, keys = noise.write(encode_record("accept_payload", payload), ephemeral)
        return encode_record("accept", Accept(noise2)), keys
