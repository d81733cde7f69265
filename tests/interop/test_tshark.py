"""What tshark makes of our packets, field by field, against our decoder and against the one written from the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, cast

import pytest

from telemetry import FlowRate, connect_sync
from telemetry.errors import BadFrame, BadPayload
from telemetry.protocol import codec
from telemetry.protocol.frame import MAX_SEGMENT, Frame, decode_frame, encode_frame, encode_stream
from telemetry.protocol.messages import Beacon, ClockImage, ReadTelemeter
from telemetry.protocol.wire import BY_NAME, HANDSHAKE, IMAGES, MESSAGES, RECORDS, FrameType, Kind, Plane
from telemetry.therapy import ProgramStep
from telemetry.traffic.dissector import FRAME_FAULTS, layout_name, layouts
from telemetry.traffic.explaining_orders import Orders
from telemetry.traffic.explaining_units import Form, form_of, meaning
from telemetry.traffic.opening import open_capture
from telemetry.traffic.pcapng import Direction, Interface, Packet, pcapng
from telemetry.traffic.pcapng_export import HEADER, export, pack
from telemetry.transport.capture import read_capture
from tests.support import random_messages
from tests.support.itp_packets import (
    FRAME_OF,
    LINKTYPE_RAW,
    clear,
    ip_packets,
    packet_of,
    packets_of_record,
    sealed,
)
from tests.support.tshark_comparison import (
    DIALECT,
    FIXTURES,
    ROOT,
    expected_message,
    of_vectors_and_random,
    table_names,
    write,
)
from tests.support.wireshark import Tshark

if TYPE_CHECKING:
    from pathlib import Path

    from telemetry.protocol.messages import ProgramImage
    from telemetry.protocol.wire import Field, MessageSpec
    from tests.support.wireshark import Seen

pytestmark = [pytest.mark.real, pytest.mark.slow]

RANDOM_PER_TYPE = 25
"""Of messages; ``benchmarks/tshark.py`` compares 200 of each."""
MUTANTS = 1200


@pytest.fixture(scope="module")
def tshark(tmp_path_factory: pytest.TempPathFactory) -> Tshark:
    return Tshark(tmp_path_factory.mktemp("tshark"))


def test_every_message_and_field_is_seen_as_both_decoders_see_it(tshark: Tshark, tmp_path: Path) -> None:
    comparison = of_vectors_and_random(20270301, RANDOM_PER_TYPE)
    comparison.run(tshark, tmp_path / "all.pcapng")

    assert comparison.differences == []
    assert comparison.types == {spec.name for spec in MESSAGES} | set(IMAGES) | set(HANDSHAKE)
    assert table_names() - comparison.names == set()
    of_layouts = {name for name in tshark.types if name.split(".")[1] in layouts() and name.count(".") > 1}
    assert of_layouts == table_names()
    assert comparison.fields > 10_000


def test_quantities_are_written_as_we_write_them(tshark: Tshark, tmp_path: Path) -> None:
    rng = Random(20270302)
    payloads = [
        codec.encode(random_messages.message(rng, spec)) for spec in MESSAGES for _ in range(6) if told_whole(spec)
    ]
    messages = [codec.decode(payload) for payload in payloads]
    specs = [BY_NAME[type(message).__name__] for message in messages]
    packets = [packet_of(payload, spec.plane) for payload, spec in zip(payloads, specs, strict=True)]
    compared: set[Form] = set()
    for seen, message, spec in zip(tshark.packets(write(tmp_path / "x.pcapng", packets)), messages, specs, strict=True):
        for field in spec.fields:
            value = getattr(message, field.name)
            if field.kind is Kind.UINT and value is not None:
                said = meaning(field, value)
                wanted = f"{field.name}: {value} ({said})" if said else f"{field.name}: {value}"
                assert wanted in seen.texts, (spec.name, field.name, value)
                compared.add(form_of(field))
    for seen, (value, field) in zip(*written_records(tshark, tmp_path, rng), strict=True):
        said = meaning(field, value)
        assert (f"{field.name}: {value} ({said})" if said else f"{field.name}: {value}") in seen.texts
        compared.add(form_of(field))
    assert compared == set(Form)


def told_whole(spec: MessageSpec) -> bool:
    """Whether a random one always fits a frame."""
    return spec.name == "Staged" or all(field.kind not in (Kind.BLOB, Kind.RECORDS) for field in spec.fields)


def written_records(tshark: Tshark, tmp_path: Path, rng: Random) -> tuple[list[Seen], list[tuple[int, Field]]]:
    """Forms that no message has: dates at their edges, zones, the minutes and days of schedules, flags."""
    packets: list[list[bytes]] = []
    wanted: list[tuple[int, Field]] = []
    clock, beacon, program = (random_messages.LAYOUTS[name] for name in ("clock_image", "beacon", "program_step"))
    link = 100
    edges = [0, 86_399, 951_782_400, 951_868_800, 1_709_164_800, 4_107_542_399, 4_107_542_400, (1 << 32) - 1]
    for utc_s in [*edges, *(rng.randint(0, (1 << 32) - 1) for _ in range(40))]:
        zone = rng.randint(-1440, 1440)
        for field, value in ((clock[1], utc_s), (clock[2], zone)):
            link += 1
            image = codec.encode_record("clock_image", ClockImage(1, utc_s, zone))
            packets.append(packets_of_record("clock_image", image, link))
            wanted.append((value, field))
    for flags in range(8):
        record = Beacon(1, 1, flags, 0, bytes(16), bytes(8), bytes(4))
        packets.append([clear(FrameType.BEACON, codec.encode_record("beacon", record))])
        wanted.append((flags, beacon[2]))
    for days in (1, 0x55, 0x7F):
        steps = (ProgramStep(days, 23 * 60 + 59, 1, 2),)
        given = cast("ProgramImage", random_messages.record(rng, "program_image"))
        for field, value in ((program[0], days), (program[1], 23 * 60 + 59)):
            link += 1
            image = codec.encode_record("program_image", replace(given, steps=steps))
            packets.append(packets_of_record("program_image", image, link))
            wanted.append((value, field))
    seen = tshark.packets(write(tmp_path / "y.pcapng", [one for group in packets for one in group]))
    ends = [sum(len(group) for group in packets[: index + 1]) - 1 for index in range(len(packets))]
    return [seen[end] for end in ends], wanted


@pytest.mark.parametrize("name", ["payloads", "padding"])
def test_every_hostile_message_is_refused_by_name(name: str, tshark: Tshark, tmp_path: Path) -> None:
    hostile = json.loads((FIXTURES / "hostile" / f"{name}.json").read_text())
    vectors = [one for one in hostile if one["hex"] or name == "padding"]
    packets: list[bytes] = []
    wanted: list[dict[str, str]] = []
    for vector in vectors:
        data = bytes.fromhex(vector["hex"])
        if name == "padding" and data:
            packets.append(sealed(FrameType.RSP if data[0] & 0x80 else FrameType.REQ, data))
        elif name == "payloads":
            # Unpadded, as the vectors are: in a frame of the telemeter's plane the payload is the body.
            packets.append(clear(FrameType.TELEMETER_RSP, data))
        else:
            continue
        wanted.append(vector)
    for seen, vector in zip(tshark.packets(write(tmp_path / "x.pcapng", packets)), wanted, strict=True):
        assert vector["reason"] in seen.faults, (vector, seen.faults)


def test_every_hostile_frame_is_refused_by_its_first_fault(tshark: Tshark, tmp_path: Path) -> None:
    vectors = json.loads((FIXTURES / "hostile" / "frames.json").read_text())
    packets = [pack(bytes.fromhex(one["hex"]), direction=Direction.INBOUND, link=1) for one in vectors]
    for seen, vector in zip(tshark.packets(write(tmp_path / "x.pcapng", packets)), vectors, strict=True):
        with pytest.raises(BadFrame):
            decode_frame(bytes.fromhex(vector["hex"]))
        assert [told(fault) for fault in seen.faults] == [vector["reason"]], vector


def told(fault: str) -> str:
    """A fault of the dissector by the name that the specification has."""
    return {name: fault for fault, name in FRAME_FAULTS.items()}.get(fault, fault)


def test_records_that_cannot_be_are_refused_by_name(tshark: Tshark, tmp_path: Path) -> None:
    vectors = [
        one
        for one in json.loads((FIXTURES / "hostile" / "records.json").read_text())
        if one["record"] not in RECORDS and one["hex"]
    ]
    groups = [packets_of_record(one["record"], bytes.fromhex(one["hex"]), 2 + at) for at, one in enumerate(vectors)]
    seen = tshark.packets(write(tmp_path / "x.pcapng", [one for group in groups for one in group]))
    end = -1
    for group, vector in zip(groups, vectors, strict=True):
        end += len(group)
        assert vector["reason"] in seen[end].faults + seen[end].image_faults, (vector, seen[end])
    assert len(vectors) > 12


def mutated(rng: Random, data: bytes) -> bytes:
    """Bytes changed, cut, put in or taken out."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at = rng.randrange(len(changed)) if changed else 0
        act = rng.randrange(5)
        if act == 0 and changed:
            changed[at] = rng.randrange(256)
        elif act == 1 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif act == 2 and changed:
            del changed[at : at + rng.randint(1, 4)]
        elif act == 3:
            changed[at:at] = rng.randbytes(rng.randint(1, 4))
        else:
            del changed[rng.randint(0, len(changed)) :]
    return bytes(changed)


def verdict(plaintext: bytes, plane: Plane) -> str | None:
    """What our decoder says of a plaintext: nothing, or the name of the first fault."""
    try:
        codec.decode(plaintext if plane is Plane.TELEMETER else codec.unpad(plaintext), plane=plane)
    except BadPayload as error:
        return error.reason.partition(":")[0]
    return None


def test_a_mutated_message_is_faulted_exactly_where_our_decoder_refuses_it(tshark: Tshark, tmp_path: Path) -> None:
    rng = Random(20270303)
    packets: list[bytes] = []
    verdicts: list[str | None] = []
    while len(packets) < MUTANTS:
        spec = rng.choice(MESSAGES)
        payload = codec.encode(random_messages.message(rng, spec))
        if len(payload) > 200:
            continue
        sealed_plane = spec.plane is not Plane.TELEMETER
        plaintext = mutated(rng, codec.pad(payload) if sealed_plane and rng.random() < 0.3 else payload)
        if sealed_plane and len(plaintext) % 16 and rng.random() < 0.8:
            plaintext += bytes(-len(plaintext) % 16)
        if not plaintext:
            continue
        packets.append(
            sealed(FRAME_OF[spec.plane], plaintext) if sealed_plane else clear(FrameType.TELEMETER_REQ, plaintext)
        )
        verdicts.append(verdict(plaintext, spec.plane))
    refused = 0
    for seen, fault in zip(tshark.packets(write(tmp_path / "x.pcapng", packets)), verdicts, strict=True):
        faults = [one for one in seen.faults if one != "sealed"]
        assert (fault in faults) if fault else not faults, (fault, faults, seen)
        refused += fault is not None
    assert MUTANTS / 4 < refused < MUTANTS


def test_a_packet_that_is_none_is_said_to_be_none(tshark: Tshark, tmp_path: Path) -> None:
    rng = Random(20270304)
    whole = packet_of(codec.encode(random_messages.message(rng, BY_NAME["Status"])), Plane.ANSWER)
    cut = [whole[:size] for size in range(len(whole))]
    behind = [whole + b"x", whole.replace(b"\x01\x0c", b"\x02\x0c", 1), whole.replace(b"\x01\x0c", b"\x01\x0b", 1)]
    header = HEADER.pack(1, HEADER.size, 3, 0xF4, 1, len(whole) - HEADER.size, 0) + whole[HEADER.size :]
    noise = [mutated(rng, whole) for _ in range(300)] + [rng.randbytes(rng.randint(0, 80)) for _ in range(300)]
    seen = tshark.packets(write(tmp_path / "x.pcapng", [whole, *cut, *behind, header, *noise]))
    assert seen[0].faults == []
    assert all("capture" in one.faults for one in seen[1 : 1 + len(cut) + len(behind)])
    assert seen[1 + len(cut) + len(behind)].faults.count("capture") == 2


@pytest.mark.parametrize("path", sorted((FIXTURES / "captures").glob("*.telcap")), ids=lambda path: path.stem)
def test_a_recorded_visit_is_seen_as_we_open_it(path: Path, tshark: Tshark, tmp_path: Path) -> None:
    capture = read_capture(path)
    data, count = export(capture, path.name)
    (tmp_path / "x.pcapng").write_bytes(data)
    seen = tshark.packets(tmp_path / "x.pcapng")
    frames = list(open_capture(capture))
    assert len(seen) == len(frames) == count
    orders: dict[int, Orders] = {}
    images = 0
    for one, frame in zip(seen, frames, strict=True):
        assert one.frames == [frame.name if frame.frame is None else frame.frame.type.name]
        if frame.message is not None:
            wanted = expected_message(codec.encode(frame.message))
            assert (one.message, one.fields_of(layout_name(wanted.name))) == (wanted.name, wanted.fields)
            image = orders.setdefault(frame.link, Orders()).follow(frame.message)
            if image is not None and image.name is not None:
                assert one.fields_of(image.name) == DIALECT.record(image.name, image.data)
                images += 1
    if path.stem == "every-message":
        # A message that no capture holds would be compared by nobody.
        assert {one.message for one in seen if one.message} == {spec.name for spec in MESSAGES}
        assert images > 3


def test_capinfos_reads_what_the_file_says_of_itself(tshark: Tshark, tmp_path: Path) -> None:
    said = tshark.capinfos(visit(tmp_path))
    assert "File encapsulation:  USER 0" in said
    assert "SIMULATED devices only; not for clinical use" in said
    assert "Name = link 1" in said
    assert "Strict time order:   True" in said


def test_a_whole_capture_goes_through_with_everything_it_holds(tshark: Tshark, tmp_path: Path) -> None:
    shown = tshark.text(visit(tmp_path), "-T", "fields", "-e", "_ws.col.Info", "-e", "frame.comment")
    assert "SetRate rate 0.150 ml/day, dose 300 µg/day" in shown
    assert "VerdictReport verdict applied" in shown
    assert "before this: link 1 opened at" in shown
    assert "after this: link 1 closed at" in shown
    program = tshark.packets(tmp_path / "visit.pcapng")
    images = [one.fields_of("program_image") for one in program if one.message in {"Staged", "ProgramReport"}]
    assert [image["rate_nl_per_day"] for image in images] == [150_000]
    assert [one.faults for one in program if one.faults] == []


def visit(tmp_path: Path) -> Path:
    """A short visit of the driver, recorded, and exported."""
    path = tmp_path / "visit.telcap"
    with connect_sync(f"sim:?record={path}") as programmer:
        programmer.set_rate(FlowRate.parse("0.150 ml/day"))
    data, _ = export(read_capture(path), path.name)
    (tmp_path / "visit.pcapng").write_bytes(data)
    return tmp_path / "visit.pcapng"


# By its looks a stream is found where its first segment holds a whole frame.
@pytest.mark.parametrize(("port", "size"), [(7410, 10_000), (7410, 61), (7410, 7), (50_123, 10_000), (50_123, 61)])
def test_a_tcp_stream_shows_its_frames(port: int, size: int, tshark: Tshark, tmp_path: Path) -> None:
    rng = Random(20270305)
    # The first frame is small enough to lie whole in every chunk that the heuristic is to find.
    bodies = [(FrameType.TELEMETER_REQ, codec.encode(ReadTelemeter(tag=1)))]
    bodies += [(FrameType.REQ, rng.randbytes(36 + 16 * rng.randint(0, 12))) for _ in range(20)]
    stream = b"".join(encode_stream(encode_frame(Frame(kind, 0, body))) for kind, body in bodies)
    stream += b"\0noise" + encode_stream(encode_frame(Frame(FrameType.PROBE, 0, bytes(8))))[:-3] + b"\x07\0"
    stream += b"\x05" * (MAX_SEGMENT + 40) + b"\0" + encode_stream(encode_frame(Frame(FrameType.PROBE, 0, bytes(8))))
    chunks = [(True, stream[at : at + size]) for at in range(0, len(stream), size)]
    path = tmp_path / "tcp.pcapng"
    packets = [Packet(0, at, data) for at, data in enumerate(ip_packets(chunks, port))]
    path.write_bytes(pcapng("a test", (), (Interface("lo", link_type=LINKTYPE_RAW),), packets))
    seen = tshark.packets(path)
    frames = [name for one in seen for name in one.frames]
    assert [name for name in frames if name != "?"][: len(bodies)] == [kind.name for kind, _ in bodies]
    assert frames[-1] == "PROBE"
    faults = [fault for one in seen for fault in one.faults if fault != "sealed"]
    assert faults.count("cobs") + faults.count("crc") >= 2
    assert "too_long" in faults


def test_every_stream_of_the_fixtures_gives_its_items(tshark: Tshark, tmp_path: Path) -> None:
    for vector in json.loads((FIXTURES / "hostile" / "streams.json").read_text()):
        # A zero more ends what is unfinished, as a capture that goes on would.
        packets = [Packet(0, 0, data) for data in ip_packets([(True, bytes.fromhex(vector["hex"]) + b"\0")], 7410)]
        path = tmp_path / f"{vector['name']}.pcapng"
        path.write_bytes(pcapng("a test", (), (Interface("lo", link_type=LINKTYPE_RAW),), packets))
        (seen,) = tshark.packets(path)
        reasons = [one["reason"] for one in vector["items"] if "reason" in one]
        faults = [told(fault) for fault in seen.faults if fault != "sealed" and fault in FRAME_FAULTS.values()]
        assert faults[: len(reasons)] == reasons, vector
        frames = [decode_frame(bytes.fromhex(one["frame"])).type.name for one in vector["items"] if "frame" in one]
        # A stranger's frame has a right CRC as well; what is asked is that none of ours is missing or out of order.
        right = iter([name for name, good in zip(seen.frames, seen.crc_good, strict=True) if good])
        assert all(name in right for name in frames), vector


def test_another_stream_is_left_alone(tshark: Tshark, tmp_path: Path) -> None:
    rng = Random(20270306)
    chunks = [(True, bytes(1) + rng.randbytes(200)) for _ in range(40)] + [(False, b"\0\0\0"), (False, b"HTTP/1.1 200")]
    damaged = bytearray(encode_stream(encode_frame(Frame(FrameType.PROBE, 0, b"\1\2\3\4\5\6\7\x08"))))
    damaged[8] ^= 0x40
    chunks += [(True, bytes(damaged))]
    path = tmp_path / "tcp.pcapng"
    packets = [Packet(0, at, data) for at, data in enumerate(ip_packets(chunks, 50_123))]
    path.write_bytes(pcapng("a test", (), (Interface("lo", link_type=LINKTYPE_RAW),), packets))
    assert all(not one.names for one in tshark.packets(path))


FILTERS = re.findall(
    r"^\| `(itp\.[^`]+)` \|", (ROOT / "docs" / "wireshark.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("shown", FILTERS)
def test_a_filter_of_the_page_finds_what_it_says(shown: str, tshark: Tshark, tmp_path: Path) -> None:
    data, count = export(read_capture(FIXTURES / "captures" / "every-message.telcap"), "every-message")
    (tmp_path / "x.pcapng").write_bytes(data)
    found = tshark.text(tmp_path / "x.pcapng", "-Y", shown.replace("\\|", "|")).splitlines()
    assert len(found) < count
    assert not found or "itp.fault" not in shown


def test_another_port_is_decoded_on_demand(tshark: Tshark, tmp_path: Path) -> None:
    stream = encode_stream(encode_frame(Frame(FrameType.PROBE, 0, bytes(8))))
    # Cut so that no segment holds a whole frame: its looks would not be enough.
    packets = [
        Packet(0, at, data) for at, data in enumerate(ip_packets([(True, stream[:9]), (True, stream[9:])], 9000))
    ]
    path = tmp_path / "tcp.pcapng"
    path.write_bytes(pcapng("a test", (), (Interface("lo", link_type=LINKTYPE_RAW),), packets))
    assert "PROBE" not in tshark.text(path)
    assert "PROBE" in tshark.text(path, "-d", "tcp.port==9000,itp_stream")
