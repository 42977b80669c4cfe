"""Webhooks and pushes: signed by TaskFlow, verified by whoever receives them. Public, and the standard library alone.

    from taskflow import webhooks

    event = webhooks.verify(request.headers, request.body, "whsec_...")

Two signatures stand side by side: Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`), and
`X-TaskFlow-Signature`, which any secret can make and which covers the body alone.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PLAIN_SIGNATURE = "X-TaskFlow-Signature"
PREFIX = "whsec_"
_EXPECTED = "expected `whsec_` and base64 of 24 to 64 bytes, or 16 to 255 visible ASCII characters"
_VISIBLE = re.compile(r"[!-~]{16,255}")
_SECONDS = re.compile(r"[0-9]{1,12}")


class VerificationError(ValueError):
    """What was received is not what the holder of the secret signed, or not now."""


def sign(webhook_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The headers that go with `body`. While a secret is changed there are two: the old one first."""
    headers = {ID: webhook_id, TIMESTAMP: str(timestamp)}
    keys = [key for key in map(_key, secrets) if key is not None]
    if keys:
        content = _content(webhook_id, str(timestamp), body)
        headers[SIGNATURE] = " ".join(_standard(key, content) for key in keys)
    if secrets:
        headers[PLAIN_SIGNATURE] = _plain(secrets[0], body)
    return headers


def verify(
    headers: Mapping[str, str],
    body: bytes | str,
    secret: str | Sequence[str],
    *,
    tolerance_seconds: float = 300,
) -> Any:
    """The decoded body, if one of the secrets has signed it. Raises VerificationError.

    `body` is what was received, untouched: JSON that was parsed and written anew has another signature. A secret
    `whsec_...` verifies Standard Webhooks, which covers the time; others verify X-TaskFlow-Signature, which does not.
    """
    secrets = [secret] if isinstance(secret, str) else list(secret)
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    found = {name.lower(): value for name, value in headers.items()}
    keys = [key for key in map(_key, secrets) if key is not None]
    plain = [secret for secret in secrets if _key(secret) is None]
    if keys and (SIGNATURE in found or not plain):
        _verify_standard(found, raw, keys, tolerance_seconds)
    else:
        _verify_plain(found, raw, plain)
    try:
        return json.loads(raw)
    except ValueError as error:
        raise VerificationError(f"the body is signed, but is no JSON: {error}") from error


def check_secret(secret: str) -> str | None:
    """What is wrong with a secret that somebody chose; None: nothing. The secret itself is not told."""
    if not secret.startswith(PREFIX):
        return None if _VISIBLE.fullmatch(secret) else _EXPECTED
    key = _key(secret)
    if key is None:
        return f"{_EXPECTED}; this is no base64 after `{PREFIX}`"
    return None if 24 <= len(key) <= 64 else f"{_EXPECTED}; these are {len(key)} bytes"


def _verify_standard(found: dict[str, str], raw: bytes, keys: list[bytes], tolerance_seconds: float) -> None:
    webhook_id, timestamp = found.get(ID), found.get(TIMESTAMP)
    if SIGNATURE not in found:
        raise VerificationError(f"there is no {SIGNATURE}")
    if webhook_id is None or timestamp is None:
        raise VerificationError(f"there is {SIGNATURE}, but no {ID if webhook_id is None else TIMESTAMP}")
    if not _SECONDS.fullmatch(timestamp):
        raise VerificationError(f"{TIMESTAMP} is no number of seconds")
    # Before its age: to whoever has no key nothing is told of our clock.
    content = _content(webhook_id, timestamp, raw)
    if not _any_equal([_standard(key, content) for key in keys], found[SIGNATURE].split()):
        raise VerificationError(f"{SIGNATURE} has no signature of this body by the secret")
    age = time.time() - int(timestamp)
    if abs(age) > tolerance_seconds:
        late = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
        raise VerificationError(f"it was sent {late}, and {tolerance_seconds:g} s are allowed")


def _verify_plain(found: dict[str, str], raw: bytes, secrets: list[str]) -> None:
    given = found.get(PLAIN_SIGNATURE.lower())
    if given is None:
        raise VerificationError(
            f"there is no {PLAIN_SIGNATURE}, and no {SIGNATURE} that the secret could verify"
        )
    if not _any_equal([_plain(secret, raw) for secret in secrets], [given.strip()]):
        raise VerificationError(f"{PLAIN_SIGNATURE} is no signature of this body by the secret")


def _any_equal(ours: list[str], given: list[str]) -> bool:
    """Whether one of ours was given. Each pair is compared, and takes as long however much of it is right."""
    pairs = [(mine.encode(), theirs.encode("utf-8", "surrogatepass")) for mine in ours for theirs in given]
    return any([hmac.compare_digest(mine, theirs) for mine, theirs in pairs])  # noqa: C419 - all of them


def _standard(key: bytes, content: bytes) -> str:
    return "v1," + b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _plain(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex()


def _content(webhook_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{webhook_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body


def _key(secret: str) -> bytes | None:
    """The key of a secret in the form of Standard Webhooks; None: it is in another form."""
    if not secret.startswith(PREFIX):
        return None
    try:
        return b64decode(secret.removeprefix(PREFIX), validate=True) or None
    except (binascii.Error, ValueError):
        return None
