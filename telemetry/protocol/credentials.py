"""What each end must know before a session: pump secrets, credential slots, credentials, and the published test card.

Derivations are those of trust.md 4.1. Vault, rotation and enrolment are not here yet; a slot's generation, label and
expiry join ``Slot`` with them.

The **test card** is public on purpose: every test pump carries it, and every pump that carries it must set the test
bit in its BEACON (protocol.md, Decided 9). Its secrets protect nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from telemetry.errors import SecurityError, UsageError
from telemetry.model import Role
from telemetry.protocol.primitives import KEY_SIZE, KeyPair, Secret, hkdf
from telemetry.protocol.roles import OPERATIONS, allows

PUMP_ID_SIZE = 8
SLOTS = 16
"""Slots of a pump, numbered from 1; 0 stands for nobody, as in a log line without a session (trust.md 4.1)."""

TEST_ROOT = b"itp/1 TEST ROOT, simulation only"
"""The published test root, 32 bytes (trust.md 4.15)."""


def _need(name: str, found: int, size: int) -> None:
    if found != size:
        raise SecurityError(f"{name}: {found} bytes; it has {size}")


@dataclass(frozen=True, slots=True)
class PumpSecrets:
    """What the pump alone holds: its X25519 key (Noise only), find key, hedging key; and its public identifier.

    Raises ``SecurityError`` for a key that is not 32 bytes or an identifier that is not 8.
    """

    pump_id: bytes
    static: KeyPair
    find_key: Secret
    rng_key: Secret

    def __post_init__(self) -> None:
        _need("pump_id", len(self.pump_id), PUMP_ID_SIZE)
        _need("find key", len(self.find_key), KEY_SIZE)
        _need("hedging key", len(self.rng_key), KEY_SIZE)

    def __repr__(self) -> str:
        return "<pump secrets>"


@dataclass(frozen=True, slots=True)
class Slot:
    """One enrolled credential, the pump's half: the role belongs here and not to the programmer (trust.md 0.4).

    Raises ``SecurityError`` for a number outside 1 to 16 or a key that is not 32 bytes.
    """

    number: int
    role: Role
    public: bytes
    psk: Secret
    gate: Secret

    def __post_init__(self) -> None:
        if not 1 <= self.number <= SLOTS:
            raise SecurityError(f"slot: {self.number} is outside 1 to {SLOTS}")
        for name, size in (("public key", len(self.public)), ("psk", len(self.psk)), ("gate key", len(self.gate))):
            _need(name, size, KEY_SIZE)


@dataclass(frozen=True, slots=True)
class Credential:
    """The programmer's half, for one pump: slot, keys derived from the root, and the pump's public key and find key.

    ``pump_id`` is None when the card does not say which pump (the test card). ``test`` marks the published card.
    """

    slot: int
    role: Role
    static: KeyPair
    psk: Secret
    gate: Secret
    pump_public: bytes
    find_key: Secret
    pump_id: bytes | None = None
    test: bool = False

    @classmethod
    def from_root(
        cls,
        root: Secret,
        *,
        slot: int,
        role: Role,
        pump_public: bytes,
        find_key: Secret,
        pump_id: bytes | None = None,
        test: bool = False,
    ) -> Credential:
        """Derive the three keys of a credential from its root (trust.md 4.1): static private, psk and gate key.

        Raises ``SecurityError`` for a root, key or identifier of the wrong length or a slot outside 1 to 16.
        """
        _need("credential root", len(root), KEY_SIZE)
        _need("pump public key", len(pump_public), KEY_SIZE)
        _need("find key", len(find_key), KEY_SIZE)
        if pump_id is not None:
            _need("pump_id", len(pump_id), PUMP_ID_SIZE)
        if not 1 <= slot <= SLOTS:
            raise SecurityError(f"slot: {slot} is outside 1 to {SLOTS}")
        return cls(
            slot=slot,
            role=role,
            static=KeyPair(hkdf(root, "itp/1 x25519")),
            psk=hkdf(root, "itp/1 psk"),
            gate=hkdf(root, "itp/1 gate"),
            pump_public=pump_public,
            find_key=find_key,
            pump_id=pump_id,
            test=test,
        )

    def pump_slot(self) -> Slot:
        """What the pump stores for this credential: the public half, psk, gate key and role."""
        return Slot(self.slot, self.role, self.static.public, self.psk, self.gate)


def role_within(asked: Role, granted: Role) -> bool:
    """Whether a session of a ``granted`` slot may run as ``asked``: less and never more (trust.md 0.4, INV-14).

    Less means: every row of the role table (``roles.py``) that allows ``asked`` allows ``granted`` too. So a
    clinician may run as observer or emergency; a patient, who may not read the program, may not run as observer.
    """
    return _RIGHTS[asked] <= _RIGHTS[granted]


_RIGHTS = {role: frozenset(name for name in OPERATIONS if allows(role, name)) for role in Role}


def _test_key(label: str) -> Secret:
    return hkdf(Secret(TEST_ROOT), f"itp/1 test {label}")


@cache
def _test_static() -> KeyPair:
    return KeyPair(_test_key("pump static"))


@cache
def test_credential(role: Role) -> Credential:
    """The test card's credential of a role: slot 1 to 6 in the order of ``Role``, root derived from the role's name."""
    return Credential.from_root(
        _test_key(f"slot {role.value}"),
        slot=list(Role).index(role) + 1,
        role=role,
        pump_public=_test_static().public,
        find_key=_test_key("find"),
        test=True,
    )


def test_slots() -> tuple[Slot, ...]:
    """The six slots of a test pump, one for each role."""
    return tuple(test_credential(role).pump_slot() for role in Role)


def test_pump_secrets(pump_id: bytes) -> PumpSecrets:
    """Secrets of the test pump with this identifier of 8 bytes; static and find key are those of every test pump.

    The hedging key differs, so that two pumps with a stuck random source still do not share a challenge. Raises
    ``UsageError`` for an identifier of another length.
    """
    if len(pump_id) != PUMP_ID_SIZE:
        raise UsageError(f"pump_id: {len(pump_id)} bytes; it has {PUMP_ID_SIZE}")
    return PumpSecrets(pump_id, _test_static(), _test_key("find"), _test_key(f"rng {pump_id.hex()}"))


def is_test_slot(slot: Slot) -> bool:
    """Whether a slot is one of the published test card, which a pump without the test bit must not accept."""
    return slot.public in {test_credential(role).static.public for role in Role}


# A test module that imports these would otherwise have them collected as its tests.
for _function in (test_credential, test_slots, test_pump_secrets):
    _function.__dict__["__test__"] = False
