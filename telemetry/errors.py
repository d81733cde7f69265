"""Every exception that crosses a boundary of this package, with the blame in the type.

::

    TelemetryError
    ├─ UsageError (ValueError)            we were called wrongly; nothing was sent
    │  ├─ UnknownScheme                   names the schemes that exist
    │  └─ SecurityError                   our own keys, journal or test mode forbid it
    ├─ LinkError (OSError)                the pipe; nothing therapy-related was applied
    │  ├─ LinkOpenError                   it could not be opened
    │  ├─ LinkClosedError                 it ended; carries the reason to every waiter
    │  └─ LinkTimeout (TimeoutError)      no answer by the deadline
    ├─ PeerError                          the other end broke the rules
    │  ├─ BadFrame                        bytes that are no frame
    │  ├─ BadPayload                      a frame whose content breaks its layout
    │  ├─ WrongDialect                    both ends were built from different wire tables
    │  ├─ OutOfTurn                       a legal message in a state that forbids it
    │  └─ NotAccepted                     the pump stayed silent on our credential
    ├─ Refused                            the pump answered: no; certain not to have happened
    └─ OutcomeUnknown                     a therapy-changing command got no verdict

No foreign exception (``asyncio.TimeoutError``, ``ConstructError``, ``SerialException`` …) leaves
this package; it becomes ``__cause__``.
"""

from __future__ import annotations


class TelemetryError(Exception):
    """Root of everything this package raises on purpose."""


class UsageError(TelemetryError, ValueError):
    """The caller's request is wrong; it names the field, the value, the limit and what would be right."""


class UnknownScheme(UsageError):
    """No transport is registered under the URL's scheme; the message lists those that are."""


class LinkError(TelemetryError, OSError):
    """The pipe to the device failed; nothing therapy-related was applied by the call that raised it."""


class LinkOpenError(LinkError):
    """The link could not be opened."""


class LinkClosedError(LinkError):
    """The link ended while somebody was using it."""


class LinkTimeout(LinkError, TimeoutError):
    """No answer came by the deadline."""


class PeerError(TelemetryError):
    """The other end broke the rules of the protocol."""


class BadFrame(PeerError):
    """Bytes that are not a frame."""


class BadPayload(PeerError):
    """A frame whose content breaks the layout of its message; names the message, field and offset."""

    def __init__(
        self, reason: str, *, message: str = "", field: str = "", offset: int | None = None, opcode: int | None = None
    ) -> None:
        self.reason = reason
        self.opcode = opcode
        self.message = message
        self.field = field
        self.offset = offset
        where = ".".join(part for part in (message, field) if part)
        at = f" at byte {offset}" if offset is not None else ""
        super().__init__(f"{where}{at}: {reason}" if where or at else reason)


class WrongDialect(PeerError):
    """The two ends were built from wire tables that differ (layout fingerprints do not match)."""


class OutOfTurn(PeerError):
    """A legal message arrived in a state that does not allow it."""


class NotAccepted(PeerError):
    """The pump did not accept the credential (it answers a wrong one with silence)."""


class SecurityError(UsageError):
    """Local policy forbids it: no vault, no key, or a test device outside test mode."""


class Refused(TelemetryError):
    """The pump said no. A refusal is certain: the change has not happened and never will.

    ``reason`` is a stable machine-readable name (``rate_below_minimum``, ``base_changed`` …), ``status`` the class it
    belongs to on the wire (``limit_hard``, ``stale_base`` …; empty at the bench), ``warnings`` the names of soft
    limits to accept explicitly, ``field``/``value``/``limit`` what the pump measured.
    """

    def __init__(
        self,
        reason: str,
        message: str = "",
        *,
        warnings: tuple[str, ...] = (),
        field: str = "",
        value: int | None = None,
        limit: int | None = None,
        status: str = "",
        transaction: str = "",
    ) -> None:
        self.reason = reason
        self.status = status
        self.warnings = warnings
        self.field = field
        self.value = value
        self.limit = limit
        self.transaction = transaction
        super().__init__(message or reason)


class OutcomeUnknown(TelemetryError):
    """A therapy-changing command was sent and no verdict came back.

    ``transaction`` names the operation. The driver asks the pump for its verdict first thing at the next
    contact, and refuses further dosing for this pump until it has the answer.
    """

    def __init__(self, transaction: str, message: str = "") -> None:
        self.transaction = transaction
        super().__init__(
            message
            or f"the outcome of operation {transaction} is unknown: bring the telemeter back over the pump and "
            f"interrogate it; do not repeat the command before that"
        )
