"""The GATT service of a telemeter: identifiers, characteristics, advertisement, and the two values of fixed layout.

Shared by the central and by the virtual peripheral; needs no Bluetooth library. Normative: docs/protocol.md,
Bluetooth LE. All numbers are decided there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from uuid import UUID

from telemetry.errors import BadPayload, UsageError

SERVICE_VERSION = 1
"""The version of the service that this package speaks, 1 to 255; part of every UUID of the service."""
MIN_MTU = 23
"""Smallest ATT MTU in bytes (Bluetooth Core Specification, Vol 3, Part G, 5.2.1)."""
MAX_MTU = 517
"""Largest ATT MTU in bytes that is of use: an attribute value has at most 512 (Core Specification, Part F, 3.2.9)."""
ATT_OVERHEAD = 3
"""Bytes of a write or notification that are not value: opcode 1, handle 2."""
NAME_LENGTH = 8
"""Longest name in bytes: what flags (3) and the service's UUID (18) leave of the 31 bytes of an advertisement."""
ADVERTISEMENT_LENGTH = 31
"""Longest legacy advertisement in bytes (Core Specification, Vol 6, Part B, 2.3.1.1)."""
SIMULATED_PREFIX = "SIM-"
"""How the name of every virtual telemeter begins, and of no other."""

_FAMILY_LOW = 0x6D1E_4C8B_9B27_3E1D_5C70_B2F4
_FAMILY_HIGH = 0xA5F0
_FLAGS_AD = bytes((2, 0x01, 0x06))  # LE general discoverable, no BR/EDR
_AD_COMPLETE_NAME = 0x09
_AD_COMPLETE_UUIDS_128 = 0x07
_INFORMATION = struct.Struct(f"<BBH{NAME_LENGTH}s")


class Attribute(IntEnum):
    """Which attribute of the service a UUID names: its lowest byte of the first group."""

    SERVICE = 0
    COMMAND = 1
    REPLY = 2
    INFORMATION = 3
    LINK_STATUS = 4


def telemeter_uuid(attribute: Attribute, version: int = SERVICE_VERSION) -> str:
    """UUID of an attribute in lower case, ``a5f0vvaa-6d1e-4c8b-9b27-3e1d5c70b2f4``; ``UsageError`` unless 1..255."""
    if not 1 <= version <= 255:
        raise UsageError(f"service version: {version} is outside 1 to 255")
    return str(UUID(int=(_FAMILY_HIGH << 16 | version << 8 | attribute) << 96 | _FAMILY_LOW))


def service_version_of(uuid: str) -> int | None:
    """Version of a telemeter's *service* by its UUID; None for a UUID of anything else, malformed text included."""
    try:
        number = UUID(uuid).int
    except ValueError:
        return None
    first = number >> 96
    of_family = first >> 16 == _FAMILY_HIGH and number & ((1 << 96) - 1) == _FAMILY_LOW
    version = first >> 8 & 0xFF
    return version if of_family and version and first & 0xFF == Attribute.SERVICE else None


SERVICE_UUID = telemeter_uuid(Attribute.SERVICE)
COMMAND_UUID = telemeter_uuid(Attribute.COMMAND)
REPLY_UUID = telemeter_uuid(Attribute.REPLY)
INFORMATION_UUID = telemeter_uuid(Attribute.INFORMATION)
LINK_STATUS_UUID = telemeter_uuid(Attribute.LINK_STATUS)

PROPERTIES: dict[str, frozenset[str]] = {
    COMMAND_UUID: frozenset({"write", "write-without-response"}),
    REPLY_UUID: frozenset({"notify"}),
    INFORMATION_UUID: frozenset({"read"}),
    LINK_STATUS_UUID: frozenset({"notify"}),
}
"""What each characteristic lets a central do, in the words of the Core Specification (and of bleak)."""

PROTECTED = frozenset({COMMAND_UUID, REPLY_UUID, LINK_STATUS_UUID})
"""What needs an encrypted link where a telemeter asks for pairing; the information stays readable by everybody."""


class Pairing(StrEnum):
    """What a telemeter asks for before it takes a command or a subscription, LE Secure Connections all."""

    NONE = "none"
    JUST_WORKS = "just-works"
    PASSKEY = "passkey"
    NUMERIC = "numeric"


class LinkStatus(IntEnum):
    """The one byte of the link status: whether the host may write. Sent on subscription and on each change."""

    READY = 1
    BUSY = 2
    CLOSING = 3


class InformationFlag(IntFlag):
    """Second byte of the telemeter information; the other bits are 0."""

    SIMULATED = 1
    PAIRING = 2


@dataclass(frozen=True, slots=True)
class TelemeterInformation:
    """What a central may read before anything else, unpaired too.

    ``longest_frame`` in bytes; ``name`` as advertised, 1 to 8 printable ASCII characters.
    """

    service_version: int
    flags: InformationFlag
    longest_frame: int
    name: str


def encode_information(information: TelemeterInformation) -> bytes:
    """Pack into 12 bytes: version 1, flags 1, longest frame 2 little-endian, name 8 padded with zeros.

    Raises ``UsageError`` for a version outside 1 to 255, a longest frame outside 1 to 65535 or a bad name.
    """
    if not 1 <= information.service_version <= 255:
        raise UsageError(f"service version: {information.service_version} is outside 1 to 255")
    if not 1 <= information.longest_frame <= 0xFFFF:
        raise UsageError(f"longest frame: {information.longest_frame} bytes are outside 1 to 65535")
    return _INFORMATION.pack(
        information.service_version, information.flags, information.longest_frame, _name_bytes(information.name)
    )


def decode_information(value: bytes) -> TelemeterInformation:
    """Read the value of the information characteristic; bytes beyond the twelfth belong to later versions.

    Raises ``BadPayload`` naming the field for too few bytes or a name that is no name. Flags that version 1 does not
    know are kept.
    """
    if len(value) < _INFORMATION.size:
        raise BadPayload(
            f"{len(value)} bytes, at least {_INFORMATION.size} are needed", message="telemeter information"
        )
    version, flags, longest, raw = _INFORMATION.unpack_from(value)
    if not version or not longest:
        field, offset = ("longest_frame", 2) if version else ("service_version", 0)
        raise BadPayload("0, at least 1 is needed", message="telemeter information", field=field, offset=offset)
    try:
        name = raw.rstrip(b"\0").decode("ascii")
        _name_bytes(name)
    except (UnicodeDecodeError, UsageError) as error:
        raise BadPayload(str(error), message="telemeter information", field="name", offset=4) from error
    return TelemeterInformation(version, InformationFlag(flags), longest, name)


def advertisement(name: str, version: int = SERVICE_VERSION) -> bytes:
    """Build the whole advertisement, at most 31 bytes: flags, complete name, the service's UUID.

    Everything is in the advertisement itself, none in a scan response, which not every controller delivers. Raises
    ``UsageError`` for a name that is not 1 to 8 printable ASCII characters.
    """
    text = _name_bytes(name)
    uuid = UUID(telemeter_uuid(Attribute.SERVICE, version)).bytes[::-1]
    return (
        _FLAGS_AD
        + bytes((1 + len(text), _AD_COMPLETE_NAME))
        + text
        + bytes((1 + len(uuid), _AD_COMPLETE_UUIDS_128))
        + uuid
    )


def is_simulated(name: str | None) -> bool:
    """Whether an advertised name is that of a virtual telemeter."""
    return name is not None and name.startswith(SIMULATED_PREFIX)


def _name_bytes(name: str) -> bytes:
    if not 1 <= len(name) <= NAME_LENGTH or not name.isascii() or not name.isprintable():
        raise UsageError(f"telemeter name: {name!r} must be 1 to {NAME_LENGTH} printable ASCII characters (SIM-0001)")
    return name.encode("ascii")
