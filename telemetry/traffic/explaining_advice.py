"""What each frame type is, and what to do about each fault: sentences for whoever writes the other end."""

from __future__ import annotations

from types import MappingProxyType

from telemetry.protocol.frame import FrameFault
from telemetry.protocol.wire import FrameType

FRAME_TYPES: MappingProxyType[FrameType, str] = MappingProxyType(
    {
        FrameType.PROBE: "programmer to pump: are you there?",
        FrameType.BEACON: "pump to programmer: here I am, with a fresh challenge",
        FrameType.HELLO: "programmer to pump: first half of the handshake",
        FrameType.ACCEPT: "pump to programmer: second half of the handshake",
        FrameType.REQ: "programmer to pump: a sealed request",
        FrameType.RSP: "pump to programmer: a sealed answer",
        FrameType.TELEMETER_REQ: "programmer to telemeter, in the clear",
        FrameType.TELEMETER_RSP: "telemeter to programmer, in the clear",
        FrameType.TELEMETER_EVENT: "telemeter to programmer, unasked, in the clear",
    }
)
FRAME_ADVICE: MappingProxyType[FrameFault, str] = MappingProxyType(
    {
        FrameFault.COBS: "a byte between the zeros was lost or altered on the line: look at baud rate, parity and "
        "cable; or encode with COBS and put a zero before and behind (docs/protocol.md, 3)",
        FrameFault.TOO_SHORT: "header (4) and CRC (4) alone are 8 bytes: a part is missing, or this is a message "
        "without its frame",
        FrameFault.TOO_LONG: "a body has at most 248 bytes: send a longer order in parts, with Write",
        FrameFault.CRC: "a bit changed on the way, or the CRC was made of other bytes: it is zlib.crc32 of all that is "
        "before it, little-endian (docs/protocol.md, 4)",
        FrameFault.VERSION: "the high nibble of the first byte is the protocol's major version, 1: another protocol",
        FrameFault.TYPE: "the low nibble of the first byte is the frame type: 0 to 5, or 8 to 10",
        FrameFault.FLAGS: "no flag is defined in ITP/1: send 0",
        FrameFault.LENGTH: "the length is that of the body alone, without header and CRC, little-endian",
    }
)
PAYLOAD_ADVICE: MappingProxyType[str, str] = MappingProxyType(
    {
        "empty": "a payload begins with opcode, message version and body length",
        "unknown_opcode": "the opcode is none of docs/protocol.md, 7 and 11: a newer peer, or no message",
        "wrong_plane": "requests go in REQ, answers in RSP, the telemeter's messages in frames of its own",
        "version": "this layout of the message is not known here: bring both ends to the same release",
        "length": "the body length in the header must be the number of bytes behind the header",
        "status": "every answer but Refusal has the status ok; refuse with a Refusal",
        "truncated": "bytes are missing at the end: compare with the table of the message in docs/protocol.md, 7",
        "trailing": "there are more bytes than fields: compare with the table of the message in docs/protocol.md, 7",
        "unknown_code": "a code must be in its table (docs/protocol.md, 9); zero is no default",
        "unknown_bits": "bits that the bitmap does not define must be 0",
        "out_of_range": "the integer is outside the range of its field; look at unit and byte order (little-endian)",
        "not_boolean": "false is 0x33 and true is 0xcc, so that a stuck byte is neither",
        "not_text": "a text is printable ASCII, then zeros",
        "too_many": "the list or blob is longer than its field allows; the largest number stands in the table",
        "padding": "a sealed payload is followed by the fewest zeros up to a multiple of 16; a text by zeros alone",
        "sealed": "a sealed body is counter (4), the padded payload (a multiple of 16) and the tag (16)",
        "shut": "record it at an end that has the keys (?record=FILE.telcap behind the URL) to see what is in it",
    }
)
