"""A slice of the fuzzer in every run, and the proof that it would notice."""

from __future__ import annotations

import pytest

from telemetry.errors import BadPayload
from telemetry.protocol import messages
from tools import fuzz


@pytest.mark.inv(59)
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_inv_59_a_slice_of_the_fuzzer_finds_nothing(target: str) -> None:
    accepted, refused = fuzz.run(target, 5_000, seed=2026)
    assert accepted + refused == 5_000
    assert accepted > 50  # inputs that are all refused would try nothing but the first check
    assert refused > 50


@pytest.mark.parametrize(
    "broken",
    [
        lambda _data: messages.ReadStatus(),
        lambda data: data[4000],
        lambda _data: (_ for _ in ()).throw(ValueError("a foreign exception")),
    ],
    ids=["accepts-all", "index-error", "value-error"],
)
def test_a_broken_decoder_is_found_and_named(
    broken: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "decode", broken)
    monkeypatch.setenv("FUZZ_RUNS", "100")
    assert fuzz.main(["--target", "payload", "--seed", "3"]) == 1
    assert "seed 3, run" in capsys.readouterr().err


def test_runs_are_reproducible(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FUZZ_RUNS", "500")
    assert fuzz.main(["--target", "frame"]) == 0
    first = capsys.readouterr().out
    assert fuzz.main(["--target", "frame"]) == 0
    assert capsys.readouterr().out == first
    assert "no violation" in first


def test_a_hang_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_data: bytes) -> object:
        while True:
            pass

    monkeypatch.setattr(fuzz, "HANG_S", 1)
    monkeypatch.setattr(fuzz, "decode", endless)
    with pytest.raises(fuzz.ContractError, match=r"took more than 1 s"):
        fuzz.run("payload", 1, seed=1)


def test_lost_bytes_are_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_data: bytes) -> object:
        raise BadPayload("refused")

    monkeypatch.setattr(fuzz, "unpad", refuse)
    assert fuzz.run("padding", 50, seed=1) == (0, 50)
    monkeypatch.setattr(fuzz, "unpad", lambda _data: b"\x02\x01\x00\x00")
    with pytest.raises(fuzz.ContractError, match="unpadded to what pads otherwise"):
        fuzz.run("padding", 50, seed=1)
