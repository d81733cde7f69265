"""Serial ports over the network (RFC 2217): the device offered as a port server, and pyserial's client mended.

The server needs no terminal. pyserial's ``PortManager`` speaks Telnet; what it leaves unanswered (the state of DTR,
RTS and break, inbound flow control, masks, the signature) is answered here, as RFC 2217 asks. One client at a time,
as on any serial port.
"""

from __future__ import annotations

import queue
import socket
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import serial
from serial import rfc2217

from telemetry.errors import LinkClosedError
from telemetry.transport.base import TransportInfo
from telemetry.transport.pipe import DescriptorPipe
from telemetry.transport.stream import ENDED, SocketListener, close_gracefully, listening_socket

if TYPE_CHECKING:
    import asyncio
    import threading

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor, Receiver
    from telemetry.transport.url import TransportURL

SIGNATURE = b"itb-telemetry virtual telemeter, SIMULATED"
IN_USE = b"This port is in use by another client; it is free again when that one closes it.\r\n"
LONGEST_OPTION_BYTES = 256
"""A sub-option longer than this is no RFC 2217: the longest there is, a signature, is a line of text."""
GRACE_S = 0.5
"""How long a client waits for the last one to leave before it is turned away: they may be one and the same program,
and its new connection here before the end of its old one. Host time: it bounds real I/O."""
MOST_WAITING = 4
_BAUDRATES = (50, 4_000_000)
_SIGNATURE_COMMAND = b"\x00"
_SERVER_SIGNATURE = b"\x64"
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds, seconds, times: a client whose machine is gone gives the port free after 25 s."""
_LONGEST_WORDS = 200


class VirtualPort:
    """What ``PortManager`` takes for a serial port: the settings and modem lines of one client's session.

    8N1 and nothing else; a client that asks for other settings is told these. The device is always there (CTS, DSR
    and CD are on) and keeps nothing of the client's that could be purged: it has read every byte when it arrives.
    """

    bytesize = property(
        lambda _self: serial.EIGHTBITS, lambda _self, value: _only("data size", value, serial.EIGHTBITS)
    )
    parity = property(lambda _self: serial.PARITY_NONE, lambda _self, value: _only("parity", value, serial.PARITY_NONE))
    stopbits = property(
        lambda _self: serial.STOPBITS_ONE, lambda _self, value: _only("stop bits", value, serial.STOPBITS_ONE)
    )
    cts = dsr = cd = True
    ri = False

    def __init__(self) -> None:
        self._baudrate = 115_200
        self.xonxoff = False
        self.rtscts = False
        self.dtr = False
        self.rts = False
        self.break_condition = False

    @property
    def baudrate(self) -> int:
        """What the client set; it changes nothing, as on a pseudo-terminal (``?baud=`` makes a line slow)."""
        return self._baudrate

    @baudrate.setter
    def baudrate(self, value: int) -> None:
        low, high = _BAUDRATES
        if not low <= value <= high:
            raise ValueError(f"baud rate {value} is outside {low} to {high}")
        self._baudrate = value

    def reset_input_buffer(self) -> None:
        """Nothing is kept here on its way to the client: what the device says is on the network at once."""

    def reset_output_buffer(self) -> None:
        """Nothing is kept here on its way to the device."""


def _only(what: str, value: object, right: object) -> None:
    if value != right:
        raise ValueError(f"{what} {value} is not to be had, only {right}")


class _Manager(rfc2217.PortManager):  # type: ignore[misc] # pyserial publishes no types
    """pyserial's, with an answer to every command that RFC 2217 wants answered."""

    def _telnet_process_subnegotiation(self, suboption: bytes) -> None:
        command, value = suboption[1:2], suboption[2:3]
        if suboption[:1] != rfc2217.COM_PORT_OPTION:
            super()._telnet_process_subnegotiation(suboption)
        elif command == _SIGNATURE_COMMAND:
            if not suboption[2:]:  # with a text it is the client's own, which asks for nothing
                self.rfc2217_send_subnegotiation(_SERVER_SIGNATURE, SIGNATURE)
        elif command == rfc2217.SET_CONTROL and (state := self._state_asked_for(value)) is not None:
            self.rfc2217_send_subnegotiation(rfc2217.SERVER_SET_CONTROL, state)
        else:
            super()._telnet_process_subnegotiation(suboption)
            if command in {rfc2217.SET_LINESTATE_MASK, rfc2217.SET_MODEMSTATE_MASK}:
                self.rfc2217_send_subnegotiation(rfc2217.RFC2217_ANSWER_MAP[command], value)

    def _state_asked_for(self, value: bytes) -> bytes | None:
        """What is so, where pyserial's manager stays silent; None where it answers."""
        port = self.serial
        asked: dict[bytes, bytes] = {
            rfc2217.SET_CONTROL_REQ_BREAK_STATE: (
                rfc2217.SET_CONTROL_BREAK_ON if port.break_condition else rfc2217.SET_CONTROL_BREAK_OFF
            ),
            rfc2217.SET_CONTROL_REQ_DTR: rfc2217.SET_CONTROL_DTR_ON if port.dtr else rfc2217.SET_CONTROL_DTR_OFF,
            rfc2217.SET_CONTROL_REQ_RTS: rfc2217.SET_CONTROL_RTS_ON if port.rts else rfc2217.SET_CONTROL_RTS_OFF,
        }
        # Flow control by DCD, DTR or DSR, and any of the inbound side's, is not to be had: there is none in force.
        for code in range(rfc2217.SET_CONTROL_REQ_FLOW_SETTING_IN[0], rfc2217.SET_CONTROL_USE_HW_FLOW_CONTOL_IN[0] + 1):
            asked[bytes([code])] = rfc2217.SET_CONTROL_USE_NO_FLOW_CONTROL_IN
        asked[rfc2217.SET_CONTROL_USE_DTR_FLOW_CONTROL] = rfc2217.SET_CONTROL_USE_NO_FLOW_CONTROL_IN
        for refused in (rfc2217.SET_CONTROL_USE_DCD_FLOW_CONTROL, rfc2217.SET_CONTROL_USE_DSR_FLOW_CONTROL):
            asked[refused] = rfc2217.SET_CONTROL_USE_NO_FLOW_CONTROL
        return asked.get(value)


class Rfc2217Pipe(DescriptorPipe):
    """One client of the port server: Telnet on the outside, the plain stream of bytes on the inside.

    ``port`` is what the client has set. A client that breaks the rules of Telnet or RFC 2217 loses the link.
    """

    def __init__(self, sock: socket.socket, url: str) -> None:
        super().__init__(
            sock.fileno(),
            TransportInfo(url, datagrams=False),
            release=partial(close_gracefully, sock),
            ended=ENDED,
            receive=sock.recv,
            send=sock.send,
        )
        self.port = VirtualPort()
        self._manager: Any = None

    def start(self, receiver: Receiver) -> None:
        """Begin to read, and offer the options."""
        super().start(receiver)
        self._manager = _Manager(self.port, _Wire(self))

    def write(self, data: bytes) -> None:
        """Send, with what Telnet would take for a command doubled."""
        super().write(data.replace(rfc2217.IAC, rfc2217.IAC_DOUBLED))

    def send_telnet(self, data: bytes) -> None:
        """Send as it is."""
        with suppress(LinkClosedError):  # the client is gone, as connection_lost will say
            super().write(data)

    def _deliver(self, data: bytes) -> None:
        try:
            plain = self._unwrap(data)
        except Exception as error:  # noqa: BLE001 - pyserial raises whatever comes of bytes that it does not expect
            reason = LinkClosedError(f"{self.info.url}: the client sent what is no RFC 2217 ({error!r}); we hung up")
            reason.__cause__ = error
            self._lose(reason)
            return
        if plain:
            super()._deliver(plain)

    def _unwrap(self, data: bytes) -> bytes:
        """Take the commands out. pyserial looks at a byte at a time, so it is given commands only."""
        manager, plain, at = self._manager, [], 0
        while at < len(data):
            if manager.mode == rfc2217.M_NORMAL and manager.suboption is None:
                command = data.find(rfc2217.IAC, at)
                end = len(data) if command < 0 else command
                plain.append(data[at:end])
                at = end
            plain += manager.filter(data[at : at + 1])
            at += 1
            if manager.suboption is not None and len(manager.suboption) > LONGEST_OPTION_BYTES:
                raise ValueError(f"a sub-option of more than {LONGEST_OPTION_BYTES} bytes")
        return b"".join(plain)


class _Wire:
    """Where ``PortManager`` writes to."""

    def __init__(self, pipe: Rfc2217Pipe) -> None:
        self.write = pipe.send_telnet


class Rfc2217Listener(SocketListener):
    """Offers the device at one address to one client after another.

    ``session`` is the client's link while there is one. A second client is told that the port is in use, in words,
    and hung up on, unless the first one leaves within ``GRACE_S``.
    """

    def __init__(self, sock: socket.socket, accept: Acceptor) -> None:
        self.session: Rfc2217Pipe | None = None
        self._waiting: dict[socket.socket, tuple[str, asyncio.TimerHandle]] = {}
        super().__init__("serial+rfc2217", sock, accept)

    def _entered(self, sock: socket.socket, url: str) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self.session is None:
            self._begin(sock, url)
        elif len(self._waiting) >= MOST_WAITING:
            _turn_away(sock)
        else:
            self._waiting[sock] = (url, self._loop.call_later(GRACE_S, self._waited, sock))

    def _begin(self, sock: socket.socket, url: str) -> None:
        self.session = Rfc2217Pipe(sock, url)
        self.session.when_lost(self._session_over)
        self._adopt(self.session)

    def _session_over(self) -> None:
        self.session = None
        for sock, (url, timer) in self._waiting.items():
            del self._waiting[sock]
            timer.cancel()
            self._begin(sock, url)
            return

    def _waited(self, sock: socket.socket) -> None:
        del self._waiting[sock]
        _turn_away(sock)

    def _stop_accepting(self) -> None:
        super()._stop_accepting()
        for sock, (_, timer) in self._waiting.items():
            timer.cancel()
            sock.close()
        self._waiting.clear()


def _turn_away(sock: socket.socket) -> None:
    with suppress(OSError):  # it may have gone already
        sock.send(IN_USE)
    close_gracefully(sock)


async def listen(url: TransportURL, accept: Acceptor, clock: Clock) -> Rfc2217Listener:
    """Offer the device as a serial port server at ``rfc2217://host:port``; port 0 lets the system choose.

    ``url`` of the result is what a client of this package opens (``serial+rfc2217://…``). Parameters and errors as of
    ``tcp://``.
    """
    del clock
    return Rfc2217Listener(await listening_socket(url), accept)


# --- the client ------------------------------------------------------------------------------------------------------


class _Client(rfc2217.Serial):  # type: ignore[misc] # pyserial publishes no types
    """pyserial's, which sees at once that the server hung up while it opens, and later not before the last words."""

    def __init__(self, **settings: object) -> None:
        self._hung_up = False
        self._read_up = False
        super().__init__(**settings)

    @property
    def _thread(self) -> threading.Thread | None:
        return self._reader

    @_thread.setter
    def _thread(self, thread: threading.Thread | None) -> None:
        self._reader = thread
        if thread is not None:  # pyserial 3.5 calls what Python warns of since 3.10
            thread.setDaemon = partial(setattr, thread, "daemon")  # type: ignore[method-assign]
            thread.setName = partial(setattr, thread, "name")  # type: ignore[method-assign]

    def open(self) -> None:
        """Open; raises ``SerialException``, with what the server said when it hung up."""
        try:
            super().open()
        except Exception as error:
            if self._hung_up:
                raise serial.SerialException(f"the server hung up{self._last_words()}") from error
            raise

    def close(self) -> None:
        """Close, the socket included: pyserial leaves it open when the other end has gone first."""
        sock = self._socket
        super().close()
        if sock is not None:
            sock.close()

    def read(self, size: int = 1) -> bytes:
        """What has arrived, ``size`` bytes at most; raises ``SerialException`` when that was all and no more comes."""
        data = bytearray()
        while len(data) < size and not self._read_up:
            try:
                item = self._read_buffer.get(timeout=0 if data else self.timeout)
            except queue.Empty:
                break
            self._read_up = item is None
            data += item or b""
        if not data and size and self._read_up:
            raise serial.SerialException("the server hung up")
        return bytes(data)

    def _telnet_read_loop(self) -> None:
        super()._telnet_read_loop()
        if self.is_open:
            # open() may be waiting for an answer that will not come: let it go on, into the next thing that it sends.
            self._hung_up = True
            for option in self._telnet_options:
                option.state, option.active = rfc2217.INACTIVE, False
            for setting in self._rfc2217_options.values():
                setting.state = rfc2217.REALLY_INACTIVE

    def _internal_raw_write(self, data: bytes) -> None:
        if self._hung_up:
            raise serial.SerialException("the server hung up")
        super()._internal_raw_write(data)

    def _last_words(self) -> str:
        said = bytearray()
        while self._read_buffer.qsize():
            said += self._read_buffer.get_nowait() or b""
        words = "".join(chr(byte) for byte in said[:_LONGEST_WORDS] if 0x20 <= byte < 0x7F).strip()
        return f": {words}" if words else ""


def open_client(url: str, **settings: object) -> Any:  # noqa: ANN401 - pyserial publishes no types
    """Open pyserial's ``rfc2217://…`` as a port; blocks, for 5 s and 3 s a step at most. Raises as pyserial does."""
    port = _Client(**settings)
    port.port = url
    port.open()
    return port
