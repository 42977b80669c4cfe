"""Secrets that have to be read again, kept encrypted: AES-256-GCM with a key derived from SECRET_KEY (HKDF, RFC 5869).

A sealed secret bears the name of its key, so that SECRET_KEY_PREVIOUS still opens it; whose it is is authenticated.
"""

from __future__ import annotations

import secrets
from base64 import b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from taskflow.engine.tokens import key_id

_NONCE_BYTES = 12
_KID_BYTES = 8
_PURPOSE = b"taskflow signing secrets"
SIGNING_SECRET_BYTES = 32


class Vault:
    """Seals with one key; opens what the key before it has sealed too."""

    def __init__(self, key: str, previous: str | None) -> None:
        self._kid = _kid(key)
        self._keys = {_kid(each): _derived(each) for each in (previous, key) if each is not None}

    def seal(self, secret: str, owner_id: str) -> bytes:
        """Encrypt a secret of this owner."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._kid].encrypt(nonce, secret.encode(), owner_id.encode())
        return self._kid + nonce + sealed

    def open(self, sealed: bytes, owner_id: str) -> str:
        """Decrypt it. Raises LookupError if neither key has sealed it for this owner."""
        key = self._keys.get(sealed[:_KID_BYTES])
        if key is None:
            raise LookupError("sealed with another SECRET_KEY")
        nonce, rest = sealed[_KID_BYTES : _KID_BYTES + _NONCE_BYTES], sealed[_KID_BYTES + _NONCE_BYTES :]
        try:
            return key.decrypt(nonce, rest, owner_id.encode()).decode()
        except InvalidTag:
            raise LookupError("altered, or sealed for another owner") from None


def new_signing_secret() -> str:
    """A secret in the form of Standard Webhooks: `whsec_` and base64."""
    return "whsec_" + b64encode(secrets.token_bytes(SIGNING_SECRET_BYTES)).decode()


def _kid(key: str) -> bytes:
    return bytes.fromhex(key_id(key))


def _derived(key: str) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.encode()))
