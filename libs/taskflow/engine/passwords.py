"""Passwords: hashed with argon2id in threads, a few at once; and which ones are too easily guessed.

Parameters are argon2-cffi's, the second choice of RFC 9106: 64 MiB, 3 passes, 4 lanes.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from taskflow.domain.errors import Overloaded

T = TypeVar("T")

PASSWORD_CHARS_MIN = 8
PASSWORD_BYTES_MAX = 1_024
HASHES_AT_ONCE = 2
"""Each takes 64 MiB and, alone, the better part of a processor's second tenth."""
HASHES_WAITING_MAX = 64
_GUESSES_MIN = 1_000_000
"""zxcvbn's bound for what withstands guessing online; a lock stops that after a few tries besides."""
_JUDGED_CHARS = 32
"""zxcvbn takes 72; but of what looks like many words at once those are two seconds' work, and 32 a third of one."""


class Passwords:
    """Hashes and verifies. Enter it first; leaving ends its threads."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._nobodys = _unmatched(self._hasher)
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="argon2")
        self._inside = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await self._threaded(lambda: self._hasher.hash(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether it is the password. An account that is not there, or has none (`kept` is None), takes as long."""

        def verified() -> bool:
            try:
                return self._hasher.verify(kept or self._nobodys, password) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._threaded(verified)

    async def fault_of(self, password: str, names: list[str]) -> str | None:
        """`fault_of`, in a thread: judging may take longer than a hash, and callers choose what is judged."""
        return await self._threaded(lambda: fault_of(password, names))

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than are used now."""
        return self._hasher.check_needs_rehash(kept)

    async def _threaded(self, act: Callable[[], T]) -> T:
        if self._inside >= HASHES_WAITING_MAX:
            raise Overloaded("too many passwords are being checked", retry_after_seconds=1)
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, act)
        finally:
            self._inside -= 1


def _unmatched(hasher: PasswordHasher) -> str:
    """A hash of the same cost that no password has."""
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    salt, rest = (
        b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19${cost}${salt}${rest}"


def fault_of(password: str, names: list[str]) -> str | None:
    """What is wrong with a new password, or None. `names`: of its account, which it must not be made of."""
    from zxcvbn import zxcvbn  # its word lists take memory that an api which makes no accounts can do without

    if len(password) < PASSWORD_CHARS_MIN or len(password.encode()) > PASSWORD_BYTES_MAX:
        return f"expected {PASSWORD_CHARS_MIN} characters or more, at most {PASSWORD_BYTES_MAX} bytes"
    judged = zxcvbn(password[:_JUDGED_CHARS], user_inputs=[*names, "taskflow"])
    if judged["guesses"] >= _GUESSES_MIN:
        return None
    why = judged["feedback"]["warning"].rstrip(".")
    return f"is too easily guessed{': ' + why if why else ''}; expected a longer one"
