"""An operation that comes again, whole and from the start, gets its stored verdict and nothing else (trust.md 5.3)."""

from __future__ import annotations

import pytest

from telemetry.model import OperationKind, StopReason, Verdict
from telemetry.protocol import messages as wire
from telemetry.protocol.orders import KINDS, encode_order
from tests.support.orders import everything, orders
from tests.support.talk import Rig


@pytest.mark.inv(19)
@pytest.mark.parametrize("kind", KINDS.values())
def test_inv_19_a_begin_that_comes_again_in_a_new_session_gets_the_verdict(kind: OperationKind) -> None:
    rig = Rig()
    talker = rig.open()
    order = orders(rig)[kind]
    applied = talker.apply(order)
    after = everything(rig)
    again = rig.open().ask(talker.begin(encode_order(order), kind, applied.op_id))
    assert isinstance(again, wire.VerdictReport)
    assert (again.verdict, again.op_id, again.effective_s) == (Verdict.APPLIED, applied.op_id, applied.effective_s)
    assert everything(rig) == after


@pytest.mark.inv(19)
def test_inv_19_a_stop_that_comes_again_after_a_resume_stops_nothing() -> None:
    rig = Rig()
    talker = rig.open()
    stop = wire.Stop(op_id=(9).to_bytes(8, "little") + bytes(8), acked_through=0, reason=StopReason.CLINICAL)
    first = talker.ask(stop)
    assert isinstance(first, wire.VerdictReport)
    rig.pump.resume()
    after = everything(rig)
    again = rig.open().ask(stop)
    assert isinstance(again, wire.VerdictReport)
    assert (again.verdict, again.effective_s) == (Verdict.APPLIED, first.effective_s)
    assert everything(rig) == after
    assert rig.device.core.running
