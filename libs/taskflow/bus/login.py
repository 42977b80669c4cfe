"""Who we say we are to NATS: a key of the service's role, or what the URL says; and by which authority we know NATS."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from nats.aio.client import Client
from nats.errors import Error

from taskflow.bus.nkey import KeyPair, key_pair
from taskflow.bus.rights import Role


class Login(Struct, frozen=True):
    """`seed` is that of an nkey; `ca_file` names the authorities in PEM, and asks for TLS. Both may be missing."""

    role: Role
    seed: str | None = None
    ca_file: str | None = None


class KeyedClient(Client):
    """nats-py, but for two things: it signs with our keys, and it does not fall back to a connection in the clear."""

    def _setup_nkeys_seed_connect(self) -> None:
        pair: KeyPair = key_pair(self._nkeys_seed_str or "")
        self._public_nkey, self._signature_cb = pair.public, pair.sign

    def _connect_command(self) -> bytes:
        if self.options.get("tls") and not self._server_info.get("tls_required"):
            raise Error("nats: this server does not speak TLS, but NATS_CA_FILE or tls:// asks for it")
        return super()._connect_command()


def connect_options(url: str, login: Login | None) -> dict[str, Any]:
    """What `Client.connect` is told. Raises OSError (also `ssl.SSLError`) if the file of authorities cannot be used."""
    servers = url.split(",")
    options: dict[str, Any] = {"servers": servers, **_account(servers)}
    ca_file = login.ca_file if login else None
    if ca_file or any(urlsplit(server).scheme == "tls" for server in servers):
        options["tls"] = ssl.create_default_context(cafile=ca_file)
    if login is not None:
        options["inbox_prefix"] = login.role.inbox
        if login.seed:
            options["nkeys_seed_str"] = login.seed
    return options


def _account(servers: list[str]) -> dict[str, Any]:
    """What all servers of a cluster are told, those too that the URL does not name but another node does."""
    accounts = {urlsplit(server).netloc.rpartition("@")[0] for server in servers}
    user, colon, password = accounts.pop().partition(":")
    if accounts or not user:
        return {}
    return {"user": user, "password": password} if colon else {"token": user}
