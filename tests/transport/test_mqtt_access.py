"""How a broker's URL is read; and that no password is shown."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.errors import UsageError
from telemetry.transport.mqtt_access import KEEPALIVE_S, BrokerAccess
from tests.support.brokers import Authority

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "pa55-word"  # noqa: S105 - what must not be shown


def read(text: str, **environment: str) -> BrokerAccess:
    return BrokerAccess.from_url(text, environment)


def test_what_is_not_said_has_the_usual_values() -> None:
    access = read("mqtt://broker.example/ward-7/telemeter-0001")
    assert (access.host, access.port, access.tls, access.path) == (
        "broker.example",
        1883,
        False,
        "ward-7/telemeter-0001",
    )
    assert (access.version, access.keepalive_s, access.user, access.password) == ("3.1.1", KEEPALIVE_S, None, None)
    assert access.client_id != read("mqtt://broker.example").client_id
    assert len(access.client_id) <= 23, "what any broker must take (MQTT 3.1.1, 3.1.3.1)"
    assert (read("mqtts://broker.example").port, read("mqtts://broker.example").tls) == (8883, True)
    assert (read("mqtt://[::1]").host, read("mqtt://[::1]:7").port) == ("::1", 7)
    assert str(read("mqtt://[::1]/a")) == "mqtt://[::1]:1883"


def test_what_is_said_counts(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n", encoding="utf-8")
    access = read(f"mqtts://h:9/a?user=me&password-file={file}&version=5&client-id=gate-1&keepalive=60&connect-ms=7")
    assert (access.user, access.password, access.version) == ("me", SECRET, "5")
    assert (access.client_id, access.keepalive_s, access.connect_ms) == ("gate-1", 60, 7)
    assert SECRET not in repr(access) + str(access)


def test_the_environment_fills_in_and_the_url_goes_first(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file", encoding="utf-8")
    ours = {"TELEMETRY_MQTT_USER": "env", "TELEMETRY_MQTT_PASSWORD": SECRET}
    access = read("mqtts://h/a", **ours)
    assert (access.user, access.password) == ("env", SECRET)
    access = read(f"mqtts://h/a?user=me&password-file={file}", **ours)
    assert (access.user, access.password) == ("me", "from file")
    access = read("mqtts://h/a?user=me", TELEMETRY_MQTT_PASSWORD_FILE=str(file))
    assert access.password == "from file"  # noqa: S105 - a test's own


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tcp://127.0.0.1:7410", "reached by mqtt:// or mqtts://"),
        ("mqtt://", "the host is missing"),
        ("mqtt://h:0/a", "port '0' is no number from 1 to 65535"),
        ("mqtt://h:x/a", "port 'x'"),
        ("mqtt://h/a?qos=1", "no parameter 'qos'"),
        ("mqtt://h/a?version=4", "version=4 is no version .* 3.1.1 or 5"),
        ("mqtt://h/a?client-id=%20", "client-id=' ' must be 1 to 64"),
        ("mqtt://h/a?keepalive=0", "keepalive=0 is no whole number from 1 to 3600"),
        ("mqtt://h/a//b", "'' cannot be a level"),
        ("mqtt://h/a/%23", "'#' cannot be a level"),
        ("mqtt://h/a/+/b", r"'\+' cannot be a level"),
        ("mqtt://h/$SYS/x", r"'\$SYS' cannot be a level"),
        ("mqtt://h/" + "a" * 201, "201 bytes long, the limit is 200"),
        ("mqtt://h/a?cafile=x", "cafile belongs to TLS; write mqtts://"),
        ("mqtts://h/a?keyfile=x", "keyfile and no certfile"),
        ("mqtt://h/a?user=me&password-file=/nowhere/at/all", "cannot be read: No such file"),
        ("mqtt://h/a?password-file=/dev/null", "must hold the password as its only line"),
    ],
)
def test_what_is_wrong_is_named(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        f"mqtt://me:{SECRET}@broker.example/a",
        f"mqtt://h/a?user=me&password={SECRET}",
        f"mqtts://h/a?pw={SECRET}",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="password-file=FILE") as refused:
        read(text)
    assert SECRET not in str(refused.value)


def test_a_password_does_not_travel_in_the_clear_unless_told() -> None:
    ours = {"TELEMETRY_MQTT_USER": "env", "TELEMETRY_MQTT_PASSWORD": SECRET}
    with pytest.raises(UsageError, match="in the clear") as refused:
        read("mqtt://broker.example/a", **ours)
    assert SECRET not in str(refused.value)
    assert read("mqtt://broker.example/a?clear-password=yes", **ours).password == SECRET
    assert read("mqtt://localhost/a", **ours).password == SECRET
    with pytest.raises(UsageError, match="a password and no user"):
        read("mqtt://localhost/a", TELEMETRY_MQTT_PASSWORD=SECRET)


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    assert read("mqtt://h").tls_context() is None
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cafile=.*garbage\.pem cannot be used"):
        read(f"mqtts://h?cafile={garbage}").tls_context()
    with pytest.raises(UsageError, match=r"cafile=/nowhere cannot be used \(No such file"):
        read("mqtts://h?cafile=/nowhere").tls_context()
    authority = Authority()
    ours, key = tmp_path / "ours.pem", tmp_path / "ours.key"
    authority.issue("me", ours, key)
    with pytest.raises(UsageError, match=r"certfile=.*ours\.pem with keyfile=.*garbage\.pem cannot be used"):
        read(f"mqtts://h?certfile={ours}&keyfile={garbage}").tls_context()
    context = read(f"mqtts://h?certfile={ours}&keyfile={key}").tls_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@given(st.text(max_size=60))
def test_any_text_behind_the_scheme_is_read_or_refused(text: str) -> None:
    try:
        access = read(f"mqtt://{text}")
    except UsageError:
        return
    assert access.host
    assert 1 <= access.port <= 65_535
