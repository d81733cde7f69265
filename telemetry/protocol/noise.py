"""``Noise_KKpsk0_25519_ChaChaPoly_SHA256`` (Noise revision 34), both ends, nothing else of Noise.

::

    -> s                    known beforehand
    <- s                    known beforehand
    ...
    -> psk, e, es, ss       message 1: 32 bytes of e, then the sealed payload (+16)
    <- e, ee, se            message 2: likewise

A message that cannot be read leaves the handshake as it was, so that a forged one cannot end an honest one. No
randomness here: the ephemeral key is an argument and good for one handshake.
"""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.errors import OutOfTurn, PeerError, SecurityError
from telemetry.protocol.primitives import KEY_SIZE, Aead, Ephemeral, KeyPair, Secret, noise_hkdf, sha256

PROTOCOL_NAME = b"Noise_KKpsk0_25519_ChaChaPoly_SHA256"
OVERHEAD = KEY_SIZE + 16
"""Bytes a handshake message adds to its payload: the ephemeral key and the tag."""

_START = sha256(PROTOCOL_NAME)


@dataclass(frozen=True, slots=True)
class TransportKeys:
    """What a finished handshake leaves: one key per direction and the hash both ends share."""

    initiator_to_responder: Secret
    responder_to_initiator: Secret
    handshake_hash: bytes


class _Symmetric:
    """Noise's SymmetricState; a value, copied before a message is tried."""

    __slots__ = ("chain", "counter", "hash", "key")

    def __init__(self, chain: bytes, hash_: bytes, key: bytes = b"", counter: int = 0) -> None:
        self.chain, self.hash, self.key, self.counter = chain, hash_, key, counter

    def copy(self) -> _Symmetric:
        return _Symmetric(self.chain, self.hash, self.key, self.counter)

    def mix_hash(self, data: bytes) -> None:
        self.hash = sha256(self.hash + data)

    def mix_key(self, material: bytes) -> None:
        self.chain, self.key = noise_hkdf(self.chain, material, 2)
        self.counter = 0

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chain, mixed, self.key = noise_hkdf(self.chain, material, 3)
        self.mix_hash(mixed)
        self.counter = 0

    def mix_ephemeral(self, public: bytes) -> None:
        """Token ``e`` in a handshake with a psk: hashed and mixed into the key (section 9.2)."""
        self.mix_hash(public)
        self.mix_key(public)

    def seal(self, payload: bytes) -> bytes:
        sealed = Aead(Secret(self.key)).seal(self.counter, payload, self.hash)
        self.counter += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes, which: str) -> bytes:
        payload = Aead(Secret(self.key)).open(self.counter, sealed, self.hash)
        if payload is None:
            raise PeerError(f"Noise {which}: the tag does not fit; other keys, other prologue or altered bytes")
        self.counter += 1
        self.mix_hash(sealed)
        return payload

    def split(self) -> TransportKeys:
        first, second = noise_hkdf(self.chain, b"", 2)
        return TransportKeys(Secret(first), Secret(second), self.hash)


def _start(prologue: bytes, initiator: bytes, responder: bytes, psk: Secret) -> _Symmetric:
    if len(psk) != KEY_SIZE:
        raise SecurityError(f"psk: {len(psk)} bytes; Noise demands {KEY_SIZE}")
    if psk == Secret(bytes(KEY_SIZE)):
        raise SecurityError("psk: all zero, which is no secret; derive it from the credential's root")
    state = _Symmetric(_START, _START)
    for known in (prologue, initiator, responder):
        state.mix_hash(known)
    return state


def _cut(message: bytes, which: str) -> tuple[bytes, bytes]:
    if len(message) < OVERHEAD:
        raise PeerError(f"Noise {which}: {len(message)} bytes; it has at least {OVERHEAD} (ephemeral key and tag)")
    return message[:KEY_SIZE], message[KEY_SIZE:]


class Initiator:
    """The programmer's end.

    Raises ``SecurityError`` for a psk that is not 32 bytes or is all zero, and for an ephemeral used before.
    """

    __slots__ = ("_ephemeral", "_psk", "_remote", "_state", "_static", "_step")

    def __init__(self, prologue: bytes, static: KeyPair, remote: bytes, psk: Secret, ephemeral: Ephemeral) -> None:
        self._state = _start(prologue, static.public, remote, psk)
        ephemeral.spend()
        self._static, self._remote, self._psk, self._ephemeral = static, remote, psk, ephemeral
        self._step = 0

    def write(self, payload: bytes) -> bytes:
        """Message 1. Raises ``OutOfTurn`` when it was written before, ``PeerError`` for a low-order remote key."""
        if self._step != 0:
            raise OutOfTurn("Noise message 1 was written already; a handshake writes it once")
        state = self._state.copy()
        state.mix_key_and_hash(self._psk.reveal())
        state.mix_ephemeral(self._ephemeral.public)
        state.mix_key(self._ephemeral.exchange(self._remote))
        state.mix_key(self._static.exchange(self._remote))
        sealed = state.seal(payload)
        self._state, self._step = state, 1
        return self._ephemeral.public + sealed

    def read(self, message: bytes) -> tuple[bytes, TransportKeys]:
        """Open message 2: its payload and the session's keys.

        Raises ``OutOfTurn`` before message 1 or after success, ``PeerError`` when it cannot be opened (the
        handshake then still waits for the true one).
        """
        if self._step != 1:
            raise OutOfTurn("Noise message 2 is read once, after message 1 was written")
        remote_ephemeral, sealed = _cut(message, "message 2")
        state = self._state.copy()
        state.mix_ephemeral(remote_ephemeral)
        state.mix_key(self._ephemeral.exchange(remote_ephemeral))
        state.mix_key(self._static.exchange(remote_ephemeral))
        payload = state.open(sealed, "message 2")
        self._state, self._step = state, 2
        return payload, state.split()


class Responder:
    """The pump's end; errors as of ``Initiator``."""

    __slots__ = ("_psk", "_remote", "_remote_ephemeral", "_state", "_static", "_step")

    def __init__(self, prologue: bytes, static: KeyPair, remote: bytes, psk: Secret) -> None:
        self._state = _start(prologue, remote, static.public, psk)
        self._static, self._remote, self._psk = static, remote, psk
        self._remote_ephemeral = b""
        self._step = 0

    def read(self, message: bytes) -> bytes:
        """Open message 1: its payload, which anybody who stole the responder's private key could have written.

        Raises ``OutOfTurn`` when one was read before, ``PeerError`` when it cannot be opened.
        """
        if self._step != 0:
            raise OutOfTurn("Noise message 1 was read already; a handshake reads it once")
        remote_ephemeral, sealed = _cut(message, "message 1")
        state = self._state.copy()
        state.mix_key_and_hash(self._psk.reveal())
        state.mix_ephemeral(remote_ephemeral)
        state.mix_key(self._static.exchange(remote_ephemeral))
        state.mix_key(self._static.exchange(self._remote))
        payload = state.open(sealed, "message 1")
        self._state, self._step, self._remote_ephemeral = state, 1, remote_ephemeral
        return payload

    def write(self, payload: bytes, ephemeral: Ephemeral) -> tuple[bytes, TransportKeys]:
        """Message 2 and the session's keys.

        Raises ``OutOfTurn`` before message 1 or the second time, ``SecurityError`` for an ephemeral used before.
        """
        if self._step != 1:
            raise OutOfTurn("Noise message 2 is written once, after message 1 was read")
        ephemeral.spend()
        state = self._state
        state.mix_ephemeral(ephemeral.public)
        state.mix_key(ephemeral.exchange(self._remote_ephemeral))
        state.mix_key(ephemeral.exchange(self._remote))
        sealed = state.seal(payload)
        self._step = 2
        return ephemeral.public + sealed, state.split()
