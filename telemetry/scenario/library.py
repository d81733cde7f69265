"""Which scenarios there are: those that come with the package, by name, and those of files and folders."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from telemetry.errors import UsageError
from telemetry.scenario.problems import suggestion

SUFFIXES = (".yaml", ".yml")


def stock_folder() -> Path:
    """Where the stock scenarios lie."""
    return Path(str(files("telemetry.scenario"))) / "stock"


def stock_files() -> dict[str, Path]:
    """The stock scenarios by name, in order of their names."""
    return {path.stem: path for path in sorted(stock_folder().rglob("*.yaml"))}


def stock_groups() -> dict[str, list[Path]]:
    """The stock scenarios by the folder they lie in, and all of them as ``stock``."""
    everything = list(stock_files().values())
    groups: dict[str, list[Path]] = {}
    for path in everything:
        groups.setdefault(path.parent.name, []).append(path)
    return {**groups, "stock": everything}


def find(what: str) -> list[Path]:
    """The files that an argument means: a file, a folder (all below it), a stock scenario or a group of them.

    Raises ``UsageError`` for what is none of them.
    """
    path = Path(what)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise UsageError(f"{what}: this folder holds no scenario (no file ending in {' or '.join(SUFFIXES)})")
        return found
    if path.is_file():
        return [path]
    stock = stock_files()
    groups = stock_groups()
    if what in stock:  # the journey is the only one of its group, by the same name
        return [stock[what]]
    if what in groups:
        return groups[what]
    alike = [name for name in stock if what and what.lower() in name]
    hint = f"stock ones with that: {', '.join(alike)}" if alike else suggestion(what, (*groups, *stock))
    raise UsageError(f"{what}: is no file, no folder and no stock scenario; {hint}")


def find_all(arguments: tuple[str, ...] | list[str]) -> list[Path]:
    """All files of several arguments, each once, in order; without any, the stock scenarios."""
    found: dict[Path, None] = {}
    for what in arguments or ("stock",):
        found |= dict.fromkeys(find(what))
    return list(found)
