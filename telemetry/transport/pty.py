"""The virtual device on a pseudo-terminal: to a client it is a serial port with a stable name.

How clients are told apart. While nobody talks, the slave end is held open here, so that the master neither fails nor
signals anything. The first bytes of a client begin a session: a transport is accepted and our hold on the slave is
given up. From then on the last close of the slave, be it by a tidy exit or by ``kill -9``, makes the master's read
fail with EIO, which ends the session. Then the slave is held again and what the client left unread is flushed, so
that the next one starts clean. Between sessions nothing is written at all, hence nothing can go stale.
"""

from __future__ import annotations

import errno
import os
import secrets
import termios
import tty
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.errors import LinkOpenError, UsageError
from telemetry.transport.base import TransportInfo
from telemetry.transport.pipe import READ_SIZE, DescriptorPipe, PipeListener

if TYPE_CHECKING:
    import asyncio

    from telemetry.clock import Clock
    from telemetry.transport.base import Acceptor
    from telemetry.transport.url import TransportURL


_PAUSE_S = 1.0
_MOST_UNREAD_READS = 64


class PtyListener(PipeListener):
    """One pseudo-terminal, one client at a time.

    ``close`` is the unplugging of the cable: a reading client gets EIO at once. ``link``, when given, is a symbolic
    link to the slave that is made on opening and removed on closing.
    """

    def __init__(self, master: int, hold: int, link: Path | None, accept: Acceptor) -> None:
        self._master = master
        self._hold = hold
        self._port = os.ttyname(hold)
        self._link = link
        self._session: DescriptorPipe | None = None
        self._retry: asyncio.TimerHandle | None = None
        super().__init__(f"serial://{link or self._port}", accept)
        self._loop.add_reader(master, self._somebody_writes)

    def _somebody_writes(self) -> None:
        self._loop.remove_reader(self._master)
        self._session = DescriptorPipe(
            self._master,
            TransportInfo(self.url, datagrams=False),
            release=self._session_over,
            ended="the client closed the port",
        )
        self._let_go()
        self._adopt(self._session)

    def _let_go(self) -> None:
        if self._hold >= 0:
            os.close(self._hold)
            self._hold = -1

    def _session_over(self) -> None:
        self._session = None
        if self._closed:
            os.close(self._master)
        else:
            self._discard_unread()
            self._await_next()

    def _discard_unread(self) -> None:
        """What a client sent to a session that we ended goes with that session; bounded, should it go on sending."""
        for _ in range(_MOST_UNREAD_READS):
            try:
                os.read(self._master, READ_SIZE)
            except OSError:
                return  # nothing is left, or nobody has the other end open

    def _await_next(self) -> None:
        self._retry = None
        try:
            self._hold = os.open(self._port, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            if error.errno != errno.EBUSY:
                # Without the hold the master would signal its hang-up without end: say so and try again later.
                self._loop.call_exception_handler({"message": f"{self.url}: cannot be offered", "exception": error})
                self._retry = self._loop.call_later(_PAUSE_S, self._await_next)
                return
            # The next client is there already and holds the port exclusively (TIOCEXCL): it stands in for our hold.
        else:
            tty.setraw(self._hold)
            termios.tcflush(self._hold, termios.TCIFLUSH)
        self._loop.add_reader(self._master, self._somebody_writes)

    def _stop_accepting(self) -> None:
        if self._link is not None:
            _take_away(self._link, self._port)
        if self._retry is not None:
            self._retry.cancel()
        self._let_go()
        if self._session is None:
            self._loop.remove_reader(self._master)
            os.close(self._master)


def _point(link: Path, port: str) -> None:
    """Make ``link`` a symbolic link to ``port`` in one step, and never in place of anything else."""
    if os.path.lexists(link) and not link.is_symlink():
        raise LinkOpenError(f"pty://{link}: that exists and is no symbolic link; remove it or choose another path")
    beside = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    try:
        beside.symlink_to(port)
        beside.replace(link)
    except OSError as error:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise LinkOpenError(
            f"pty://{link}: no symbolic link can be made there: {error.strerror}; its folder must exist and be writable"
        ) from error


def _take_away(link: Path, port: str) -> None:
    """Remove the link, unless it has come to name another port or is gone already."""
    with suppress(OSError):
        if str(link.readlink()) == port:
            link.unlink()


async def listen(url: TransportURL, accept: Acceptor, clock: Clock) -> PtyListener:
    """Offer the device at ``pty:`` or ``pty:///absolute/path/of/link``.

    Raises ``UsageError`` for a relative path, ``LinkOpenError`` when there is no pseudo-terminal to be had or the path
    is taken by something that is no symbolic link.
    """
    del clock  # a terminal is real I/O, whatever clock the conversation over it runs on
    url.allow()
    link = Path(url.address) if url.address else None
    if link is not None and not link.is_absolute():
        raise UsageError(f"{url}: the path of the link must be absolute, as in pty:///tmp/pump")
    try:
        master, slave = os.openpty()
    except OSError as error:
        raise LinkOpenError(
            f"{url}: the system gives no pseudo-terminal: {error.strerror}; is /dev/pts mounted and not full?"
        ) from error
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        if link is not None:
            _point(link, os.ttyname(slave))
    except BaseException:
        os.close(master)
        os.close(slave)
        raise
    return PtyListener(master, slave, link, accept)
