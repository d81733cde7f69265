"""``fixtures/vectors/handshake.json`` recomputed from its inputs without our code: hmac, hashlib, another Noise."""

from __future__ import annotations

import hmac
import json
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from noise.connection import Keypair, NoiseConnection

from tools import handshake_vector

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "fixtures/vectors/handshake.json").read_text(encoding="utf-8")
)
IN, OUT = VECTOR["inputs"], VECTOR["derived"]
h = bytes.fromhex


def derive(material: bytes, label: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=label.encode()).derive(material)


def mac(key: bytes, data: bytes, size: int) -> bytes:
    return hmac.digest(key, data, "sha256")[:size]


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def bodies() -> list[bytes]:
    found = []
    for row in VECTOR["frames"]:
        frame = h(row["frame"])
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:], "little")
        assert int.from_bytes(frame[2:4], "little") == len(frame) - 8
        found.append(frame[4:-4])
    return found


@pytest.mark.inv(62)
def test_inv_62_the_committed_vector_is_what_the_channel_makes() -> None:
    assert handshake_vector.main(["--check"]) == 0


def test_keys_of_the_test_card() -> None:
    root = h(IN["test_root"])
    assert root == b"itp/1 TEST ROOT, simulation only"
    slot_root = derive(root, f"itp/1 test slot {IN['role']}")
    assert derive(slot_root, "itp/1 psk") == h(OUT["psk"])
    assert derive(slot_root, "itp/1 gate") == h(OUT["gate"])
    assert public(derive(slot_root, "itp/1 x25519")) == h(OUT["programmer_public"])
    assert public(derive(root, "itp/1 test pump static")) == h(OUT["pump_public"])
    assert derive(root, "itp/1 test find") == h(OUT["find_key"])
    assert derive(root, f"itp/1 test rng {IN['pump_id']}") == h(OUT["rng_key"])


def test_challenge_wake_tag_and_gate() -> None:
    probe, beacon, hello, _, *_ = bodies()
    wake = struct.pack("<IQ", IN["boot_epoch"], IN["wake_ctr"])
    challenge = mac(h(OUT["rng_key"]), b"chal" + wake + h(IN["pump_entropy"]["challenge"]), 16)
    assert challenge == h(OUT["challenge"]) == beacon[4:20]
    assert mac(h(OUT["find_key"]), b"wake" + challenge, 8) == h(OUT["wake_tag"]) == beacon[20:28]
    assert probe[4:] == beacon[28:] == h(IN["programmer_entropy"]["probe_id"])
    gate = mac(h(OUT["gate"]), b"gate" + probe + beacon + hello[:4] + hello[20:], 16)
    assert gate == h(OUT["gate_mac"]) == hello[4:20]
    assert h(OUT["prologue"]) == b"itp/1 session 01" + probe + beacon + hello[:4]


@pytest.mark.inv(3)
def test_inv_03_another_noise_reaches_the_same_session() -> None:
    _, _, hello, accept, *sealed = bodies()
    wake = struct.pack("<IQ", IN["boot_epoch"], IN["wake_ctr"])
    root = h(IN["test_root"])
    pump_ephemeral = derive(h(IN["pump_entropy"]["ephemeral"]) + h(OUT["rng_key"]) + wake, "itp/1 eph")
    ends = []
    for initiator, static, remote, ephemeral in (
        (
            True,
            derive(derive(root, f"itp/1 test slot {IN['role']}"), "itp/1 x25519"),
            OUT["pump_public"],
            h(IN["programmer_entropy"]["ephemeral"]),
        ),
        (False, derive(root, "itp/1 test pump static"), OUT["programmer_public"], pump_ephemeral),
    ):
        end = NoiseConnection.from_name(b"Noise_KKpsk0_25519_ChaChaPoly_SHA256")
        end.set_psks(h(OUT["psk"]))
        end.set_prologue(h(OUT["prologue"]))
        (end.set_as_initiator if initiator else end.set_as_responder)()
        end.set_keypair_from_private_bytes(Keypair.STATIC, static)
        end.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, h(remote))
        end.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it warns that the ephemeral is injected
            end.start_handshake()
        ends.append(end)
    programmer, pump = ends
    payload = bytes(pump.read_message(hello[20:]))
    assert bytes(programmer.write_message(payload)) == hello[20:] == h(OUT["noise1"])
    assert int.from_bytes(payload[16:20], "little") == IN["layout_fingerprint"]
    accepted = bytes(programmer.read_message(accept))
    assert bytes(pump.write_message(accepted)) == accept == h(OUT["noise2"])
    assert accepted[:8] == h(IN["pump_id"])
    assert bytes(pump.get_handshake_hash()) == bytes(programmer.get_handshake_hash()) == h(OUT["handshake_hash"])
    for body, row in zip(sealed, VECTOR["frames"][4:], strict=True):
        assert int.from_bytes(body[:4], "little") == row["counter"]
        opener = pump if row["type"] == "REQ" else programmer
        assert bytes(opener.decrypt(body[4:])).hex() == row["plaintext"]
        key = OUT["key_to_pump"] if row["type"] == "REQ" else OUT["key_from_pump"]
        nonce = bytes(4) + struct.pack("<Q", row["counter"])
        assert ChaCha20Poly1305(h(key)).decrypt(nonce, body[4:], None).hex() == row["plaintext"]
    token = derive(h(IN["pump_entropy"]["token"]) + h(OUT["rng_key"]) + h(OUT["handshake_hash"]), "itp/1 token")
    assert token == h(OUT["token_secret"])
