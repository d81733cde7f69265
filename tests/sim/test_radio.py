"""Trouble in the air: loss, a trembling hand, a lifted telemeter, strangers. None of it reaches the therapy (F30)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

import telemetry
from telemetry.errors import LinkError, Refused, UsageError
from telemetry.model import RefusalReason
from telemetry.sim.connector import station_of
from telemetry.sim.faults.injection import Injection
from telemetry.sim.radio import RadioTrouble
from telemetry.sim.virtual_pump import VirtualPump
from telemetry.units import MS_PER_MINUTE, FlowRate

if TYPE_CHECKING:
    from telemetry.sim.pump.core import PumpCore

pytestmark = pytest.mark.virtual


def troubled(core: PumpCore, mode: str, seed: int = 1, lost_ppm: int = 300_000) -> RadioTrouble:
    radio = RadioTrouble()
    radio.strike(core, 1, Injection("radio", mode, {"lost_ppm": lost_ppm}, seed=seed))
    return radio


@pytest.fixture
def core() -> PumpCore:
    return VirtualPump().device.core


def test_loss_is_as_large_as_asked_and_repeatable(core: PumpCore) -> None:
    lost = [troubled(core, "loss", seed).loses(100) for seed in range(2_000)]
    assert 520 < sum(lost) < 680
    one, other = troubled(core, "loss"), troubled(core, "loss")
    assert [one.loses(100) for _ in range(50)] == [other.loses(100) for _ in range(50)]


def test_a_trembling_hand_loses_frames_in_bursts(core: PumpCore) -> None:
    radio = troubled(core, "tremor")
    lost = [radio.loses(100) for _ in range(20_000)]
    share = sum(lost) / len(lost)
    # Gilbert-Elliott: bad for 0.02 / (0.02 + 0.2) of the frames, and then a 100-byte frame is lost with 1 - 0.99^800.
    assert 0.075 < share < 0.107
    after_a_loss = [next_lost for this, next_lost in pairwise(lost) if this]
    assert sum(after_a_loss) / len(after_a_loss) > 0.7  # a burst lasts five frames on average
    short = [troubled(core, "tremor", seed).loses(1) for seed in range(3_000)]
    assert sum(short) / len(short) < 0.01  # a short frame often gets through a bad moment


def test_trouble_goes_on_where_a_snapshot_left_it(core: PumpCore) -> None:
    radio = troubled(core, "tremor")
    first = [radio.loses(100) for _ in range(60)]
    again = RadioTrouble()
    again.restore(radio.snapshot())
    assert [again.loses(100) for _ in range(60)] == [radio.loses(100) for _ in range(60)]
    assert first
    drain = {"mode": "drain", "lost_ppm": 1, "seed": 1, "drawn": 1, "bad": False}
    wrong: tuple[object, ...] = ({"x": {}}, 3, {"1": drain})
    for broken in wrong:
        with pytest.raises(UsageError):
            again.restore(broken)


async def test_a_poor_link_costs_time_and_changes_nothing() -> None:
    pump = VirtualPump()
    pump.inject("radio", "loss", lost="10 %")
    async with telemetry.connect(pump=pump) as programmer:
        for _ in range(10):
            status = await programmer.read_status()
            assert status.rate_nl_per_day == pump.status.rate_nl_per_day
    assert station_of(pump).telemeter.frames_lost > 0


async def test_a_lifted_telemeter_ends_the_session_after_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    pump = VirtualPump()
    gone: list[int] = []
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.read_status()
        station = station_of(pump)
        monkeypatch.setattr(station, "contact_lost", lambda: gone.append(pump.clock.link_ms()))
        pump.inject("radio", "lifted", duration="1 min")
        assert (station.telemeter.near_field.contact, station.telemeter.near_field.coupling_bars) == (False, 0)
        with pytest.raises(LinkError, match="telemeter"):
            await programmer.read_status()
        pump.advance(minutes=1)
        assert gone == [5_000]
        assert station.telemeter.near_field.coupling_bars == 5
        await programmer.read_status()


async def test_nothing_that_is_sent_again_is_carried_out() -> None:
    pump = VirtualPump()
    async with telemetry.connect(pump=pump) as programmer:
        await programmer.set_rate(FlowRate.parse("0.200 ml/day"))
        after = pump.status
        head = pump.device.log_head()
        pump.inject("radio", "replay", frames=200)  # with the session still open
        assert pump.status == after
        pump.advance(days=1)
        before = pump.status
        pump.inject("radio", "replay", frames=200)  # and after it
        assert pump.status.program_sequence == before.program_sequence
        assert pump.status.rate_nl_per_day == 200_000
        assert pump.device.log_head() == head
    assert station_of(pump).heard >= 5


async def test_a_stale_tablet_is_refused() -> None:
    pump = VirtualPump()

    async def meanwhile(_proposal: object) -> bool:
        pump.inject("radio", "second_tablet")
        return True

    async with telemetry.connect(pump=pump) as programmer:
        with pytest.raises(Refused) as refused:
            await programmer.set_rate(FlowRate.parse("0.200 ml/day"), confirm=meanwhile)
    assert refused.value.reason == RefusalReason.BASE_CHANGED
    assert pump.status.rate_nl_per_day == 170_000


async def test_waking_costs_charge_frame_by_frame() -> None:
    pump = VirtualPump()
    station = station_of(pump)
    spent = []
    for frames in (100, 200):
        before = pump.truth.battery_pc
        pump.inject("radio", "drain", frames=frames)
        spent.append(before - pump.truth.battery_pc)
    assert spent[1] == 2 * spent[0] > 0
    assert station.firmware.channel.counters.probes == 300
    assert pump.status.mode == "simple_continuous"
    async with telemetry.connect(pump=pump) as programmer:  # nobody is locked out by it
        await programmer.read_status()


def test_strikes_of_the_radio_come_at_their_instant_and_end() -> None:
    pump = VirtualPump()
    pump.inject("radio", "lifted", at="10 min", duration="5 min")
    pump.advance(minutes=9)
    lifted = [pump.radio.lifted]
    for minutes in (2, 10):
        pump.advance(minutes=minutes)
        lifted.append(pump.radio.lifted)
    assert lifted == [False, True, False]
    assert pump.faults.list()[0].over
    assert pump.faults.list()[0].last_ms == 10 * MS_PER_MINUTE


def test_a_second_tablet_cannot_do_what_the_pump_refuses() -> None:
    pump = VirtualPump()
    pump.inject("update_blocked")
    with pytest.raises(UsageError, match="second_tablet: the pump refuses it as it is"):
        pump.inject("radio", "second_tablet")
