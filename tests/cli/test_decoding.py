"""``telemetry decode`` is total: any text and any bytes give findings or one clear line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telemetry import FlowRate, connect_sync
from telemetry.cli import decoding
from telemetry.errors import UsageError
from telemetry.protocol import Frame, FrameType, ReadStatus, ReadTelemeter, encode, encode_frame, encode_stream, pad
from telemetry.traffic.dissector import dissector

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done

ASK = encode_frame(Frame(FrameType.TELEMETER_REQ, 0, encode(ReadTelemeter(tag=7))))


def items(data: bytes) -> list[decoding.Item]:
    return list(decoding.find_in(data))


def test_a_bare_frame() -> None:
    (item,) = items(ASK)
    assert (item.kind, item.name) == ("frame", "TELEMETER_REQ")
    assert item.fields == {"message": "ReadTelemeter", "tag": 7}


def test_a_stream_with_noise() -> None:
    damaged = bytearray(encode_stream(ASK))
    damaged[3] ^= 0x10
    found = items(encode_stream(ASK) + b"noise" + bytes(damaged) + encode_stream(ASK))
    assert [item.kind for item in found] == ["frame", "garbage", "garbage", "frame"]
    assert all(item.fields["length_bytes"] for item in found if item.kind == "garbage")


def test_a_stream_whose_last_delimiter_is_missing() -> None:
    (item,) = items(encode_stream(ASK)[:-1])
    assert item.name == "TELEMETER_REQ"


@pytest.mark.parametrize("payload", [encode(ReadStatus()), pad(encode(ReadStatus()))])
def test_a_message_padded_or_not(payload: bytes) -> None:
    (item,) = items(payload)
    assert (item.kind, item.name) == ("message", "ReadStatus")


def test_a_sealed_frame_says_that_it_is_sealed() -> None:
    (item,) = items(encode_frame(Frame(FrameType.REQ, 0, (5).to_bytes(4, "little") + bytes(32))))
    assert item.sealed
    assert item.fields["counter"] == 5
    (short,) = items(encode_frame(Frame(FrameType.RSP, 0, b"x")))
    assert short.fields["counter"] is None


def test_a_frame_whose_body_breaks_its_layout_is_shown_with_the_reason() -> None:
    (item,) = items(encode_frame(Frame(FrameType.PROBE, 0, b"\x01")))
    assert item.kind == "frame"
    assert "unreadable" in item.fields


@given(st.binary(max_size=600))
def test_any_bytes_are_found_to_be_something(data: bytes) -> None:
    found = items(data)
    assert found
    json.dumps([item.as_json() for item in found])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".telcap", ".bin", ""]))
def test_any_file_gives_findings_or_one_clear_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    try:
        found = decoding.find(str(path))
    except UsageError as refused:
        said = str(refused)
    else:
        said = f"{path}: " + json.dumps([item.as_json() for item in found.items])
    assert str(path) in said


@given(st.text(max_size=80))
def test_any_text_gives_findings_or_one_clear_line(text: str) -> None:
    try:
        found = decoding.find(text)
    except UsageError as refused:
        said = str(refused)
    else:
        assert found.items
        said = "hexadecimal"
    assert "hexadecimal" in said


@pytest.mark.parametrize("text", ["02010", "0x02 01 0", "02:01:0"])
def test_half_a_byte_is_told(text: str) -> None:
    with pytest.raises(UsageError, match=r"5 hex digits are an odd number.*hexadecimal text"):
        decoding.find(text)


@pytest.mark.parametrize("text", ["0x" + ASK.hex(), ASK.hex(" "), ASK.hex(":").upper()])
def test_hexadecimal_text_in_every_hand(text: str) -> None:
    assert decoding.find(text).items[0].name == "TELEMETER_REQ"


def test_a_file_of_hexadecimal_text(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text(ASK.hex(" ") + "\n", encoding="ascii")
    assert decoding.find(str(path)).items[0].name == "TELEMETER_REQ"


def test_a_capture_with_all_that_can_be_in_one(tmp_path: Path) -> None:
    path = tmp_path / "x.telcap"
    stream = encode_stream(ASK)
    lines: list[dict[str, object]] = [
        {"format": "telcap", "version": 1, "simulated": None, "tool": "t", "started": None},
        {"link": 1, "at_ms": 0, "opened": "tcp://x:1", "datagrams": False},
        {"link": 2, "at_ms": 0, "opened": "sim:", "datagrams": True},
        {"link": 1, "at_ms": 1, "dir": "tx", "hex": stream.hex()},
        {"link": 2, "at_ms": 2, "dir": "rx", "hex": ASK.hex()},
        {"link": 2, "at_ms": 3, "dir": "rx", "hex": "0102"},
        {"link": 1, "at_ms": 3, "dir": "rx", "hex": "00"},
        {"note": "a remark"},
        {"keys": {"a": "00"}},
        {"link": 1, "at_ms": 4, "lost": "cable"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text + '{"link":1', encoding="utf-8")
    found = decoding.find(str(path))
    kinds = [item.kind for item in found.items]
    assert kinds == [
        "link",
        "link",
        "frame",
        "frame",
        "garbage",
        "garbage",
        "note",
        "note",
        "link",
        "garbage",
    ]
    assert found.simulated is None


def test_a_file_that_is_too_long_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(bytes(20))
    monkeypatch.setattr(decoding, "_LARGEST_FILE_BYTES", 10)
    with pytest.raises(UsageError, match="20 bytes are more than 10"):
        decoding.find(str(path))


@pytest.mark.real
def test_the_command_shows_garbage_with_its_reason(telemetry: Callable[..., Done]) -> None:
    done = telemetry("decode", "01020304")
    assert done.status == 0
    assert "garbage" in done.out
    assert "too_short" in done.out
    found = telemetry("decode", "01020304", "--json").json
    assert (found["frames"], found["garbage"], found["simulated"]) == (0, 1, None)


SET_RATE_HEX = (
    "1001 3a00 0100000000000000d7c48fdd1f8103d0 0000000000000000 01000000 a41c3038141b0a49 0100 80841e00 01000000 "
    "f0490200 e093040000000000"
)
CAPTURES = Path(__file__).parents[2] / "fixtures" / "captures"


def visit(tmp_path: Path) -> Path:
    """A recorded visit: a rate is set."""
    path = tmp_path / "visit.telcap"
    with connect_sync(f"sim:?record={path}") as programmer:
        programmer.set_rate(FlowRate.parse("0.150 ml/day"))
        programmer.read_alarms()
        programmer.read_log()
    return path


@pytest.mark.real
def test_hexadecimal_text_is_explained_byte_by_byte(telemetry: Callable[..., Done]) -> None:
    done = telemetry("decode", SET_RATE_HEX)
    assert done.status == 0
    assert re.search(r"50 +│ f0490200 +│ rate_nl_per_day +│ 150000 nl/day = 0.150", done.out)
    assert "operation 1 of its slot" in done.out
    assert "✓ SetRate is right in every field" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    (item,) = telemetry("decode", SET_RATE_HEX, "--json").json["items"]
    assert item["explanation"]["whole"] is True
    rows = {row["field"]: row for row in item["explanation"]["parts"][0]["rows"]}
    assert rows["rate_nl_per_day"] == {
        "offset": 50,
        "length": 4,
        "hex": "f0490200",
        "field": "rate_nl_per_day",
        "value": "150000",
        "unit": "nl/day",
        "meaning": "0.150 ml/day",
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ASK.hex()[:-2] + "00", ["✗ no frame: crc", "right would be 0x", "zlib.crc32"]),
        (SET_RATE_HEX.replace("80841e00", "80841e"), ["✗ SetRate is refused", "length: 58 bytes declared, 57 after"]),
        (SET_RATE_HEX.replace("0100 8084", "0900 8084"), ["0x0009 is no code of the table", "✗ unknown_code"]),
        ("0005010100", ["✗ no frame: cobs", "put a zero before and behind"]),
        ("10010000", ["truncated", "docs/protocol.md, 7"]),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(text: str, said: list[str], telemetry: Callable[..., Done]) -> None:
    done = telemetry("decode", text)
    assert done.status == 0
    shown = " ".join(done.out.replace("│", " ").split())
    for words in said:
        assert words in shown, shown


@pytest.mark.real
def test_a_capture_shows_what_was_sealed_as_quantities_and_orders(
    tmp_path: Path, telemetry: Callable[..., Done]
) -> None:
    path = visit(tmp_path)
    done = telemetry("decode", str(path))
    shown = " ".join(re.sub(r"[│╭╮╰╯─]|(?<=│) +(?=│)", " ", done.out).split())
    assert "rate 0.150 ml/day; dose 300 µg/day" in shown
    assert "program_image: schema 1; mode simple_continuous" in shown
    assert "records[0]: sequence" in shown
    assert "image 010e" not in shown
    found = telemetry("decode", str(path), "--json").json
    (staged,) = [one for one in found["items"] if one["fields"].get("opened", {}).get("name") == "Staged"]
    order = staged["fields"]["opened"]["order"]
    assert (order["image"], order["rate_nl_per_day"], order["steps"]) == ("program_image", 150_000, [])
    assert staged["fields"]["opened_by"] == "keys"
    (log,) = [one for one in found["items"] if one["fields"].get("opened", {}).get("name") == "LogPage"]
    assert log["fields"]["opened"]["records"][0]["code"] == "power_on"


@pytest.mark.real
def test_a_capture_is_looked_at_by_link_and_type(tmp_path: Path, telemetry: Callable[..., Done]) -> None:
    path = visit(tmp_path)
    found = telemetry("decode", str(path), "--type", "set-rate", "--json").json
    assert (found["frames"], found["items"][0]["fields"]["opened"]["rate_nl_per_day"]) == (1, 150_000)
    assert telemetry("decode", str(path), "--type", "BEACON", "--json").json["frames"] == 1
    assert telemetry("decode", str(path), "--link", "1", "--json").json["frames"] > 10
    shown = telemetry("decode", str(path), "--type", "Staged", "--explain").out
    assert "the image of the order" in shown
    assert "others not shown" in shown
    unknown = telemetry("decode", str(path), "--link", "2")
    assert (unknown.status, "--link: 2 is none of the links: 1" in unknown.err) == (2, True)
    no_type = telemetry("decode", str(path), "--type", "SetRat")
    assert no_type.status == 2
    assert "--type: 'SetRat' is none of ReadIdentity" in no_type.err


@pytest.mark.real
def test_a_capture_is_written_for_wireshark(tmp_path: Path, telemetry: Callable[..., Done]) -> None:
    path, out = visit(tmp_path), tmp_path / "visit.pcapng"
    done = telemetry("decode", str(path), "--pcapng", str(out))
    assert (done.status, done.out) == (0, "")
    assert "packets for Wireshark" in done.err
    assert out.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    found = telemetry("decode", str(path), "--pcapng", str(out), "--json").json
    assert found["pcapng"] == str(out)
    assert found["packets"] == telemetry("decode", str(path), "--json").json["frames"]
    for arguments, said in (
        ((ASK.hex(), "--pcapng", str(out)), "hex is no capture"),
        ((str(path), "--pcapng", str(tmp_path)), "cannot be written"),
        ((str(path), "--pcapng", str(out), "--type", "Status"), "no --type"),
        ((str(path), "--pcapng", "-", "--json"), "standard output is taken"),
    ):
        refused = telemetry("decode", *arguments)
        assert refused.status == 2
        assert said in refused.err


@pytest.mark.real
def test_the_dissector_is_written_where_it_is_wanted(tmp_path: Path, telemetry: Callable[..., Done]) -> None:
    out = tmp_path / "itp.lua"
    assert telemetry("dissector").out == dissector()
    done = telemetry("dissector", "-o", str(out))
    assert (done.status, done.out, out.read_text(encoding="utf-8")) == (0, "", dissector())
    assert telemetry("dissector", "-o", str(tmp_path)).status == 2


def test_what_the_recorder_said_is_told_apart_from_what_the_keys_open(tmp_path: Path) -> None:
    lines = visit(tmp_path).read_text(encoding="utf-8").splitlines()
    said = [line.replace('"rate_nl_per_day":150000', '"rate_nl_per_day":160000') for line in lines]
    (tmp_path / "said.telcap").write_text("\n".join(said), encoding="utf-8")
    (tmp_path / "keyless.telcap").write_text("\n".join(x for x in said if '"keys"' not in x), encoding="utf-8")
    bare = [re.sub(r',"message":\{.*\}\}$', "}", line) for line in lines if '"keys"' not in line]
    (tmp_path / "bare.telcap").write_text("\n".join(bare), encoding="utf-8")

    def set_rate(name: str) -> dict[str, object]:
        found = decoding.find(str(tmp_path / name)).chosen(None, "SetRate")
        return found[0].fields if found else {}

    opened = set_rate("said.telcap")
    assert cast("dict[str, object]", opened["opened"])["rate_nl_per_day"] == 150_000
    assert cast("dict[str, object]", opened["recorded_otherwise"])["rate_nl_per_day"] == 160_000
    recorded = set_rate("keyless.telcap")
    assert recorded["opened_by"] == "recorded"
    assert set_rate("bare.telcap") == {}
    shut = decoding.find(str(tmp_path / "bare.telcap")).chosen(None, "REQ")[0]
    assert shut.fields["shut"] == "no_keys"


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.telcap")), ids=lambda path: path.stem)
def test_every_item_of_a_recorded_visit_is_explained(path: Path) -> None:
    for item in decoding.find(str(path)).items:
        if item.explain is not None:
            explanation = item.explain()
            assert explanation.whole, explanation
            json.dumps(item.as_json(explained=True))


def test_an_order_that_came_in_parts_is_shown_with_its_last_one() -> None:
    opened = [
        cast("dict[str, object]", item.fields["opened"])
        for item in decoding.find(str(CAPTURES / "every-message.telcap")).items
        if "opened" in item.fields
    ]
    staged = [one for one in opened if one["name"] == "Staged" and one["part"] != 0]
    assert staged
    assert all(cast("dict[str, object]", one["order"])["steps"] for one in staged)
    assert not [one for one in opened if one["name"] == "ReadBack" and "order" in one]
