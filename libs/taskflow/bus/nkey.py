"""Keys of NATS: an Ed25519 pair per program, of which the server knows the public half alone (ADR-14, nkeys).

A seed reads `SU...`, its public key `U...`: base32 of a prefix, the 32 bytes and a CRC-16, as `nk -gen user` writes them.
Own code, because the package `nkeys` comes without a wheel; see docs/decisions/0023. `cryptography` is loaded only where
there is a key: a program without one should not pay for it.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = 18 << 3  # "S"
_USER = 20 << 3  # "U"
_KEY_BYTES = 32


class BadSeed(ValueError):
    """Not the seed of a user's key."""


class KeyPair(NamedTuple):
    """A user's key: `public` is what the server is told."""

    public: str
    private: Ed25519PrivateKey

    def sign(self, nonce: str) -> bytes:
        """The answer to a server's challenge, in base64 as CONNECT bears it."""
        return base64.b64encode(self.private.sign(nonce.encode()))


def make_seed() -> str:
    """The seed of a new user's key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _encode(
        bytes([_SEED | _USER >> 5, (_USER & 31) << 3]) + Ed25519PrivateKey.generate().private_bytes_raw()
    )


def key_pair(seed: str) -> KeyPair:
    """The pair of a seed. Raises `BadSeed`."""
    raw = _decode(seed.strip())
    if len(raw) != 2 + _KEY_BYTES or raw[0] & 0xF8 != _SEED or (raw[0] & 7) << 5 | raw[1] >> 3 != _USER:
        raise BadSeed("expected the seed of a user's nkey, SU and 56 more of A-Z 2-7")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(raw[2:])
    return KeyPair(_encode(bytes([_USER]) + private.public_key().public_bytes_raw()), private)


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        whole = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        whole = b""
    raw, checksum = whole[:-2], whole[-2:]
    if not raw or _checksum(raw) != checksum:
        raise BadSeed("expected the seed of an nkey, as `nk -gen user` or `taskflow secrets` writes it")
    return raw


def _checksum(raw: bytes) -> bytes:
    """CRC-16/XMODEM, little end first."""
    return binascii.crc_hqx(raw, 0).to_bytes(2, "little")
