"""tshark with our dissector: runs it once over a file, and gives what it saw as plain values.

How a value is read here follows from the type that tshark itself states for a field, and from nothing of ours.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET  # tshark's own output
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from telemetry.traffic.dissector import dissector
from tests.support.skips import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Value = None | bool | int | str | list["Value"] | dict[str, "Value"]
LIMIT_S = 80


@dataclass(slots=True)
class Seen:
    """What tshark made of one packet. ``layouts`` are its parts with fields: message, body, image."""

    header: dict[str, Value] = field(default_factory=dict)
    message: str | None = None
    layouts: dict[str, dict[str, Value]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    image_faults: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    frames: list[str] = field(default_factory=list)
    crc_good: list[bool] = field(default_factory=list)

    def fields_of(self, layout: str) -> dict[str, Value]:
        return self.layouts.get(layout, {})


class Tshark:
    """tshark and one copy of the dissector."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("tshark")
        if program is None:
            skip_or_fail("tshark is not installed (Debian: tshark)")
        self._program = program
        home = folder / "home"
        home.mkdir()
        # A folder of its own: whoever runs the tests may have a dissector among their plug-ins.
        self._environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self._script = folder / "itp.lua"
        self._script.write_text(dissector(), encoding="utf-8")
        self.version = self._run("--version").partition("\n")[0]
        # Name and type of every field that the dissector registered.
        lines = (line.split("\t") for line in self._run("-G", "fields", lua=True).splitlines())
        self.types = {row[2]: row[3] for row in lines if row[0] == "F" and row[2].startswith("itp.")}

    def capinfos(self, path: Path) -> str:
        """What Wireshark's own tool says of the file."""
        return subprocess.run(
            ["capinfos", str(path)], capture_output=True, check=True, timeout=LIMIT_S, env=self._environment, text=True
        ).stdout

    def _run(self, *arguments: str, lua: bool = False) -> str:
        more = ("-X", f"lua_script:{self._script}") if lua else ()
        done = subprocess.run(
            [self._program, *arguments, *more],
            capture_output=True,
            check=True,
            timeout=LIMIT_S,
            env=self._environment,
        )
        said = done.stderr.decode()
        assert "lua" not in said.lower(), said
        return done.stdout.decode()

    def text(self, path: Path, *arguments: str) -> str:
        """What a person sees."""
        shown = self._run("-r", str(path), *arguments, lua=True)
        assert "lua error" not in shown.lower(), shown
        return shown

    def packets(self, path: Path) -> list[Seen]:
        """Every packet of the file."""
        shown = self._run("-r", str(path), "-T", "pdml", lua=True)
        assert "Lua Error" not in shown
        # A fault that we name is what tshark calls malformed; one that we did not name would have no fault beside it.
        assert shown.count('name="_ws.malformed"') <= shown.count('<field name="itp.fault.')
        return [self._packet(one) for one in ET.fromstring(shown).iter("packet")]  # noqa: S314 - tshark's own output

    def _packet(self, packet: ET.Element) -> Seen:
        seen = Seen()
        for proto in packet.findall("proto"):
            if proto.get("name", "").startswith("itp"):
                for part in proto:
                    self._part(part, seen)
        return seen

    def _part(self, element: ET.Element, seen: Seen) -> None:
        name = element.get("name", "")
        seen.names.add(name)
        layout, _, _ = name.removeprefix("itp.").partition(".")
        if name == "itp.image":
            # What is wrong with an image is wrong with the order, not with the message that brings a part of it.
            message_faults, seen.faults = seen.faults, []
            for part in element:
                self._part(part, seen)
            seen.image_faults, seen.faults = seen.faults, message_faults
            return
        if name.startswith("itp.fault."):
            seen.faults.append(name.removeprefix("itp.fault."))
        elif name == "itp.message":
            seen.message = element.get("show")
        elif name == "itp.frame.type":
            seen.frames.append(_name_of(element) or "?")
        elif name == "itp.frame.crc_good":
            seen.crc_good.append(_true(element))
        elif name.startswith("itp.header."):
            seen.header[name.removeprefix("itp.header.")] = self._value(element)
        elif name in self.types and layout not in {"capture", "frame", "sealed", "image", "padding", "segment"}:
            self._put(element, seen.layouts.setdefault(layout, {}), seen)
        seen.texts.append(element.get("showname", ""))
        if not name.endswith(".count"):
            for part in element:
                self._part(part, seen)

    def _put(self, element: ET.Element, into: dict[str, Value], seen: Seen) -> None:
        """One field of a layout: a plain value, none, the length or bytes of a blob, a list."""
        name = element.get("name", "")
        seen.names.add(name)
        seen.texts.append(element.get("showname", ""))
        _, key, *rest = name.removeprefix("itp.").split(".")
        if rest == ["none"]:
            into[key] = None
        elif rest == ["length"]:
            into[key] = ""
        elif rest == ["count"]:
            into[key] = list(self._rows(element, seen))
        elif not rest:
            flags = [one for one in element if self.types.get(one.get("name", "")) == "FT_BOOLEAN"]
            is_bitmap = bool(flags) and flags[0].get("name", "").startswith(f"{name}.")
            if is_bitmap:
                seen.names.update(one.get("name", "") for one in flags)
            into[key] = [_last(one) for one in flags if _true(one)] if is_bitmap else self._value(element)

    def _rows(self, element: ET.Element, seen: Seen) -> Iterator[Value]:
        for row in element:
            if row.get("name") == "_ws.expert":
                self._part(row, seen)
                continue
            found: dict[str, Value] = {}
            for one in row:
                if one.get("name") in self.types:
                    self._put(one, found, seen)
                for deeper in one:
                    if deeper.get("name") == "_ws.expert":
                        self._part(deeper, seen)
            if found:
                yield found

    def _value(self, element: ET.Element) -> Value:
        kind, shown = self.types[element.get("name", "")], element.get("show", "")
        if kind == "FT_BOOLEAN":
            return _true(element)
        if kind == "FT_BYTES":
            return shown.replace(":", "")
        if kind == "FT_STRING":
            return shown
        name = _name_of(element)
        if shown.startswith("0x") and name is not None:
            return None if name == "none" and element.get("name", "").endswith(".reason") else name
        return int(shown, 0)


def _true(element: ET.Element) -> bool:
    return element.get("show") in {"1", "True"}


def _last(element: ET.Element) -> str:
    return element.get("name", "").rpartition(".")[2]


def _name_of(element: ET.Element) -> str | None:
    """The name in ``mode: simple_continuous (0x0e)``, None where there is only a number."""
    found = re.search(r"(?:: |= \w+: )(\w+) \((?:0x[0-9a-f]+|\d+)\)$", element.get("showname", ""))
    return found[1] if found else None
