"""What a closed system needs, made once: passwords, a NATS key for each service, certificates. Used by `taskflow secrets`.

Each service finds its own in a folder of its own, so that each can be given its own alone. What is there is kept; the
configuration of NATS, which follows from the keys and the topology, is written anew when it would differ.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from msgspec import Meta

from taskflow.bus.nkey import key_pair, make_seed
from taskflow.bus.rights import Role
from taskflow.bus.server_config import ServerCluster, ServerTls, server_config
from taskflow.cli.certificates import make_certificate
from taskflow.engine.settings import BusNames
from taskflow.kit.settings import Secret

READERS_OF_DATABASE = (*(role.value for role in Role), "migrate")


class SecretsSettings(BusNames, frozen=True, kw_only=True):
    """What `taskflow secrets` reads. `nats_ca_file`, if set, asks for TLS at NATS."""

    postgres_user: str = "taskflow"
    postgres_password: Annotated[Secret, Meta(max_length=1_000)] | None = None
    postgres_db: str = "taskflow"
    postgres_host: str = "postgres"
    nats_hosts: tuple[str, ...] = ("nats", "nats-2", "nats-3")
    nats_store: str = "/data"
    nats_ca_file: str | None = None


def write_secrets(settings: SecretsSettings, folder: Path, mount: str) -> list[str]:
    """Write what is missing; tells what was done, a line each, and no secret."""
    cabinet = _Cabinet(folder)
    with _alone(folder / "nats"):
        _write_passwords(cabinet, settings)
        _write_bus(cabinet, settings, mount)
    return cabinet.told


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time: two that make keys at once would not agree."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class _Cabinet:
    """Files that only their owner may read, unless said otherwise; each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.told: list[str] = []

    def keep(self, name: str, make: Callable[[], str], mode: int = 0o600) -> str:
        """What the file holds, made first if there is none."""
        with suppress(FileNotFoundError):
            if held := self.read(name).strip():
                return held
        made = make().strip()
        self._write(name, made, "made", mode)
        return made

    def copy(self, source: str, name: str) -> None:
        """Let the file hold what the other does, and be there only while that is."""
        path = self._folder / name
        if (self._folder / source).exists():
            self.put(name, self.read(source))
        elif path.exists():
            path.unlink()
            self.told.append(f"removed {path}")

    def read(self, name: str) -> str:
        """What the file holds. Raises FileNotFoundError."""
        return (self._folder / name).read_text()

    def put(self, name: str, text: str) -> None:
        """Let the file hold this."""
        with suppress(FileNotFoundError):
            if self.read(name) == text:
                return
        self._write(name, text, "written", 0o600)

    def _write(self, name: str, text: str, word: str, mode: int) -> None:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self.told.append(f"{word} {path}")


def _write_passwords(cabinet: _Cabinet, settings: SecretsSettings) -> None:
    wanted = settings.postgres_password
    # PostgreSQL runs as a user of its own; the folder decides who gets here.
    password = cabinet.keep("postgres/password", lambda: wanted or secrets.token_urlsafe(24), 0o644)
    if wanted and wanted != password:
        cabinet.told.append(
            "POSTGRES_PASSWORD is not the one PostgreSQL was set up with, which is kept; change it there first"
        )
    account = f"{quote(settings.postgres_user, safe='')}:{quote(password, safe='')}"
    url = f"postgres://{account}@{settings.postgres_host}:5432/{quote(settings.postgres_db, safe='')}"
    for name in READERS_OF_DATABASE:
        cabinet.put(f"{name}/database-url", url)
    cabinet.keep("postgres/superuser-password", lambda: secrets.token_urlsafe(24), 0o644)
    cabinet.keep("api/secret-key", lambda: secrets.token_urlsafe(48))
    cabinet.keep("api/sealing-key", lambda: secrets.token_urlsafe(48))
    for name in ("sealing-key", "sealing-key-previous"):
        for signer in (Role.WORKER, Role.NOTIFIER):
            cabinet.copy(f"api/{name}", f"{signer}/{name}")
    cabinet.keep("api/admin-password", lambda: secrets.token_urlsafe(24))


def _write_bus(cabinet: _Cabinet, settings: SecretsSettings, mount: str) -> None:
    keys = {role: key_pair(cabinet.keep(f"{role}/nats.nk", make_seed)).public for role in Role}
    tls = _tls(cabinet, settings, mount) if settings.nats_ca_file else None
    cluster = None
    if settings.nats_replicas > 1:
        password = cabinet.keep("nats/route-password", lambda: secrets.token_urlsafe(24))
        cluster = ServerCluster(settings.nats_hosts, password)
    text = server_config(settings.topology(), keys, store_dir=settings.nats_store, tls=tls, cluster=cluster)
    before = len(cabinet.told)
    cabinet.put("nats/nats.conf", text)
    if len(cabinet.told) > before:
        cabinet.told.append("NATS reads its configuration when it starts: restart one that runs")


def _tls(cabinet: _Cabinet, settings: SecretsSettings, mount: str) -> ServerTls:
    """Three files are made together; the last one written tells that all are there."""
    hosts = (*settings.nats_hosts, "localhost", "127.0.0.1")

    def made() -> str:
        certificate = make_certificate(hosts)
        cabinet.put("nats/ca.pem", certificate.authority.decode())
        cabinet.put("nats/key.pem", certificate.key.decode())
        return certificate.server.decode()

    cabinet.keep("nats/cert.pem", made)
    for role in Role:
        cabinet.put(f"{role}/nats-ca.pem", cabinet.read("nats/ca.pem"))
    return ServerTls(f"{mount}/cert.pem", f"{mount}/key.pem", f"{mount}/ca.pem")
