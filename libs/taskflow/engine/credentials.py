"""Who calls: API keys and access tokens, as PostgreSQL had them at most four seconds ago.

What is in use is read again every two seconds, all of it in one statement, so that a call waits for PostgreSQL only
when its credentials are new here; and so that a key which is revoked is refused everywhere within five seconds. Who
has a stream open waits for the end of its credentials (`ended`), which are read with the others. While nobody calls and
no stream is open, nothing is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

from msgspec import Struct, field

from taskflow.domain.account import ADMIN_SCOPES, Caller, Scope, scopes_of
from taskflow.domain.errors import Overloaded, Unauthenticated, Unavailable
from taskflow.engine.tokens import Claims, Tokens
from taskflow.kit.batcher import Batcher, Full
from taskflow.kit.clock import now
from taskflow.kit.logging import get_logger
from taskflow.kit.tokens import digest, is_token
from taskflow.store import api_keys, sessions
from taskflow.store.api_keys import KeyHolder
from taskflow.store.connect import Database, Line
from taskflow.store.errors import verdict
from taskflow.store.sessions import SessionHolder

log = get_logger(__name__)

KEY_PREFIX = "tfq"
_KEY_START = KEY_PREFIX + "_"
AGE_SECONDS_MAX = 4.0
READ_SECONDS = 2.0
IDLE_SECONDS = 60.0
"""What was not used for so long is forgotten; a key's use is noted as often at most."""
HELD_MAX = 50_000
READS_WAITING_MAX = 5_000
_UNKNOWN_KEY = "the API key is unknown, expired or revoked"
_ENDED = "the session of this access token has ended"

Name = bytes | str
"""The hash of a key, or the id of a session."""


class _Held(Struct):
    """Credentials that were good at `read_at` (monotonic). `until`: when they expire by themselves."""

    caller: Caller
    read_at: float
    used_at: float
    until: datetime | None = None
    noted_at: float = float("-inf")


class _Watch(Struct):
    """Streams of one caller that stay open as long as these credentials allow the same."""

    caller: Caller
    over: asyncio.Event = field(default_factory=asyncio.Event)
    watchers: int = 0


class Credentials:
    """Tells callers by what they show. Enter it first."""

    def __init__(self, database: Database, tokens: Tokens | None) -> None:
        self._line = Line(database, hot=False)
        self._tokens = tokens
        self._held: dict[Name, _Held] = {}
        self._claims: dict[str, Claims] = {}
        self._watches: dict[Name, _Watch] = {}
        self._used = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._lookups: Batcher[Name, _Held | None] = Batcher(
            self._look_up,
            verdict=verdict,
            items_max=500,
            pending_max=READS_WAITING_MAX,
            repeat_seconds=0,
        )

    async def __aenter__(self) -> Self:
        await self._lookups.__aenter__()
        self._reader = asyncio.create_task(self._read_forever(), name="credentials")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._lookups.__aexit__(*_)
        await self._line.__aexit__()

    async def caller(self, shown: str) -> Caller:
        """Who shows this key or access token. Raises Unauthenticated."""
        if shown.startswith(_KEY_START):
            if (name := _hash_of(shown)) is None:
                raise Unauthenticated("this is no API key of ours, or not the whole of it")
            return await self._caller(name, _UNKNOWN_KEY)
        claims = self._read(shown)
        caller = await self._caller(claims.session_id, _ENDED)
        if caller.user_id != claims.user_id:
            raise Unauthenticated(_ENDED)
        return caller

    async def caller_of(self, name: Name) -> Caller:
        """Whose key or session this is, as it is now. Raises Unauthenticated."""
        return await self._caller(name, _UNKNOWN_KEY if isinstance(name, bytes) else _ENDED)

    def name_of(self, shown: str) -> tuple[Name, float | None]:
        """What a key or access token is known by that `caller` took; and when it ends by itself, in seconds since 1970."""
        if shown.startswith(_KEY_START):
            return digest(shown), None  # when a key expires its row tells
        claims = self._read(shown)
        return claims.session_id, claims.expires_at

    async def ended(self, name: Name, before: Caller, until: float | None = None) -> None:
        """Return once these credentials are good no more, or allow something else than `before`, or at `until`.

        While PostgreSQL is away they are taken for good: a stream tells nothing that is not read there.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if until is None else max(0.0, until - time.time())):
                await self._changed(name, before)

    async def _changed(self, name: Name, before: Caller) -> None:
        held = self._held.get(name)
        if held is not None and held.caller.scopes != before.scopes:
            return
        watch = self._watches.setdefault(name, _Watch(before))
        if watch.caller.scopes != before.scopes:
            return
        watch.watchers += 1
        self._used.set()
        try:
            await watch.over.wait()
        finally:
            watch.watchers -= 1
            if not watch.watchers and self._watches.get(name) is watch:
                del self._watches[name]

    def _tell_watchers(self, name: Name, scopes: frozenset[Scope] | None) -> None:
        """What credentials allow now; None: nothing."""
        watch = self._watches.get(name)
        if watch is not None and watch.caller.scopes != scopes:
            del self._watches[name]
            watch.over.set()

    def forget(self, ended: Callable[[Caller], bool]) -> None:
        """These have just been ended here, or allow something else now: their next call is checked anew.

        Their streams end, and come back if they may.
        """
        for name in [name for name, held in self._held.items() if ended(held.caller)]:
            del self._held[name]
        for name in [name for name, watch in self._watches.items() if ended(watch.caller)]:
            self._tell_watchers(name, None)

    def _read(self, shown: str) -> Claims:
        """The claims of a token; checking its signature each time would be a tenth of the call."""
        claims = self._claims.get(shown)
        if claims is not None and claims.expires_at > time.time():
            return claims
        if self._tokens is None:
            raise Unauthenticated("this api knows no access tokens: SECRET_KEY is not set")
        claims = self._tokens.read(shown)
        if len(self._claims) >= HELD_MAX:
            self._claims.clear()
        self._claims[shown] = claims
        return claims

    async def _caller(self, name: Name, refusal: str) -> Caller:
        moment = time.monotonic()
        held = self._held.get(name)
        if held is None or moment - held.read_at > AGE_SECONDS_MAX:
            try:
                held = await self._lookups.put(name)
            except Full as error:
                raise Overloaded("too many credentials are being checked", retry_after_seconds=1) from error
        if held is None or (held.until is not None and held.until <= now()):
            raise Unauthenticated(refusal)
        held.used_at = moment
        self._used.set()
        return held.caller

    async def _look_up(self, names: list[Name]) -> Sequence[_Held | None]:
        moment = time.monotonic()
        keys = [name for name in names if isinstance(name, bytes)]
        ids = [name for name in names if isinstance(name, str)]
        holders: dict[Any, KeyHolder | SessionHolder] = {}
        if keys:
            of_keys = await self._line.run(lambda conn: api_keys.find_holders(conn, keys))
            holders.update(of_keys)
        if ids:
            of_sessions = await self._line.run(lambda conn: sessions.find_sessions(conn, ids))
            holders.update(of_sessions)
        return [self._keep(name, holders.get(name), moment) for name in names]

    def _keep(self, name: Name, holder: KeyHolder | SessionHolder | None, moment: float) -> _Held | None:
        if holder is None:
            self._held.pop(name, None)
            self._tell_watchers(name, None)
            return None
        caller, until = _as_caller(name, holder)
        self._tell_watchers(name, caller.scopes)
        held = self._held.get(name)
        if held is None:
            if len(self._held) >= HELD_MAX:
                self._held.clear()
            held = self._held[name] = _Held(caller, moment, moment, until)
        elif held.read_at <= moment:
            held.caller, held.read_at, held.until = caller, moment, until
        return held

    async def _read_forever(self) -> None:
        while True:
            await self._used.wait()
            self._used.clear()
            await asyncio.sleep(READ_SECONDS)
            if self._watches:
                self._used.set()
            try:
                await self._read_again()
            except Unavailable as error:
                log.warning("credentials.read_failed", error=str(error))
            except Exception as error:  # else no stream would ever end with its credentials again
                log.exception("credentials.read_broken", error=str(error))

    async def _read_again(self) -> None:
        """Read what is in use, forget what is not, and note when keys were used."""
        moment = time.monotonic()
        for name, held in list(self._held.items()):
            if moment - held.used_at > IDLE_SECONDS and name not in self._watches:
                del self._held[name]
        called = [name for name, held in self._held.items() if moment - held.used_at <= AGE_SECONDS_MAX]
        names = list({*called, *self._watches})
        for start in range(0, len(names), 1_000):
            await self._look_up(names[start : start + 1_000])
        noted = [held for held in self._held.values() if held.caller.key_id and _is_to_note(held, moment)]
        if noted:
            ids = sorted({held.caller.key_id or "" for held in noted})
            await self._line.run(lambda conn: api_keys.note_used(conn, ids))
            for held in noted:
                held.noted_at = moment


@lru_cache(maxsize=4_096)
def _hash_of(shown: str) -> bytes | None:
    """What a key is known by; None if it is none."""
    return digest(shown) if is_token(KEY_PREFIX, shown) else None


def _is_to_note(held: _Held, moment: float) -> bool:
    return held.used_at > held.noted_at and moment - held.noted_at > IDLE_SECONDS


def _as_caller(name: Name, holder: KeyHolder | SessionHolder) -> tuple[Caller, datetime | None]:
    """Whatever is written beside a key, it allows no more than its account may do now."""
    allowed = scopes_of(holder.role)
    if isinstance(holder, SessionHolder):
        return Caller(holder.name, holder.user_id, allowed, session_id=str(name)), None
    scopes = frozenset(holder.scopes) & allowed
    if "admin" in scopes:
        scopes = ADMIN_SCOPES
    return Caller(holder.name, holder.user_id, scopes, key_id=holder.key_id), holder.expires_at
