"""A programmer's end without link or loop: for asking the pump's firmware directly, in any order and any role."""

from __future__ import annotations

import hashlib
from random import Random
from typing import TYPE_CHECKING

from telemetry.model import OperationKind, PumpMode, Role
from telemetry.protocol import messages as wire
from telemetry.protocol.channel import Answered, Failed, Opened, ProgrammerChannel
from telemetry.protocol.codec import encode_record
from telemetry.protocol.credentials import test_credential, test_pump_secrets, test_slots
from telemetry.protocol.frame import decode_frame
from telemetry.protocol.orders import decode_order, encode_order, kind_of
from telemetry.protocol.wire import IMAGE_SCHEMA, MAX_READ_BACK_PART, MAX_WRITE
from telemetry.sim.firmware import PumpFirmware
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.therapy import Program

if TYPE_CHECKING:
    from telemetry.protocol.messages import AcceptPayload, Message
    from telemetry.protocol.orders import Order


class Rig:
    """A virtual pump with its firmware, and link time that only the test moves."""

    def __init__(self, **overrides: object) -> None:
        self.pump = VirtualPump(seed=11, **overrides)  # type: ignore[arg-type]
        self.device = self.pump.device
        self.link_ms = 0
        self.firmware = self.boot()

    def boot(self) -> PumpFirmware:
        """The firmware after a (re)start of the pump."""
        self.device = self.pump.device
        self.firmware = PumpFirmware(
            self.device,
            secrets=test_pump_secrets(self.device.identity().pump_id),
            slots=test_slots(),
            entropy=Random(self.device.boot_epoch).randbytes,
        )
        return self.firmware

    def open(self, role: Role = Role.CLINICIAN) -> Talker:
        """A session of this role."""
        return Talker(self, role)


class Talker:
    """One open session; ``ask`` gives the answer, None when the pump stayed silent."""

    _seed = 0

    def __init__(self, rig: Rig, role: Role) -> None:
        Talker._seed += 1
        self.rig = rig
        self.role = role
        self.sent: list[bytes] = []
        self.channel = ProgrammerChannel(
            test_credential(role), want_role=role, entropy=Random(Talker._seed).randbytes, utc_s=1_790_000_000
        )
        self.channel.open(rig.link_ms)
        self._carry()
        (opened,) = self.channel.take_events()
        assert isinstance(opened, Opened), opened
        self.accept: AcceptPayload = opened.accept
        self._counter = self.accept.last_operation_counter
        self.read_back = b""

    def ask(self, message: Message) -> Message | None:
        """Send one request and give its answer."""
        self.channel.request(message, self.rig.link_ms)
        self._carry()
        event = next(iter(self.channel.take_events()), None)
        if isinstance(event, Answered):
            return event.message
        assert event is None or isinstance(event, Failed), event
        return None

    def _carry(self) -> None:
        while frames := self.channel.take_frames():
            for data in frames:
                self.sent.append(data)
                for answer in self.rig.firmware.receive(decode_frame(data), self.rig.link_ms):
                    self.channel.receive(decode_frame(answer), self.rig.link_ms)

    # --- requests with everything right, for tests to spoil one thing of -------------------------------------

    def new_op_id(self) -> bytes:
        """A fresh operation id above every earlier one of this slot."""
        self._counter += 1
        return self._counter.to_bytes(8, "little") + self._counter.to_bytes(8, "big")

    def rate(self, rate_nl_per_day: int = 150_000, op_id: bytes | None = None, **changes: object) -> wire.SetRate:
        """A SET_RATE that the pump accepts."""
        report, status = self.rig.device.program_report(), self.rig.device.status()
        fields: dict[str, object] = {
            "op_id": op_id if op_id is not None else self.new_op_id(),
            "acked_through": 0,
            "base_sequence": report.program_sequence,
            "base_digest": report.program_digest,
            "drug": status.drug,
            "concentration_ng_per_ml": status.concentration_ng_per_ml,
            "reservoir_generation": status.reservoir_generation,
            "rate_nl_per_day": rate_nl_per_day,
            "dose_ng_per_day": rate_nl_per_day * status.concentration_ng_per_ml // 1_000_000,
        }
        return wire.SetRate(**(fields | changes))  # type: ignore[arg-type]

    def image(self, rate_nl_per_day: int = 150_000, mode: PumpMode = PumpMode.SIMPLE_CONTINUOUS) -> bytes:
        """The image of a program that the pump accepts."""
        status = self.rig.device.status()
        return encode_record(
            "program_image",
            wire.ProgramImage(
                schema=IMAGE_SCHEMA,
                mode=mode,
                drug=status.drug,
                concentration_ng_per_ml=status.concentration_ng_per_ml,
                reservoir_generation=status.reservoir_generation,
                rate_nl_per_day=rate_nl_per_day,
                dose_ng_per_day=rate_nl_per_day * status.concentration_ng_per_ml // 1_000_000,
            ),
        )

    def begin(
        self, image: bytes, kind: OperationKind = OperationKind.PROGRAM, op_id: bytes | None = None, **changes: object
    ) -> wire.Begin:
        """A BEGIN for an image."""
        report = self.rig.device.program_report()
        fields: dict[str, object] = {
            "op_id": op_id if op_id is not None else self.new_op_id(),
            "acked_through": 0,
            "base_sequence": report.program_sequence,
            "base_digest": report.program_digest,
            "kind": kind,
            "schema": IMAGE_SCHEMA,
            "total_length": len(image),
            "image_digest": hashlib.sha256(image).digest(),
        }
        return wire.Begin(**(fields | changes))  # type: ignore[arg-type]

    def resume_image(self) -> bytes:
        """The image that resumes the program in force."""
        report = self.rig.device.program_report()
        return encode_record(
            "resume_image",
            wire.ResumeImage(
                schema=IMAGE_SCHEMA,
                reserved=0,
                program_sequence=report.program_sequence,
                program_digest=report.program_digest,
            ),
        )

    def stage(self, rate_nl_per_day: int = 150_000) -> tuple[bytes, wire.Staged]:
        """Stage a rate; returns the operation id and the read-back."""
        message = self.rate(rate_nl_per_day)
        staged = self.ask(message)
        assert isinstance(staged, wire.Staged), staged
        return message.op_id, staged

    def stage_image(self, image: bytes, kind: OperationKind) -> tuple[bytes, wire.Staged]:
        """Stage an image the long way."""
        begin = self.begin(image, kind)
        assert isinstance(self.ask(begin), wire.Begun)
        for offset in range(0, len(image), MAX_WRITE):
            assert isinstance(
                self.ask(wire.Write(offset=offset, data=image[offset : offset + MAX_WRITE])), wire.Written
            )
        self.read_back, part = b"", self.ask(wire.Verify(part=0))
        while isinstance(part, wire.ReadBack):
            self.read_back += part.image
            part = self.ask(wire.Verify(part=part.part + 1))
        assert isinstance(part, wire.Staged), part
        self.read_back += part.image
        return begin.op_id, part

    def stage_order(self, order: Order) -> tuple[bytes, wire.Staged]:
        """Stage an order of any kind; its whole read-back is ``read_back`` then."""
        return self.stage_image(encode_order(order), kind_of(order))

    def refused_order(self, order: Order) -> wire.Refusal:
        """The refusal that staging an order meets at VERIFY."""
        image = encode_order(order)
        assert isinstance(self.ask(self.begin(image, kind_of(order))), wire.Begun)
        for offset in range(0, len(image), MAX_WRITE):
            self.ask(wire.Write(offset=offset, data=image[offset : offset + MAX_WRITE]))
        answer = self.ask(wire.Verify(part=0))
        assert isinstance(answer, wire.Refusal), answer
        return answer

    def apply(self, order: Order) -> wire.VerdictReport:
        """Stage and commit an order, its warnings accepted."""
        op_id, staged = self.stage_order(order)
        verdict = self.ask(self.commit(op_id, staged))
        assert isinstance(verdict, wire.VerdictReport), verdict
        return verdict

    def program(self) -> Program:
        """The program in force, read part by part."""
        image, parts = b"", 1
        while len(image) < parts * MAX_READ_BACK_PART:
            answer = self.ask(wire.ReadProgram(len(image) // MAX_READ_BACK_PART))
            assert isinstance(answer, wire.ProgramReport), answer
            image, parts = image + answer.image, answer.parts
            if answer.part == parts - 1:
                break
        order = decode_order(OperationKind.PROGRAM, image)
        assert isinstance(order, Program)
        return order

    @staticmethod
    def commit(op_id: bytes, staged: wire.Staged, **changes: object) -> wire.Commit:
        """The COMMIT of what was staged, its warnings accepted."""
        fields: dict[str, object] = {
            "op_id": op_id,
            "token": staged.token,
            "image_digest": staged.image_digest,
            "accepted_warnings": staged.warnings,
        }
        return wire.Commit(**(fields | changes))  # type: ignore[arg-type]

    def apply_rate(self, rate_nl_per_day: int = 150_000) -> wire.VerdictReport:
        """Stage and commit a rate."""
        op_id, staged = self.stage(rate_nl_per_day)
        verdict = self.ask(self.commit(op_id, staged))
        assert isinstance(verdict, wire.VerdictReport), verdict
        return verdict
