"""The one grammar of a connection: ``scheme:[//]address[?name=value&…]``.

Every command and every API takes the same text. It is read strictly: what is not understood is refused with the
value, the rule and what would be right, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote

from telemetry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCHEME = re.compile(r"[a-z][a-z0-9.-]*(\+[a-z0-9.-]+)?")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HIGHEST_PORT = 65_535
_YES_NO = {"yes": True, "no": False}
EXAMPLES = "sim:, tcp://127.0.0.1:7410, serial:///dev/ttyUSB0?baudrate=115200"


@dataclass(frozen=True, slots=True)
class TransportURL:
    """A connection URL taken apart.

    ``text`` is what was typed; ``scheme`` is lower case (``serial+socket`` included whole); ``address`` is what stands
    between the scheme and the query, without the two slashes (``/dev/ttyUSB0``, ``127.0.0.1:7410``, empty for
    ``sim:``), percent-escapes resolved; ``params`` are the query's, escapes resolved.
    """

    text: str
    scheme: str
    address: str
    params: Mapping[str, str]

    def __str__(self) -> str:
        return self.text

    def without(self, names: Iterable[str]) -> TransportURL:
        """Give the same URL with some parameters taken off (``text`` stays what was typed)."""
        dropped = frozenset(names)
        kept = {name: value for name, value in self.params.items() if name not in dropped}
        return replace(self, params=MappingProxyType(kept))

    def allow(self, *names: str) -> None:
        """Refuse, with ``UsageError``, a parameter that is none of ``names``."""
        for name in self.params:
            if name not in names:
                known = f"it knows {', '.join(sorted(names))}" if names else "it takes none of its own"
                raise UsageError(f"{self.text}: {self.scheme} has no parameter {name!r}; {known}")

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Whole number of a parameter, ``default`` when it is absent; ``UsageError`` outside ``low`` … ``high``."""
        return self.optional_integer(name, low=low, high=high) if name in self.params else default

    def optional_integer(self, name: str, *, low: int, high: int) -> int:
        """Whole number of a parameter that is present; ``UsageError`` outside ``low`` … ``high``."""
        text = self.params[name]
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise UsageError(f"{self.text}: {name}={text} is no whole number from {low} to {high}")
        return int(text)

    def switch(self, name: str, *, default: bool) -> bool:
        """Truth of a ``yes``/``no`` parameter, ``default`` when it is absent; ``UsageError`` for any other word."""
        text = self.params.get(name)
        if text is None:
            return default
        if text not in _YES_NO:
            raise UsageError(f"{self.text}: {name}={text} must be yes or no")
        return _YES_NO[text]

    def host_port(self, *, lowest_port: int = 1) -> tuple[str, int]:
        """Host and port of a network address; ``UsageError`` names what is missing or out of range.

        An IPv6 address stands in brackets. ``lowest_port`` is 0 where the system may choose the port.
        """
        right = f"right would be {self.scheme}://127.0.0.1:7410"
        host, colon, port_text = self.address.rpartition(":")
        if not colon:
            raise UsageError(f"{self.text}: the address {self.address!r} has no port; {right}")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise UsageError(f"{self.text}: an IPv6 address stands in brackets, as in {self.scheme}://[::1]:7410")
        if not host:
            raise UsageError(f"{self.text}: the host is missing; {right}")
        if not re.fullmatch(r"[0-9]{1,5}", port_text) or not lowest_port <= int(port_text) <= _HIGHEST_PORT:
            raise UsageError(f"{self.text}: port {port_text!r} is no number from {lowest_port} to {_HIGHEST_PORT}")
        return host, int(port_text)


def parse_url(text: str) -> TransportURL:
    """Take a connection URL apart; raises ``UsageError`` naming the part that breaks the grammar.

    Whether the scheme exists and takes these parameters is decided by who opens it.
    """
    if not text:
        raise UsageError(f"the connection URL is empty; right would be one of {EXAMPLES}")
    bad = next((character for character in text if character.isspace() or not character.isprintable()), None)
    if bad is not None:
        raise UsageError(f"{text!r}: {bad!r} cannot stand in a URL; write it as {_escaped(bad)}")
    if "#" in text:
        raise UsageError(f"{text}: '#' cannot stand in a URL; write it as %23")
    if broken := _BROKEN_ESCAPE.search(text):
        raise UsageError(f"{text}: '%' at place {broken.start()} is followed by no two hex digits; write '%' as %25")
    scheme, colon, rest = text.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme.lower()):
        raise UsageError(f"{text}: this is no URL with a scheme in front; right would be one of {EXAMPLES}")
    address, _, query = rest.partition("?")
    return TransportURL(
        text=text,
        scheme=scheme.lower(),
        address=unquote(address.removeprefix("//")),
        params=MappingProxyType(_parse_query(text, query)),
    )


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _parse_query(text: str, query: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for part in query.split("&") if query else []:
        name, equals, value = part.partition("=")
        if not _NAME.fullmatch(name):
            raise UsageError(f"{text}: {part!r} is no parameter; right would be name=value, several joined by '&'")
        if not equals or not value:
            raise UsageError(f"{text}: parameter {name!r} has no value; right would be {name}=VALUE")
        if name in params:
            raise UsageError(f"{text}: parameter {name!r} is given twice")
        params[name] = unquote(value)
    return params
