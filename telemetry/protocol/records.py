"""Layouts of the wire table at work: the fields of one, both ways; and the records, which have no header.

Records here are the handshake bodies, the images that transactions stage and what repeats inside messages. What is of
fixed length passes through one ``struct.Struct`` each, an image with lists through construct, as messages do. Messages,
which have headers, are in ``codec.py``.
"""

from __future__ import annotations

import struct
from functools import cache
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, NoReturn, cast, overload

from telemetry.errors import BadPayload, UsageError
from telemetry.protocol import messages
from telemetry.protocol.fields import Conversion, FieldError, PayloadFault, conversion, struct_format
from telemetry.protocol.wire import HANDSHAKE, IMAGES, RECORDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telemetry.protocol.wire import Field

_RECORD_FIELDS = {**RECORDS, **IMAGES, **HANDSHAKE}


class Layout:
    """The fields of one layout, their conversions and, when its length is fixed, its ``struct``.

    Offsets count from the first byte of the header (``header`` is its ``struct`` format).
    """

    def __init__(
        self, name: str, kind: Callable[..., object], fields: tuple[Field, ...], header: str = "<", *, checked: bool
    ) -> None:
        self.name = name
        self.kind = kind
        self.fields = fields
        self.names = tuple(field.name for field in fields)
        self.header_size = struct.calcsize(header)
        formats = [code for code in map(struct_format, fields) if code is not None]
        self.fixed = struct.Struct(header + "".join(formats)) if len(formats) == len(fields) else None
        # A width that struct does not check for us must be checked here.
        steps = [_conversion(field, checked=checked or self.fixed is None) for field in fields]
        self._readers = tuple((index, step.read) for index, step in enumerate(steps) if step.read is not None)
        self._writers = tuple((index, step.write) for index, step in enumerate(steps) if step.write is not None)
        self._kinds = tuple(step.types for step in steps)
        # A field that may be None doubles the combinations; no layout has more than three of them.
        self._types = frozenset(product(*self._kinds))
        self._get = _getter(self.names)
        sizes = [struct.calcsize(f"<{code}") for code in formats]
        self.offsets = tuple(self.header_size + sum(sizes[:index]) for index in range(len(sizes))) if self.fixed else ()

    def read(self, raw: list[object], offsets: Sequence[int]) -> list[object]:
        """Turn raw values into Python's, in place; raises ``FieldError``."""
        index = 0
        try:
            for index, read in self._readers:
                raw[index] = read(raw[index])
        except FieldError as error:
            raise error.within(self.names[index], offsets[index]) from None
        return raw

    def write(self, obj: object) -> list[object]:
        """The raw values of an object's fields; raises ``FieldError``."""
        values = self._get(obj)
        if tuple(map(type, values)) not in self._types:
            self._refuse_types(values)
        raw = list(values)
        index = 0
        try:
            for index, write in self._writers:
                raw[index] = write(raw[index])
        except FieldError as error:
            raise error.within(self.names[index]) from None
        return raw

    def _refuse_types(self, values: tuple[object, ...]) -> NoReturn:
        name, value, kinds = next(
            (name, value, kinds)
            for name, value, kinds in zip(self.names, values, self._kinds, strict=True)
            if type(value) not in kinds
        )
        wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
        # Bytes may be a token or sealed data, and an error may be logged: they are not shown.
        shown = f"{len(value)} bytes" if isinstance(value, bytes | bytearray) else repr(value)
        raise FieldError(PayloadFault.OUT_OF_RANGE, f"{shown} of type {type(value).__name__}, not {wanted}", path=name)

    def refuse_width(self, obj: object) -> NoReturn:
        """Name the integer that ``struct`` would not pack; raises ``UsageError``."""
        Layout(self.name, self.kind, self.fields, checked=True).write_or_refuse(obj)
        raise AssertionError(f"{self.name}: every field fits its width")  # pragma: no cover - a broken table

    def write_or_refuse(self, obj: object) -> list[object]:
        """As ``write``; raises ``UsageError`` naming layout, field, value and limit."""
        try:
            return self.write(obj)
        except FieldError as error:
            raise UsageError(f"{self.name}.{error.path}: {error.detail}") from None

    def read_or_refuse(self, raw: list[object], offsets: Sequence[int]) -> list[object]:
        """As ``read``; raises ``BadPayload``."""
        try:
            return self.read(raw, offsets)
        except FieldError as error:
            raise self.bad(error.fault, error.detail, error.path, error.offset) from None

    def bad(self, fault: PayloadFault, detail: str, field: str = "", offset: int | None = None) -> BadPayload:
        """The error of a payload of this layout."""
        return BadPayload(f"{fault.value}: {detail}", message=self.name, field=field, offset=offset)

    def measure(self, data: bytes) -> list[int]:
        """Offsets of all fields; raises ``BadPayload`` where the layout ends before or after ``data`` does.

        What passes leaves construct nothing to stumble over, so no foreign exception has to be translated.
        """
        offsets, at = [], self.header_size
        for field in self.fields:
            offsets.append(at)
            end = at + field.size
            if field.kind in (Kind.BLOB, Kind.RECORDS) and at < len(data):
                end += self._counted_size(field, data[at], at)
            if end > len(data):
                raise self.bad(
                    PayloadFault.TRUNCATED, f"the field ends at byte {end}, the payload at {len(data)}", field.name, at
                )
            at = end
        if at != len(data):
            raise self.bad(PayloadFault.TRAILING, f"{len(data) - at} bytes after the last field", offset=at)
        return offsets

    def _counted_size(self, field: Field, count: int, at: int) -> int:
        if field.high is not None and count > field.high:
            raise self.bad(PayloadFault.TOO_MANY, f"{count} {field.unit}, at most {field.high}", field.name, at)
        return count if field.kind is Kind.BLOB else count * _record(field.table).size


class _Headless(Layout):
    """A record, image or handshake body: no header."""

    def __init__(self, name: str) -> None:
        kind = getattr(messages, "".join(part.capitalize() for part in name.split("_")))
        super().__init__(name, cast("Callable[..., object]", kind), _RECORD_FIELDS[name], checked=True)

    def decode(self, data: bytes) -> object:
        raise NotImplementedError

    def encode(self, obj: object) -> bytes:
        raise NotImplementedError

    def refuse_stranger(self, obj: object) -> None:
        """Raise ``UsageError`` for an object of another layout."""
        if type(obj) is not self.kind:
            raise UsageError(f"{self.name}: a {type(obj).__name__} is no {self.kind.__name__}")


class _Listing(_Headless):
    """An image with lists in it: of variable length."""

    def decode(self, data: bytes) -> object:
        from telemetry.protocol import layouts  # noqa: PLC0415 - construct is loaded only when it is needed

        offsets = self.measure(data)
        raw = layouts.record_layout(self.name).parse(data)
        return self.kind(*self.read_or_refuse([raw[name] for name in self.names], offsets))

    def encode(self, obj: object) -> bytes:
        from telemetry.protocol import layouts  # noqa: PLC0415 - as above

        self.refuse_stranger(obj)
        return layouts.record_layout(self.name).build(dict(zip(self.names, self.write_or_refuse(obj), strict=True)))


class _Record(_Headless):
    """A record of fixed length; only these may repeat inside a message or image."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if self.fixed is None:  # pragma: no cover - a broken table
            raise AssertionError(f"{name}: a record is of fixed length")
        self.pack = self.fixed.pack
        self.unpack = self.fixed.unpack
        self.size = self.fixed.size

    def decode(self, data: bytes) -> object:
        if len(data) != self.size:
            self.measure(data)
        return self.kind(*self.read_or_refuse(list(self.unpack(data)), self.offsets))

    def encode(self, obj: object) -> bytes:
        self.refuse_stranger(obj)
        return self.pack(*self.write_or_refuse(obj))

    def read_list(self, rows: Sequence[Mapping[str, object]]) -> tuple[object, ...]:
        """Records of a list field, raw by name as construct gives them; raises ``FieldError``."""
        found = []
        for index, row in enumerate(rows):
            try:
                found.append(self.kind(*self.read([row[name] for name in self.names], self.offsets)))
            except FieldError as error:
                raise error.within(f"[{index}]", 1 + index * self.size) from None
        return tuple(found)

    def write_list(self, objects: tuple[object, ...], high: int | None) -> list[Mapping[str, object]]:
        """Records of a list field as construct takes them; raises ``FieldError``."""
        if high is not None and len(objects) > high:
            raise FieldError(PayloadFault.TOO_MANY, f"{len(objects)} records, at most {high} fit")
        rows: list[Mapping[str, object]] = []
        for index, obj in enumerate(objects):
            if type(obj) is not self.kind:
                raise FieldError(
                    PayloadFault.OUT_OF_RANGE, f"a {type(obj).__name__} is no {self.kind.__name__}", path=f"[{index}]"
                )
            try:
                rows.append(dict(zip(self.names, self.write(obj), strict=True)))
            except FieldError as error:
                raise error.within(f"[{index}]") from None
        return rows


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    if len(names) > 1:
        return cast("Callable[[object], tuple[object, ...]]", attrgetter(*names))
    # attrgetter gives a bare value for one name and refuses none at all.
    return lambda obj: tuple(getattr(obj, name) for name in names)


def _conversion(field: Field, *, checked: bool) -> Conversion:
    if field.kind is not Kind.RECORDS:
        return conversion(field, checked=checked)
    record = _record(field.table)
    return Conversion((tuple,), record.read_list, lambda objects: record.write_list(objects, field.high))


@cache
def _record(name: str) -> _Record:
    return _Record(name)


@cache
def _headless(name: str) -> _Headless:
    lists = any(field.kind in (Kind.BLOB, Kind.RECORDS) for field in _RECORD_FIELDS[name])
    return _Listing(name) if lists else _record(name)


RecordName = Literal[
    "alarm_record",
    "log_entry",
    "program_step",
    "program_bolus",
    "program_ramp_step",
    "program_patient_bolus",
    "program_bridge",
    "listed_concentration",
    "program_image",
    "resume_image",
    "bolus_image",
    "prime_image",
    "refill_image",
    "limits_image",
    "clock_image",
    "alarm_settings_image",
    "probe",
    "beacon",
    "hello",
    "hello_payload",
    "accept",
    "accept_payload",
]


def encode_record(name: RecordName, obj: object) -> bytes:
    """The bytes of a handshake body, image or record of the wire table.

    Raises ``UsageError`` naming record, field, value and limit, or the names there are.
    """
    return _known_record(name).encode(obj)


@overload
def decode_record(name: Literal["alarm_record"], data: bytes) -> messages.AlarmRecord: ...
@overload
def decode_record(name: Literal["log_entry"], data: bytes) -> messages.LogEntry: ...
@overload
def decode_record(name: Literal["program_image"], data: bytes) -> messages.ProgramImage: ...
@overload
def decode_record(name: Literal["resume_image"], data: bytes) -> messages.ResumeImage: ...
@overload
def decode_record(name: Literal["bolus_image"], data: bytes) -> messages.BolusImage: ...
@overload
def decode_record(name: Literal["prime_image"], data: bytes) -> messages.PrimeImage: ...
@overload
def decode_record(name: Literal["refill_image"], data: bytes) -> messages.RefillImage: ...
@overload
def decode_record(name: Literal["limits_image"], data: bytes) -> messages.LimitsImage: ...
@overload
def decode_record(name: Literal["clock_image"], data: bytes) -> messages.ClockImage: ...
@overload
def decode_record(name: Literal["alarm_settings_image"], data: bytes) -> messages.AlarmSettingsImage: ...
@overload
def decode_record(name: Literal["probe"], data: bytes) -> messages.Probe: ...
@overload
def decode_record(name: Literal["beacon"], data: bytes) -> messages.Beacon: ...
@overload
def decode_record(name: Literal["hello"], data: bytes) -> messages.Hello: ...
@overload
def decode_record(name: Literal["hello_payload"], data: bytes) -> messages.HelloPayload: ...
@overload
def decode_record(name: Literal["accept"], data: bytes) -> messages.Accept: ...
@overload
def decode_record(name: Literal["accept_payload"], data: bytes) -> messages.AcceptPayload: ...
@overload
def decode_record(name: str, data: bytes) -> object: ...
def decode_record(name: str, data: bytes) -> object:
    """The handshake body, image or record that is exactly ``data``.

    Raises ``BadPayload`` for any other bytes, and ``UsageError`` for a name that the wire table has not.
    """
    return _known_record(name).decode(data)


def _known_record(name: str) -> _Headless:
    if name not in _RECORD_FIELDS:
        raise UsageError(f"record: {name!r} is none of {', '.join(_RECORD_FIELDS)}")
    return _headless(name)
