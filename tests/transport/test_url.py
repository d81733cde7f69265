from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.transport.url import parse_url


@pytest.mark.parametrize(
    ("text", "scheme", "address", "params"),
    [
        ("sim:", "sim", "", {}),
        ("sim:?profile=itb-40&seed=7&age=ERI-1d", "sim", "", {"profile": "itb-40", "seed": "7", "age": "ERI-1d"}),
        ("serial:///dev/ttyUSB0?baudrate=115200", "serial", "/dev/ttyUSB0", {"baudrate": "115200"}),
        ("serial+socket://host:7410", "serial+socket", "host:7410", {}),
        ("serial+spy:///dev/ttyUSB0", "serial+spy", "/dev/ttyUSB0", {}),
        ("TCP://127.0.0.1:7410", "tcp", "127.0.0.1:7410", {}),
        ("pty:", "pty", "", {}),
        ("pty:///tmp/a%20b", "pty", "/tmp/a b", {}),  # noqa: S108 - a name, no file
        ("ble://AA:BB:CC:DD:EE:FF", "ble", "AA:BB:CC:DD:EE:FF", {}),
        ("ble+hci-socket:0", "ble+hci-socket", "0", {}),
        ("replay:path.telcap", "replay", "path.telcap", {}),
        ("sim:?fault=drop:0.1@rx/Commit*3,corrupt:0.01", "sim", "", {"fault": "drop:0.1@rx/Commit*3,corrupt:0.01"}),
        ("sim:?record=a%26b+c", "sim", "", {"record": "a&b+c"}),
    ],
)
def test_a_url_is_taken_apart(text: str, scheme: str, address: str, params: dict[str, str]) -> None:
    url = parse_url(text)
    assert (url.scheme, url.address, dict(url.params)) == (scheme, address, params)
    assert str(url) == text


@pytest.mark.parametrize(
    ("text", "part", "right"),
    [
        ("", "empty", "sim:"),
        ("/dev/ttyUSB0", "no URL", "serial:///dev/ttyUSB0"),
        ("127.0.0.1:7410", "no URL", "tcp://"),
        ("://x", "no URL", "sim:"),
        ("sim: ?seed=1", "' '", "%20"),
        ("sim:?seed=1\n", "'\\n'", "%0A"),
        ("sim:?seed=1#top", "'#'", "%23"),
        ("sim:?record=100%", "'%'", "%25"),
        ("sim:?seed", "'seed'", "seed=VALUE"),
        ("sim:?seed=", "'seed'", "seed=VALUE"),
        ("sim:?=1", "'=1'", "name=value"),
        ("sim:?Seed=1", "'Seed=1'", "name=value"),
        ("sim:?seed=1&", "''", "name=value"),
        ("sim:?seed=1&seed=2", "'seed'", "twice"),
    ],
)
def test_a_broken_url_names_the_part_and_what_would_be_right(text: str, part: str, right: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert part in str(caught.value)
    assert right in str(caught.value)


@given(st.text())
def test_any_text_is_a_url_or_a_usage_error(text: str) -> None:
    try:
        url = parse_url(text)
    except UsageError:
        return
    assert url.text == text


@given(st.text(min_size=1))
def test_any_value_survives_being_escaped(value: str) -> None:
    try:
        escaped = quote(value, safe="")
    except UnicodeEncodeError:
        return  # a lone surrogate has no UTF-8 and so cannot be in a URL
    assert parse_url(f"sim:?record={escaped}").params["record"] == value


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("127.0.0.1:7410", "127.0.0.1", 7410), ("[::1]:1", "::1", 1), ("name.example:65535", "name.example", 65_535)],
)
def test_host_and_port(address: str, host: str, port: int) -> None:
    assert parse_url(f"tcp://{address}").host_port() == (host, port)


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("127.0.0.1", "no port"),
        ("", "no port"),
        (":7410", "host is missing"),
        ("::1:7410", "brackets"),
        ("127.0.0.1:", "port ''"),
        ("127.0.0.1:0", "port '0'"),
        ("127.0.0.1:65536", "65535"),
        ("127.0.0.1:-1", "port '-1'"),
        ("127.0.0.1:٣", "port"),
        ("127.0.0.1:http", "port 'http'"),
    ],
)
def test_a_bad_address_is_refused(address: str, part: str) -> None:
    with pytest.raises(UsageError, match=part.replace("[", r"\[")):
        parse_url(f"tcp://{address}").host_port()


def test_port_0_where_the_system_may_choose() -> None:
    assert parse_url("tcp://127.0.0.1:0").host_port(lowest_port=0) == ("127.0.0.1", 0)


def test_parameters_of_every_kind() -> None:
    url = parse_url("tcp://h:1?count=12&on=yes&off=no&odd=maybe&many=99999999999999999999")
    assert url.integer("count", 1, low=0, high=12) == 12
    assert url.integer("absent", 7, low=0, high=12) == 7
    assert url.switch("on", default=False) is True
    assert url.switch("off", default=True) is False
    assert url.switch("absent", default=True) is True
    with pytest.raises(UsageError, match="count=12 is no whole number from 0 to 11"):
        url.integer("count", 1, low=0, high=11)
    with pytest.raises(UsageError, match="no whole number"):
        url.integer("many", 1, low=0, high=10)
    with pytest.raises(UsageError, match="odd=maybe must be yes or no"):
        url.switch("odd", default=False)


def test_an_unknown_parameter_lists_the_known_ones() -> None:
    url = parse_url("tcp://h:1?colour=red&public=yes")
    with pytest.raises(UsageError, match="tcp has no parameter 'colour'; it knows connect-ms, public"):
        url.allow("public", "connect-ms")
    with pytest.raises(UsageError, match="none of its own"):
        url.allow()
    assert dict(url.without(["colour"]).params) == {"public": "yes"}
