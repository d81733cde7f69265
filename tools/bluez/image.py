"""Debian's kernel and the few modules that the machine needs, unpacked into a cache; nothing is installed.

A cache entry is named after the kernel package, its version and the list of modules: a new kernel makes a new one.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.debian import Failed, NotHere, as_root, command, run

if TYPE_CHECKING:
    from collections.abc import Sequence

META_PACKAGE = "linux-image-amd64"
# In loading order, each with what it depends on in front. The hashes and the random generator come before
# ecdh_generic, which bluetooth pulls in: its self-test draws random numbers, and when that fails Bluetooth goes on
# without Secure Connections.
MODULES = (
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "sha256_generic",
    "sha512_generic",
    "hmac",
    "ctr",
    "drbg",
    "ecdh_generic",
    "cmac",
    "ecb",
    "ccm",
    "gcm",
    "algif_skcipher",
    "algif_hash",
    "hci_vhci",
    "uhid",
)
_DOWNLOAD_LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Image:
    """What QEMU boots: a kernel, and a compressed archive with ``/mods/*.ko`` and their order in ``/mods/order``."""

    package: str
    version: str
    kernel: Path
    modules: Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/itb-telemetry/bluez``, by default under ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "itb-telemetry" / "bluez"


def recipe() -> str:
    """A word for what is picked from a kernel package, so that another choice makes another cache entry."""
    return hashlib.sha256("\n".join(MODULES).encode()).hexdigest()[:8]


def ensure_image(cache: Path | None = None) -> Image:
    """Find the image of the kernel that Debian offers now, or make it; raises ``NotHere`` or ``Failed``."""
    image = _image_of(cache or cache_folder(), *_newest_kernel())
    folder = image.kernel.parent
    if not folder.is_dir() and (front := as_root()) is not None:
        # A mirror keeps no package that its list of today does not name.
        _update_lists(front)
        image = _image_of(cache or cache_folder(), *_newest_kernel())
        folder = image.kernel.parent
    if not folder.is_dir():
        print(f"Downloading and unpacking {image.package} {image.version} ...", flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=folder.parent) as place:
            made = _make(image.package, Path(place))
            try:
                made.rename(folder)  # whole or not at all, even when two runs make the same one
            except OSError:
                if not folder.is_dir():
                    raise
    return image


def archive(folder: Path) -> bytes:
    """Everything in a folder as the kernel wants its first files: a cpio archive, owned by root."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    done = subprocess.run(
        [command("cpio", "cpio"), "--create", "--format=newc", "--owner=0:0", "--quiet"],
        cwd=folder,
        input="\n".join(names).encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode or done.stderr:
        raise Failed(f"cpio ended with status {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _image_of(cache: Path, package: str, version: str) -> Image:
    folder = cache / f"{package}_{version}_{recipe()}".replace(":", "-")
    return Image(package, version, folder / "vmlinuz", folder / "modules.cpio.gz")


def _newest_kernel() -> tuple[str, str]:
    """Name and version of the package that the kernel's meta package stands for."""
    found = _look_up()
    if found is None and (front := as_root()) is not None:
        _update_lists(front)
        found = _look_up()
    if found is None:
        raise NotHere(f"no kernel to boot: apt knows no {META_PACKAGE}; try: sudo apt-get update")
    return found


def _look_up() -> tuple[str, str] | None:
    apt_cache = command("apt-cache", "apt (this needs Debian or a system made from it)")
    try:
        package = re.search(r"Depends: (linux-image-[0-9][\w.+-]*)", run([apt_cache, "depends", META_PACKAGE]))
        if package is None:
            return None
        version = re.search(
            r"^Version: (\S+)$", run([apt_cache, "show", "--no-all-versions", package[1]]), re.MULTILINE
        )
    except Failed:
        return None  # how apt-cache says that it knows no such package
    return None if version is None else (package[1], version[1])


def _update_lists(front: Sequence[str]) -> None:
    try:
        run([*front, command("apt-get", "apt"), "update"], limit_s=_DOWNLOAD_LIMIT_S)
    except Failed as error:
        raise NotHere(f"no kernel to boot: {error}") from error


def _make(package: str, place: Path) -> Path:
    """Download, unpack and pick in ``place``; returns the folder with the two files."""
    apt = command("apt-get", "apt")
    # Root's apt would otherwise try to download as a user who may not write here, and warn.
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    try:
        run([apt, *sandbox, "download", package], limit_s=_DOWNLOAD_LIMIT_S, cwd=place)
    except Failed as error:
        raise NotHere(f"no kernel to boot: {error}") from error
    (deb,) = place.glob("*.deb")
    root = place / "unpacked"
    run([command("dpkg-deb", "dpkg"), "--extract", str(deb), str(root)], limit_s=_DOWNLOAD_LIMIT_S)
    (modules,) = (root / "lib" / "modules").iterdir()
    run([command("depmod", "kmod"), "--basedir", str(root), modules.name])
    chosen = place / "chosen" / "mods"
    chosen.mkdir(parents=True)
    order = _with_dependencies(root, modules.name, MODULES)
    for path in order:
        shutil.copy(path, chosen / path.name)
    (chosen / "order").write_text("".join(f"{path.name}\n" for path in order), encoding="ascii")
    made = place / "made"
    made.mkdir()
    (made / "modules.cpio.gz").write_bytes(gzip.compress(archive(chosen.parent), compresslevel=6, mtime=0))
    shutil.copy(root / "boot" / f"vmlinuz-{modules.name}", made / "vmlinuz")
    return made


def _with_dependencies(root: Path, release: str, names: Sequence[str]) -> list[Path]:
    modprobe = command("modprobe", "kmod")
    found: dict[Path, None] = {}
    for name in names:
        said = run([modprobe, "--dirname", str(root), "--set-version", release, "--show-depends", name])
        for line in said.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "insmod":
                found[Path(rest.split()[0])] = None
    return list(found)
