"""Brokers for tests: Debian's mosquitto as a process of the suite's own, and the embedded one.

A mosquitto has its own folder, configuration and free port on loopback; it is stopped by its process id. Where the
program is missing a test is skipped with the reason, and fails with CI=true.

    async with Mosquitto(tmp_path) as broker:      # broker.url, broker.port, await broker.kill(), await broker.start()
    async with running_broker("embedded", tmp_path) as url: ...
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from telemetry.transport.mqtt_embedded import EmbeddedBroker
from tests.support.ports import free_port
from tests.support.skips import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

BROKERS = ("mosquitto", "embedded")
"""What ``running_broker`` knows, for ``pytest.fixture(params=BROKERS)``."""
_READY_LIMIT_S = 15
_END_LIMIT_S = 5
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def program(name: str, package: str) -> str:
    """Path of a program of the broker's package; skips where it is missing (fails with CI=true)."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PATH}")
    return found or skip_or_fail(f"no {name}; install it with: sudo apt-get install {package}")


class Mosquitto:
    """A real broker in ``folder``, listening while entered; ``kill`` and ``start`` again keep port and folder.

    ``users``: name → password (nobody else comes in); without it everybody does. ``access``: lines of an ACL file.
    ``tls``: an authority and a certificate for ``localhost`` (not for its address) are made; see ``ca_file``.
    ``client_certificates``: TLS clients must show a certificate of that authority (``client_files``). ``persistence``:
    sessions and messages are on the disk at once (``autosave_interval 1`` on changes). ``nodelay``: not mosquitto's
    default, which holds small messages back for up to 40 ms. ``settings``: more lines for
    the configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        access: tuple[str, ...] = (),
        tls: bool = False,
        client_certificates: bool = False,
        persistence: bool = False,
        nodelay: bool = True,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder / "mosquitto"
        self.folder.mkdir()
        self.port = free_port()
        self.tls = tls
        self.log = self.folder / "mosquitto.log"
        self.ca_file = self.folder / "ca.pem"
        self.client_files = self.folder / "client.pem", self.folder / "client.key"
        self._process: asyncio.subprocess.Process | None = None
        self._program = program("mosquitto", "mosquitto")
        lines = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'false' if users else 'true'}",
            f"set_tcp_nodelay {'true' if nodelay else 'false'}",
            "log_type all",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # started by root it would become a user that may not read this folder
        if users:
            lines.append(f"password_file {self._passwords(users)}")
        if access:
            (self.folder / "acl").write_text("\n".join(access) + "\n", encoding="utf-8")
            lines.append(f"acl_file {self.folder / 'acl'}")
        if tls:
            lines += self._certificates(client_certificates=client_certificates)
        if persistence:
            lines += [
                "persistence true",
                f"persistence_location {self.folder}/",
                "autosave_on_changes true",
                "autosave_interval 1",
            ]
        self._configuration = self.folder / "mosquitto.conf"
        self._configuration.write_text("\n".join([*lines, *settings]) + "\n", encoding="utf-8")

    @property
    def url(self) -> str:
        """Where clients reach it (with TLS, the authority is named)."""
        if self.tls:
            return f"mqtts://localhost:{self.port}?cafile={self.ca_file}"
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it (again) and wait until it accepts; fails with its log when it does not."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                self._program,
                "-c",
                str(self._configuration),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            async with asyncio.timeout(_READY_LIMIT_S):
                while self._process.returncode is None:
                    if await self._accepts():
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await self.stop()
        pytest.fail(f"mosquitto did not come up:\n{self.words()}", pytrace=False)

    async def stop(self) -> None:
        """End it in order (SIGTERM: with persistence, everything is saved)."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(_END_LIMIT_S):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def words(self) -> str:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _passwords(self, users: Mapping[str, str]) -> Path:
        where = self.folder / "passwords"
        where.write_text("".join(f"{name}:{password}\n" for name, password in users.items()), encoding="utf-8")
        hashing = [program("mosquitto_passwd", "mosquitto"), "-U", str(where)]
        subprocess.run(hashing, check=True, timeout=_READY_LIMIT_S, capture_output=True)
        where.chmod(0o600)
        return where

    def _certificates(self, *, client_certificates: bool) -> list[str]:
        authority = Authority()
        self.ca_file.write_bytes(authority.pem)
        server = self.folder / "server.pem", self.folder / "server.key"
        authority.issue("localhost", *server)
        authority.issue("telemetry", *self.client_files)
        lines = [f"cafile {self.ca_file}", f"certfile {server[0]}", f"keyfile {server[1]}"]
        return [*lines, "require_certificate true"] if client_certificates else lines


class Authority:
    """A throw-away certificate authority, good for a day."""

    def __init__(self, name: str = "a throw-away authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(
            self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), alternatives=False
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, certificate_file: Path, key_file: Path) -> None:
        """Make a certificate for ``name``, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, x509.BasicConstraints(ca=False, path_length=None), alternatives=True)
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_file.chmod(0o600)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, basic: x509.BasicConstraints, *, alternatives: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        day = dt.timedelta(days=1)
        building = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(basic, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if alternatives:
            name = subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
            building = building.add_extension(x509.SubjectAlternativeName([x509.DNSName(str(name))]), critical=False)
        return building.sign(self._key, hashes.SHA256())


@contextlib.asynccontextmanager
async def running_broker(kind: str, folder: Path) -> AsyncIterator[str]:
    """Run a broker of a kind out of ``BROKERS`` that lets everybody in; gives its URL, without a path."""
    if kind == "embedded":
        async with EmbeddedBroker() as broker:
            yield broker.url
    else:
        async with Mosquitto(folder) as mosquitto:
            yield mosquitto.url
