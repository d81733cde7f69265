"""Write ``fixtures/vectors/handshake.json``: one whole session of the test card, every input and every derived value.

    python -m tools.handshake_vector            rewrite the file
    python -m tools.handshake_vector --check    exit status 1 when the file is not what the code makes

The values come from the channel itself; ``tests/protocol/test_handshake_vector.py`` recomputes every one of them with
``hmac``, ``hashlib`` and another Noise implementation.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import telemetry.protocol.messages as m
from telemetry.model import Role
from telemetry.protocol.channel import AcceptFacts, Opened, ProgrammerChannel, PumpChannel, SessionInfo
from telemetry.protocol.codec import decode_record, encode, pad
from telemetry.protocol.credentials import TEST_ROOT, test_credential, test_pump_secrets, test_slots
from telemetry.protocol.frame import Frame, decode_frame
from telemetry.protocol.handshake import SUITE_LABEL, prologue
from telemetry.protocol.wire import LAYOUT_FINGERPRINT

if TYPE_CHECKING:
    from telemetry.errors import BadPayload

PATH = Path(__file__).parents[1] / "fixtures/vectors/handshake.json"
PUMP_ID = b"SIM-0001"
BOOT_EPOCH = 7
ROLE = Role.CLINICIAN
PROGRAMMER_ENTROPY = {"probe_id": bytes(range(0xA0, 0xA4)), "ephemeral": bytes(range(0x40, 0x60))}
PUMP_ENTROPY = {
    "challenge": bytes(range(0xB0, 0xC0)),
    "ephemeral": bytes(range(0x60, 0x80)),
    "token": bytes(range(0x80, 0xA0)),
}
FACTS = AcceptFacts(
    firmware=0x0001_0000,
    now_s=86_400,
    program_sequence=2,
    program_digest=bytes(range(8)),
    ledger_sequence=3,
    last_operation_counter=4,
    log_sequence=5,
    log_head=bytes(range(8, 16)),
    alarm_sequence=6,
    active_alarms=1,
    failed_attempts=0,
)
ANSWERS: dict[type, m.Message] = {
    m.ReadLedger: m.LedgerHead(ledger_sequence=3, last_operation_counter=4, unacknowledged=0, capacity=64),
    m.Close: m.Closed(alarm_sequence=6),
}


def _plain(value: object) -> object:
    """JSON for a dataclass: bytes as hex, enumerations by value."""
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(item) for key, item in asdict(value).items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.value if isinstance(value, Enum) else value


def build() -> dict[str, object]:
    """Run the session and collect everything."""
    frames: list[tuple[str, Frame, m.Message | None]] = []
    programmer_entropy, pump_entropy = iter(PROGRAMMER_ENTROPY.values()), iter(PUMP_ENTROPY.values())

    def serve(_: SessionInfo, request: m.Message | BadPayload) -> m.Message:
        return ANSWERS[type(request)]

    secrets, credential = test_pump_secrets(PUMP_ID), test_credential(ROLE)
    pump = PumpChannel(
        secrets,
        test_slots(),
        lambda _: next(pump_entropy),
        facts=lambda _: FACTS,
        serve=serve,
        boot_epoch=BOOT_EPOCH,
        tap=lambda direction, frame, message: frames.append((direction, frame, message)),
    )
    side = ProgrammerChannel(
        credential,
        want_role=ROLE,
        entropy=lambda _: next(programmer_entropy),
        operator_ref=b"operator",
        utc_s=1_795_348_800,
    )
    raw: list[bytes] = []

    def settle() -> None:
        while sent := side.take_frames():
            for data in sent:
                raw.append(data)
                for answer in pump.receive(decode_frame(data), 0):
                    raw.append(answer)
                    side.receive(decode_frame(answer), 0)

    side.open(0)
    settle()
    (opened,) = side.take_events()
    if not isinstance(opened, Opened) or pump.session is None:
        raise AssertionError(f"the session did not open: {opened}")
    token = pump.session.token_secret.reveal()
    keys = side.export_keys()
    if keys is None:
        raise AssertionError("an open session has keys")
    for request in (m.ReadLedger(), m.Close()):
        side.request(request, 0)
        settle()
        side.take_events()
    probe, beacon, hello, accept = (decode_frame(data).body for data in raw[:4])
    rows: list[dict[str, object]] = []
    for (direction, frame, message), data in zip(frames, raw, strict=True):
        row: dict[str, object] = {"direction": str(direction), "type": frame.type.name, "frame": data.hex()}
        if message is not None:
            row |= {
                "counter": int.from_bytes(frame.body[:4], "little"),
                "message": type(message).__name__,
                "fields": _plain(message),
                "plaintext": pad(encode(message)).hex(),
            }
        rows.append(row)
    return {
        "schema": "itp-handshake-vector/1",
        "source": "written by python -m tools.handshake_vector; recomputed by tests/protocol/test_handshake_vector.py "
        "with hmac, hashlib and noiseprotocol 0.3.1",
        "units": "byte strings are hex; boot_epoch and wake_ctr are integers; instants in s as in the wire table",
        "inputs": {
            "test_root": TEST_ROOT.hex(),
            "role": ROLE.value,
            "slot": credential.slot,
            "pump_id": PUMP_ID.hex(),
            "boot_epoch": BOOT_EPOCH,
            "wake_ctr": 1,
            "layout_fingerprint": LAYOUT_FINGERPRINT,
            "programmer_entropy": {name: value.hex() for name, value in PROGRAMMER_ENTROPY.items()},
            "pump_entropy": {name: value.hex() for name, value in PUMP_ENTROPY.items()},
        },
        "derived": {
            "pump_public": secrets.static.public.hex(),
            "programmer_public": credential.static.public.hex(),
            "psk": credential.psk.reveal().hex(),
            "gate": credential.gate.reveal().hex(),
            "find_key": secrets.find_key.reveal().hex(),
            "rng_key": secrets.rng_key.reveal().hex(),
            "challenge": beacon[4:20].hex(),
            "wake_tag": beacon[20:28].hex(),
            "gate_mac": hello[4:20].hex(),
            "noise1": hello[20:].hex(),
            "noise2": accept.hex(),
            "prologue": prologue(probe, beacon, hello[:4]).hex(),
            "label": SUITE_LABEL.hex(),
            "handshake_hash": keys.handshake_hash.hex(),
            "key_to_pump": keys.to_pump.hex(),
            "key_from_pump": keys.from_pump.hex(),
            "token_secret": token.hex(),
        },
        "records": {
            "probe": _plain(decode_record("probe", probe)),
            "beacon": _plain(decode_record("beacon", beacon)),
            "hello": _plain(decode_record("hello", hello)),
            "accept_payload": _plain(opened.accept),
        },
        "frames": rows,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(build(), indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or compare it."""
    if "--check" not in arguments:
        PATH.write_text(text(), encoding="utf-8")
        print(f"wrote {PATH}")
        return 0
    if PATH.read_text(encoding="utf-8") == text():
        return 0
    print(f"{PATH} is not what the code makes; run python -m tools.handshake_vector and look at the difference")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
