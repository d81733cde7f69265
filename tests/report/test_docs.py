"""The examples of the pages run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


@pytest.mark.parametrize("name", ["reports", "patient-model"])
def test_the_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, f"docs/{name}.md", "exec"), {})  # noqa: S102 - our own pages
    assert {path.name for path in tmp_path.iterdir()} == (
        {"visit.run.json", "visit.html"} if name == "reports" else set()
    )


def test_every_picture_of_the_pages_is_there_and_so_is_its_command() -> None:
    text = (DOCS / "reports.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 3
    for picture in pictures:
        assert (DOCS / picture).stat().st_size > 10_000
        assert f"-o docs/{picture}" in text
