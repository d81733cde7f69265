"""How a broker is reached: ``mqtt://host[:port][/path][?…]`` and ``mqtts://…``, with what the environment adds.

A password never stands in a URL, for URLs are printed, logged and kept in the shell's history: it comes from a file or
from the environment, and no text that this module makes contains it.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import ssl
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from telemetry.errors import LinkOpenError, UsageError
from telemetry.transport.url import TransportURL, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

USER_VARIABLE = "TELEMETRY_MQTT_USER"
PASSWORD_VARIABLE = "TELEMETRY_MQTT_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_FILE_VARIABLE = "TELEMETRY_MQTT_PASSWORD_FILE"  # noqa: S105 - likewise
PARAMETERS = (
    "cafile",
    "certfile",
    "clear-password",
    "client-id",
    "connect-ms",
    "keepalive",
    "keyfile",
    "password-file",
    "user",
    "version",
)
"""The query parameters that belong to the broker; a scheme of ours may add its own."""
PORT = 1883
TLS_PORT = 8883
"""As registered with IANA for MQTT, without and with TLS (MQTT 5.0, 4.2)."""
KEEPALIVE_S = 15
"""A client that is silent for one and a half times this is given up by the broker (MQTT 5.0, 3.1.2.10)."""
CONNECT_MS = 5_000
"""TCP, TLS and the broker's answer together."""
_VERSIONS: dict[str, Version] = {"3.1.1": "3.1.1", "5": "5"}
LONGEST_KEEPALIVE_S = 3_600
_LONGEST_CONNECT_MS = 60_000
_LONGEST_PASSWORD_BYTES = 4_096
_LONGEST_PATH_BYTES = 200
_CLIENT_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
_PATH_LEVEL = re.compile(r"[^+#\0/$][^+#\0/]*")
_BARE_HOST = re.compile(r"\[[^\]]*\]|[^:\[\]]*")

Version = Literal["3.1.1", "5"]
FIRST_FAILURE = 0x80
"""Reason codes from here on are failures (MQTT 5.0, 2.4)."""


class NotOpened(StrEnum):
    """Why a broker could not be had."""

    NO_EXTRA = "no_extra"
    """aiomqtt is not installed."""
    REFUSED = "refused"
    """It said no: user, password, version, client id, rights."""
    UNTRUSTED = "untrusted"
    """TLS failed: its certificate, its name, or no TLS where TLS is spoken."""
    BUSY = "busy"
    """It said no for now (reason codes 136 and 137)."""
    HUNG_UP = "hung_up"
    """It ended the connection without a word of MQTT."""
    SILENT = "silent"
    UNREACHABLE = "unreachable"

    @property
    def lasts(self) -> bool:
        """Whether trying again is in vain until a person changes something."""
        return self in {NotOpened.NO_EXTRA, NotOpened.REFUSED, NotOpened.UNTRUSTED}


class BrokerOpenError(LinkOpenError):
    """A broker could not be had; ``reason`` says why, for programs."""

    def __init__(self, message: str, *, reason: NotOpened) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Where a broker is, and as whom to come.

    ``path`` is what stands behind host and port, without the first slash: the topics that are meant, empty if none.
    ``user`` and ``password`` are both None for an anonymous client. Files are PEM. ``keepalive_s`` in seconds,
    ``connect_ms`` of host time. Neither ``repr`` nor ``str`` shows the password.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""
    version: Version = "3.1.1"
    client_id: str = ""
    keepalive_s: int = KEEPALIVE_S
    connect_ms: int = CONNECT_MS
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"

    @classmethod
    def from_url(
        cls,
        url: TransportURL | str,
        environment: Mapping[str, str] | None = None,
        *,
        also: tuple[str, ...] = (),
        lowest_port: int = 1,
    ) -> BrokerAccess:
        """Read an ``mqtt://`` or ``mqtts://`` URL; what it does not say of user and password, the environment may.

        ``also`` names query parameters that are the caller's and not looked at here; ``lowest_port`` is 0 for a place
        to listen at. Raises ``UsageError`` naming the part, its value (never that of a password) and what is right.
        """
        text = url if isinstance(url, str) else url.text
        _refuse_password(text)
        url = parse_url(url) if isinstance(url, str) else url
        if url.scheme not in {"mqtt", "mqtts"}:
            raise UsageError(f"{url}: a broker is reached by mqtt:// or mqtts://, not by {url.scheme}:")
        url.allow(*PARAMETERS, *also)
        tls = url.scheme == "mqtts"
        place, _, path = url.address.partition("/")
        if _BARE_HOST.fullmatch(place):
            place = f"{place}:{TLS_PORT if tls else PORT}"
        host, port = replace(url, address=place).host_port(lowest_port=lowest_port)
        user, password = _credentials(url, os.environ if environment is None else environment)
        access = cls(
            host=host,
            port=port,
            tls=tls,
            path=_checked_path(url, path),
            version=_version(url),
            client_id=_client_id(url),
            keepalive_s=url.integer("keepalive", KEEPALIVE_S, low=1, high=LONGEST_KEEPALIVE_S),
            connect_ms=url.integer("connect-ms", CONNECT_MS, low=1, high=_LONGEST_CONNECT_MS),
            user=user,
            password=password,
            ca_file=url.params.get("cafile"),
            cert_file=url.params.get("certfile"),
            key_file=url.params.get("keyfile"),
        )
        _check_safety(url, access, clear=url.switch("clear-password", default=False))
        return access

    def tls_context(self) -> ssl.SSLContext | None:
        """What TLS is to trust and to show; None without TLS. Raises ``UsageError`` naming the file that is wrong."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{self}: cafile={self.ca_file} cannot be used ({_words(error)}); it must be a PEM file with the "
                f"certificate of the authority that signed the broker's"
            ) from error
        context.sslsocket_class = _TlsSocket
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            try:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_key_password)
            except (OSError, ValueError) as error:
                raise UsageError(
                    f"{self}: certfile={self.cert_file} with keyfile={self.key_file or self.cert_file} cannot be used "
                    f"({_words(error)}); they must be the PEM files of a certificate and of its key, without a password"
                ) from error
        return context


@dataclass(frozen=True, slots=True)
class BrokerMessage:
    """A message as it came: anybody who is let in by the broker may have sent it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for a client that vanishes without a word."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails: paho forgets it then."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - the ssl module's own signature
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, by its looks."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _no_key_password() -> str:
    raise ValueError("the key asks for a password")


def _refuse_password(text: str) -> None:
    """Refuse a URL that has a password in it, without repeating it."""
    address, _, query = text.partition("?")
    right = (
        f"give the user as ?user=NAME, and the password in a file (password-file=FILE) or in {PASSWORD_VARIABLE}; "
        f"a URL is printed and logged"
    )
    if "@" in address:
        raise UsageError(f"a broker's URL has no user and password in front of the host: {right}")
    if any(part.partition("=")[0] in {"password", "pw", "pass"} for part in query.split("&")):
        raise UsageError(f"a broker's URL has no password in it: {right}")


def _credentials(url: TransportURL, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    user = url.params.get("user", environment.get(USER_VARIABLE)) or None
    where = url.params.get("password-file")
    if where is not None:
        password: str | None = _password_from(url, "password-file", where)
    elif environment.get(PASSWORD_VARIABLE):
        password = environment[PASSWORD_VARIABLE]
    elif environment.get(PASSWORD_FILE_VARIABLE):
        password = _password_from(url, PASSWORD_FILE_VARIABLE, environment[PASSWORD_FILE_VARIABLE])
    else:
        password = None
    if password is not None and user is None:
        raise UsageError(f"{url}: there is a password and no user; give it as user=NAME or in {USER_VARIABLE}")
    return user, password


def _password_from(url: TransportURL, name: str, where: str) -> str:
    try:
        with Path(where).open("rb") as file:
            data = file.read(_LONGEST_PASSWORD_BYTES + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        why = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else _words(error)
        raise UsageError(f"{url}: {name}={where} cannot be read: {why}") from None
    password = text.removesuffix("\n").removesuffix("\r")
    if not password or len(data) > _LONGEST_PASSWORD_BYTES or "\n" in password or "\0" in password:
        raise UsageError(
            f"{url}: {name}={where} must hold the password as its only line, {_LONGEST_PASSWORD_BYTES} bytes at most"
        )
    return password


def _version(url: TransportURL) -> Version:
    text = url.params.get("version", "3.1.1")
    if text not in _VERSIONS:
        raise UsageError(f"{url}: version={text} is no version of MQTT that is spoken here: 3.1.1 or 5")
    return _VERSIONS[text]


def _client_id(url: TransportURL) -> str:
    """Name the client as asked; else by chance, with letters and a length that any broker takes (3.1.1, 3.1.3.1)."""
    text = url.params.get("client-id")
    if text is None:
        return f"itb{secrets.token_hex(10)}"
    if not _CLIENT_ID.fullmatch(text):
        raise UsageError(f"{url}: client-id={text!r} must be 1 to 64 letters, digits, '.', '_' or '-'")
    return text


def _checked_path(url: TransportURL, path: str) -> str:
    path = path.removesuffix("/")
    if not path:
        return ""
    if len(path.encode()) > _LONGEST_PATH_BYTES:
        raise UsageError(f"{url}: the topic is {len(path.encode())} bytes long, the limit is {_LONGEST_PATH_BYTES}")
    for level in path.split("/"):
        if not _PATH_LEVEL.fullmatch(level):
            raise UsageError(
                f"{url}: {level!r} cannot be a level of a topic; it has one character at least, none of '+' and '#', "
                f"and does not begin with '$'"
            )
    return path


def _check_safety(url: TransportURL, access: BrokerAccess, *, clear: bool) -> None:
    files = {"cafile": access.ca_file, "certfile": access.cert_file, "keyfile": access.key_file}
    for name, value in files.items():
        if value is not None and not access.tls:
            raise UsageError(f"{url}: {name} belongs to TLS; write mqtts:// in place of mqtt://")
    if access.key_file is not None and access.cert_file is None:
        raise UsageError(f"{url}: there is a keyfile and no certfile; give the certificate that belongs to it")
    if access.password is not None and not access.tls and not clear and not is_loopback(access.host):
        raise UsageError(
            f"{url}: the password would go to {access.host} in the clear; use mqtts://, or say clear-password=yes"
        )


def who(access: BrokerAccess) -> str:
    """Name the client as its broker knows it."""
    return "an anonymous client" if access.user is None else f"user {access.user!r}"
