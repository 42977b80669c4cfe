"""Random tokens that tell a typing mistake by themselves: `<prefix>_<32 characters><checksum of 6>`, in base 62.

The checksum is CRC-32 of the random part, as in GitHub's tokens: what fails it need not be looked up.
https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
"""

from __future__ import annotations

import hmac
import secrets
import string
from hashlib import sha256
from zlib import crc32

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARS = 32
"""190 bits: a fast hash of them is enough to keep (OWASP ASVS 5.0, 6.5.2)."""
_CHECK_CHARS = 6


def new_token(prefix: str) -> str:
    """A token that nobody has had before."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return f"{prefix}_{text}{_checksum(text)}"


def is_token(prefix: str, text: str) -> bool:
    """Whether `text` has the form of such a token, its checksum included."""
    head, _, rest = text.partition("_")
    if head != prefix or len(rest) != _RANDOM_CHARS + _CHECK_CHARS or not rest.isascii():
        return False
    return _checksum(rest[:_RANDOM_CHARS]) == rest[_RANDOM_CHARS:]


def hint_of(token: str) -> str:
    """Its beginning and its end, by which its owner knows it again."""
    return f"{token[:8]}...{token[-4:]}"


def digest(token: str) -> bytes:
    """What is kept of a token (SHA-256)."""
    return sha256(token.encode()).digest()


def _checksum(text: str) -> str:
    left = crc32(text.encode())
    made = ""
    for _ in range(_CHECK_CHARS):
        left, place = divmod(left, len(_ALPHABET))
        made = _ALPHABET[place] + made
    return made


def key_id(key: str) -> str:
    """What a key is called: tells nothing of it."""
    return hmac.new(key.encode(), b"taskflow key id", sha256).hexdigest()[:16]
