"""Secrets that have to be read again, kept encrypted: AES-256-GCM with a derived key (HKDF, RFC 5869).

A sealed secret bears the name of its key, so that the one before it still opens it; whose it is is authenticated.

The key is SEALING_KEY, which workers and the notifier need too, else SECRET_KEY, with which anybody could sign in.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taskflow.domain.callback import Hidden
from taskflow.engine.settings import KeySettings
from taskflow.kit.tokens import key_id

_NONCE_BYTES = 12
_KID_BYTES = 8
_PURPOSE = b"taskflow signing secrets"
SIGNING_SECRET_BYTES = 32


class Vault:
    """Seals with one key; opens what others have sealed too: those before it, and SECRET_KEY beside SEALING_KEY."""

    def __init__(self, key: str, *others: str | None) -> None:
        self._kid = _kid(key)
        self._keys = {_kid(each): _derived(each) for each in (*others, key) if each is not None}

    def seal(self, secret: str, owner_id: str) -> bytes:
        """Encrypt a secret of this owner."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._kid].encrypt(nonce, secret.encode(), owner_id.encode())
        return self._kid + nonce + sealed

    def is_present(self, sealed: bytes) -> bool:
        """Whether the present key has sealed it."""
        return sealed[:_KID_BYTES] == self._kid

    def open(self, sealed: bytes, owner_id: str) -> str:
        """Decrypt it. Raises LookupError if neither key has sealed it for this owner."""
        key = self._keys.get(sealed[:_KID_BYTES])
        if key is None:
            raise LookupError("sealed with another SEALING_KEY or SECRET_KEY")
        nonce, rest = sealed[_KID_BYTES : _KID_BYTES + _NONCE_BYTES], sealed[_KID_BYTES + _NONCE_BYTES :]
        try:
            return key.decrypt(nonce, rest, owner_id.encode()).decode()
        except InvalidTag:
            raise LookupError("altered, or sealed for another owner") from None


def vault_of(settings: KeySettings) -> Vault | None:
    """The vault of a service; None where it has no key."""
    key = settings.sealing_key or settings.secret_key
    if key is None:
        return None
    return Vault(key, settings.sealing_key_previous, settings.secret_key, settings.secret_key_previous)


def hide(vault: Vault, hidden: Hidden, owner_id: str) -> str | None:
    """Header values and a secret as one sealed text; None if there are none."""
    if not hidden.headers and hidden.secret is None:
        return None
    return b64encode(vault.seal(msgspec.json.encode(hidden).decode(), owner_id)).decode()


def reveal(vault: Vault | None, sealed: str | None, owner_id: str) -> Hidden:
    """What `hide` sealed. Raises LookupError if it cannot be opened here."""
    if sealed is None:
        return Hidden()
    if vault is None:
        raise LookupError("neither SEALING_KEY nor SECRET_KEY is set here")
    return msgspec.json.decode(vault.open(b64decode(sealed), owner_id), type=Hidden)


def new_signing_secret() -> str:
    """A secret in the form of Standard Webhooks: `whsec_` and base64."""
    return "whsec_" + b64encode(secrets.token_bytes(SIGNING_SECRET_BYTES)).decode()


def _kid(key: str) -> bytes:
    return bytes.fromhex(key_id(key))


def _derived(key: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.encode()))
