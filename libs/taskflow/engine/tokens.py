"""Access tokens: JWTs signed with SECRET_KEY (HS256), which bear who signed in and in which session, and nothing else.

RFC 9068 for the type and the claims, RFC 8725 for what is checked: algorithm, `typ`, `kid`, `iss`, `aud`, `exp`, `iat`.
"""

from __future__ import annotations

import secrets
import time

import jwt
from msgspec import Struct

from taskflow.domain.errors import Unauthenticated
from taskflow.kit.tokens import key_id

ISSUER = "taskflow"
AUDIENCE = "taskflow-api"
_TYPE = "at+jwt"
_ALGORITHM = "HS256"
_LEEWAY_SECONDS = 5
"""Clocks of two instances may differ by as much."""
_CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
CHARS_MAX = 2_048
_NOT_VALID = "the access token is not valid"


class Claims(Struct, frozen=True):
    """What a token says: who, in which session, until when (seconds since 1970)."""

    user_id: str
    session_id: str
    issued_at: int
    expires_at: int


class Tokens:
    """Signs with one key; believes those of the key before it too."""

    def __init__(self, key: str, previous: str | None, *, seconds: int) -> None:
        self.seconds = seconds
        self._kid = key_id(key)
        self._keys = {key_id(each): each for each in (previous, key) if each is not None}

    def issue(self, user_id: str, session_id: str) -> str:
        """A token that is good for `seconds`."""
        moment = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "jti": secrets.token_urlsafe(12),
            "iat": moment,
            "exp": moment + self.seconds,
        }
        headers = {"typ": _TYPE, "kid": self._kid}
        return jwt.encode(claims, self._keys[self._kid], algorithm=_ALGORITHM, headers=headers)

    def read(self, token: str) -> Claims:
        """What a token says, if it is one of ours and still good. Raises Unauthenticated."""
        if len(token) > CHARS_MAX:
            raise Unauthenticated(_NOT_VALID)
        try:
            head = jwt.get_unverified_header(token)
            key = self._keys.get(head.get("kid", ""))
            if key is None or str(head.get("typ", "")).lower() != _TYPE or "crit" in head:
                raise Unauthenticated(_NOT_VALID)
            said = jwt.decode(
                token, key, algorithms=[_ALGORITHM], issuer=ISSUER, audience=AUDIENCE,
                leeway=_LEEWAY_SECONDS, options={"require": _CLAIMS},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the access token has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated(_NOT_VALID) from None
        return Claims(said["sub"], str(said["sid"]), int(said["iat"]), int(said["exp"]))
