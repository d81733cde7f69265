"""The keys of both ends, the published test card, and what a role may ask for."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from telemetry.errors import SecurityError, UsageError
from telemetry.model import Role
from telemetry.protocol.credentials import (
    TEST_ROOT,
    Credential,
    PumpSecrets,
    Slot,
    is_test_slot,
    role_within,
    test_credential,
    test_pump_secrets,
    test_slots,
)
from telemetry.protocol.primitives import KeyPair, Secret
from telemetry.protocol.roles import OPERATIONS, allows

ROOT = Secret(b"\x31" * 32)
PUMP = KeyPair(Secret(b"\x32" * 32))
FIND = Secret(b"\x33" * 32)


def derived(root: bytes, label: str) -> bytes:
    """RFC 5869 by hand: extract with an empty salt, expand by one block."""
    return hmac.digest(hmac.digest(bytes(32), root, "sha256"), label.encode() + b"\x01", hashlib.sha256)


def test_keys_are_derived_from_the_root_as_specified() -> None:
    credential = Credential.from_root(ROOT, slot=4, role=Role.CLINICIAN, pump_public=PUMP.public, find_key=FIND)
    assert credential.psk.reveal() == derived(ROOT.reveal(), "itp/1 psk")
    assert credential.gate.reveal() == derived(ROOT.reveal(), "itp/1 gate")
    assert credential.static.public == KeyPair(Secret(derived(ROOT.reveal(), "itp/1 x25519"))).public
    assert len({credential.psk.reveal(), credential.gate.reveal(), derived(ROOT.reveal(), "itp/1 x25519")}) == 3
    slot = credential.pump_slot()
    assert (slot.number, slot.role, slot.public) == (4, Role.CLINICIAN, credential.static.public)
    assert not credential.test
    assert not is_test_slot(slot)


def test_the_test_card_is_the_published_one() -> None:
    assert len(TEST_ROOT) == 32
    for number, role in enumerate(Role, start=1):
        credential = test_credential(role)
        root = derived(TEST_ROOT, f"itp/1 test slot {role.value}")
        assert (credential.slot, credential.role, credential.test, credential.pump_id) == (number, role, True, None)
        assert credential.psk.reveal() == derived(root, "itp/1 psk")
    assert [slot.role for slot in test_slots()] == list(Role)
    assert len({slot.public for slot in test_slots()}) == len(Role)
    assert all(map(is_test_slot, test_slots()))


def test_test_pumps_share_static_and_find_key_and_nothing_else() -> None:
    one, two = test_pump_secrets(b"SIM-0001"), test_pump_secrets(b"SIM-0002")
    assert one.static.public == two.static.public == test_credential(Role.OBSERVER).pump_public
    assert one.find_key == two.find_key == test_credential(Role.OBSERVER).find_key
    assert one.rng_key != two.rng_key
    assert one.pump_id != two.pump_id
    with pytest.raises(UsageError, match="pump_id: 3 bytes"):
        test_pump_secrets(b"SIM")


@pytest.mark.parametrize(
    "change",
    [
        {"root": Secret(b"short")},
        {"pump_public": b"short"},
        {"find_key": Secret(b"short")},
        {"pump_id": b"short"},
        {"slot": 0},
        {"slot": 17},
    ],
    ids=str,
)
def test_a_malformed_card_is_refused(change: dict[str, object]) -> None:
    card: dict[str, object] = {
        "root": ROOT,
        "slot": 1,
        "role": Role.OBSERVER,
        "pump_public": PUMP.public,
        "find_key": FIND,
        "pump_id": b"SIM-0001",
    }
    Credential.from_root(**card)  # type: ignore[arg-type] # one of them is of the wrong size on purpose
    with pytest.raises(SecurityError, match=r"5 bytes|outside 1 to 16"):
        Credential.from_root(**{**card, **change})  # type: ignore[arg-type]


def test_malformed_pump_keys_are_refused() -> None:
    secrets = PumpSecrets(b"SIM-0001", PUMP, FIND, FIND)
    for change in ({"pump_id": b""}, {"find_key": Secret(b"")}, {"rng_key": Secret(b"")}):
        with pytest.raises(SecurityError, match="0 bytes"):
            replace(secrets, **change)
    slot = test_slots()[0]
    for change in ({"public": b""}, {"psk": Secret(b"")}, {"gate": Secret(b"")}):
        with pytest.raises(SecurityError, match="0 bytes"):
            replace(slot, **change)
    for number in (0, 17, -1):
        with pytest.raises(SecurityError, match="outside 1 to 16"):
            Slot(number, slot.role, slot.public, slot.psk, slot.gate)


@pytest.mark.inv(10)
def test_inv_10_reprs_show_no_secret() -> None:
    secrets, credential, slot = test_pump_secrets(b"SIM-0001"), test_credential(Role.CLINICIAN), test_slots()[0]
    text = f"{secrets!r} {credential!r} {slot!r} {secrets} {credential}"
    for secret in (secrets.find_key, secrets.rng_key, credential.psk, credential.gate, slot.psk, slot.gate):
        assert secret.reveal().hex() not in text
        assert repr(secret.reveal()) not in text
    assert "SIM-0001" not in repr(secrets)


@pytest.mark.inv(14)
def test_inv_14_less_never_more() -> None:
    """A role may be asked for exactly when everything it allows is allowed to the slot's role."""
    for asked in Role:
        for granted in Role:
            gains = [name for name in OPERATIONS if allows(asked, name) and not allows(granted, name)]
            assert role_within(asked, granted) == (not gains), (asked, granted, gains)
    assert role_within(Role.OBSERVER, Role.CLINICIAN)
    assert not role_within(Role.CLINICIAN, Role.EMERGENCY)
    assert not role_within(Role.OBSERVER, Role.PATIENT)
