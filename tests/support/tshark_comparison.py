"""What must be seen in packets, by our decoder and by the one written from the page, and the comparison with tshark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

from telemetry.errors import UsageError
from telemetry.protocol import codec
from telemetry.protocol.plain import describe
from telemetry.protocol.wire import BITMAPS, HANDSHAKE, IMAGES, MESSAGES, RECORDS, Kind, Plane
from telemetry.traffic.dissector import layout_name, layouts
from telemetry.traffic.pcapng import Interface, Packet, pcapng
from tests.reference import decoder as reference
from tests.support import random_messages
from tests.support.itp_packets import packet_of, packets_of_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telemetry.protocol.records import RecordName
    from tests.support.wireshark import Seen, Tshark, Value

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
DIALECT = reference.Dialect()


def write(path: Path, packets: Sequence[bytes]) -> Path:
    path.write_bytes(
        pcapng(
            "a test", ("SIMULATED",), (Interface("link 1"),), [Packet(0, at, data) for at, data in enumerate(packets)]
        )
    )
    return path


@dataclass(frozen=True)
class Expected:
    """What must be seen in a packet: a message, a record or an image, with its fields as the reference reads them."""

    name: str
    header: dict[str, Value] | None
    fields: dict[str, Value]

    @property
    def heading(self) -> tuple[str, dict[str, Value] | None]:
        return self.name, self.header


def leaves(value: Value) -> int:
    if isinstance(value, dict):
        return sum(leaves(item) for item in value.values())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(leaves(item) for item in value)
    return 1


def expected_message(payload: bytes) -> Expected:
    found = DIALECT.message(payload)
    header = {name: value for name, value in cast("dict[str, Value]", found["header"]).items() if name != "opcode"}
    return Expected(cast("str", found["message"]), header, cast("dict[str, Value]", found["fields"]))


class Comparison:
    """Packets and what must be seen in them; ``run`` compares, and counts what it compared."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.expected: dict[int, Expected] = {}
        self.types: set[str] = set()
        self.names: set[str] = set()
        self.differences: list[tuple[Expected, Seen]] = []
        self.fields = 0
        self._link = 1

    def message(self, payload: bytes, plane: Plane) -> None:
        wanted = self.expected[len(self.packets)] = expected_message(payload)
        ours = {name: value for name, value in bare(describe(codec.decode(payload))).items() if name in wanted.fields}
        assert ours == wanted.fields, (ours, wanted)
        self.packets.append(packet_of(payload, plane))

    def record(self, name: str, data: bytes) -> None:
        self._link += 1
        self.packets += packets_of_record(name, data, self._link)
        self.expected[len(self.packets) - 1] = Expected(name, None, DIALECT.record(name, data))

    def run(self, tshark: Tshark, path: Path) -> None:
        seen = tshark.packets(write(path, self.packets))
        assert len(seen) == len(self.packets)
        for index, wanted in self.expected.items():
            one = seen[index]
            told = {name: value for name, value in one.header.items() if name not in ("opcode", "length")}
            got = (one.faults, one.fields_of(layout_name(wanted.name)))
            if got != ([], wanted.fields) or (wanted.header is not None and (one.message, told) != wanted.heading):
                self.differences.append((wanted, one))
            self.types.add(wanted.name)
            self.names |= one.names
            self.fields += leaves(wanted.fields)


def bare(described: Mapping[str, object]) -> dict[str, Value]:
    """What our decoder says, without the names of layouts."""

    def rows(value: object) -> Value:
        if isinstance(value, list):
            return [bare(item) if isinstance(item, dict) else cast("Value", item) for item in value]
        return cast("Value", value)

    return {name: rows(value) for name, value in described.items() if name != "name"}


def table_names() -> set[str]:
    """Every field that the wire table has, as tshark must name it; bits of bitmaps and absent instants included."""
    found: set[str] = set()
    for layout, fields in layouts().items():
        for field in fields:
            name = f"itp.{layout}.{field.name}"
            found.add(f"{name}.count" if field.kind is Kind.RECORDS else name)
            if field.kind is Kind.BLOB:
                found.add(f"{name}.length")
            if field.none is not None:
                found.add(f"{name}.none")
            if field.kind is Kind.BITMAP:
                found |= {f"{name}.{member.value}" for member in BITMAPS[field.table].values()}
    return found


def of_vectors_and_random(seed: int, each: int) -> Comparison:
    """Every committed vector, and ``each`` random ones of every message, image and handshake body."""
    comparison = Comparison()
    for vector in json.loads((FIXTURES / "vectors" / "messages.json").read_text()):
        comparison.message(bytes.fromhex(vector["hex"]), Plane(vector["plane"]))
        assert comparison.expected[len(comparison.packets) - 1].fields == vector["fields"]
    for vector in json.loads((FIXTURES / "vectors" / "records.json").read_text()):
        if vector["record"] not in RECORDS:  # those are inside messages and images
            comparison.record(vector["record"], bytes.fromhex(vector["hex"]))
    rng = Random(seed)
    for spec in MESSAGES:
        for _ in range(each):
            message = random_messages.message(rng, spec)
            try:
                payload = codec.encode(message)
                codec.pad(payload)
            except UsageError:
                continue  # lists and blobs that together are more than a frame holds
            comparison.message(payload, spec.plane)
            assert codec.decode(payload) == message
    for name in (*IMAGES, *HANDSHAKE):
        for _ in range(each):
            data = codec.encode_record(cast("RecordName", name), random_messages.record(rng, name))
            comparison.record(name, data)
    return comparison
