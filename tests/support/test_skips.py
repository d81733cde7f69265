"""A missing program is a reason to skip at home, and a failure where everything must run."""

from __future__ import annotations

import pytest

from tests.support.skips import skip_or_fail


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception), ("false", pytest.skip.Exception)]
)
def test_what_is_missing_fails_in_ci_and_is_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no qemu"):
        skip_or_fail("no qemu")
