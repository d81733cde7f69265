"""Cryptographic primitives of ITP/1: X25519, ChaCha20-Poly1305, SHA-256, HMAC, HKDF. Only importer of `cryptography`.

Key bytes cannot be wiped in Python (trust.md 3.1); what can be done is done: a ``Secret`` never shows its value
in a repr, cannot be pickled or copied into a state file, and compares in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from telemetry.errors import PeerError, SecurityError

KEY_SIZE = 32
HASH_SIZE = 32
_NONCE = struct.Struct("<4xQ")


class Secret:
    """Bytes that must not be shown: hidden from repr, compared in constant time, refused by pickle and copy."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment] # a hash would be a fingerprint of the secret

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """The bytes themselves; for handing to a primitive, never for showing."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"<secret, {len(self._value)} bytes>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and same(self._value, other._value)

    def __reduce__(self) -> tuple[type, tuple[bytes]]:
        raise SecurityError("a secret is not pickled or copied; hand the object on, or keep it in the vault")


class KeyPair:
    """An X25519 key pair (RFC 7748) made from 32 private bytes.

    Raises ``SecurityError`` when the private key is not 32 bytes.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: Secret) -> None:
        if len(private) != KEY_SIZE:
            raise SecurityError(f"private key: {len(private)} bytes; an X25519 key has {KEY_SIZE}")
        self._private = X25519PrivateKey.from_private_bytes(private.reveal())
        self.public = self._private.public_key().public_bytes_raw()

    def exchange(self, public: bytes) -> bytes:
        """The shared secret of 32 bytes.

        Raises ``PeerError`` when ``public`` is not 32 bytes or is a low-order point, whose shared secret is all
        zero (RFC 7748 section 6.1, trust.md 7.5).
        """
        if len(public) != KEY_SIZE:
            raise PeerError(f"public key: {len(public)} bytes; an X25519 key has {KEY_SIZE}")
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise PeerError("public key: a low-order point; no shared secret can come of it") from error

    def __repr__(self) -> str:
        return f"<key pair, public {self.public.hex()}>"


class Ephemeral(KeyPair):
    """A key pair for exactly one handshake.

    ``spend`` raises ``SecurityError`` the second time: with the same ephemeral and statics the same keys and
    nonces would encrypt other plaintexts (INV-11).
    """

    __slots__ = ("_spent",)

    def __init__(self, private: Secret) -> None:
        super().__init__(private)
        self._spent = False

    def spend(self) -> None:
        """Take the one use; raises ``SecurityError`` when it was taken before."""
        if self._spent:
            raise SecurityError("ephemeral key: already used by a handshake; make a fresh one for each")
        self._spent = True


class Aead:
    """ChaCha20-Poly1305 (RFC 8439) under one key with Noise's nonce: 4 zero bytes, then the counter as LE64."""

    __slots__ = ("_cipher", "key")

    def __init__(self, key: Secret) -> None:
        self.key = key
        self._cipher = ChaCha20Poly1305(key.reveal())

    def seal(self, counter: int, plaintext: bytes, associated: bytes = b"") -> bytes:
        """Ciphertext followed by its 16-byte tag."""
        return self._cipher.encrypt(_NONCE.pack(counter), plaintext, associated)

    def open(self, counter: int, ciphertext: bytes, associated: bytes = b"") -> bytes | None:
        """The plaintext, or None when the tag does not fit (too short included)."""
        try:
            return self._cipher.decrypt(_NONCE.pack(counter), ciphertext, associated)
        except InvalidTag:
            return None


def same(left: bytes, right: bytes) -> bool:
    """Whether two byte strings are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(left, right)


def sha256(data: bytes) -> bytes:
    """SHA-256 (FIPS 180-4), 32 bytes."""
    return hashlib.sha256(data).digest()


def mac(key: Secret, data: bytes, size: int = HASH_SIZE) -> bytes:
    """HMAC-SHA256 (RFC 2104), its first ``size`` bytes."""
    return hmac.digest(key.reveal(), data, "sha256")[:size]


def hkdf(material: Secret, label: str, size: int = KEY_SIZE) -> Secret:
    """HKDF-SHA256 (RFC 5869) with an empty salt and ``label`` (ASCII) as info; ``size`` bytes, at most 255 x 32."""
    pseudorandom = hmac.digest(bytes(HASH_SIZE), material.reveal(), "sha256")
    info, block, out = label.encode("ascii"), b"", b""
    while len(out) < size:
        block = hmac.digest(pseudorandom, block + info + bytes((len(out) // HASH_SIZE + 1,)), "sha256")
        out += block
    return Secret(out[:size])


def noise_hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """HKDF as Noise uses it (revision 34, section 4.3): two or three outputs of 32 bytes, no info."""
    temp = hmac.digest(chaining_key, material, "sha256")
    found: list[bytes] = []
    block = b""
    for number in range(1, outputs + 1):
        block = hmac.digest(temp, block + bytes((number,)), "sha256")
        found.append(block)
    return found
