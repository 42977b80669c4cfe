"""endpoints: what a submitted task says of others on the web, judged and made fit to be kept: its secrets are sealed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from taskflow import webhooks
from taskflow.domain.callback import DEFAULT_EVENTS, Callback, CallbackWish, Hidden, Target, TargetWish
from taskflow.domain.errors import Invalid, Problem, TargetRefused, TaskflowError
from taskflow.domain.task import NewTask
from taskflow.engine.vault import Vault, hide
from taskflow.kit.egress import BadUrl, Destination, Egress, EgressRefused
from taskflow.kit.headers import forbidden_headers

Refusal = tuple[type[TaskflowError], Problem]
NO_KEY = "not offered here: what is sent must be signed, and neither SEALING_KEY nor SECRET_KEY is set"

_OWN_HEADERS = [("x-taskflow-own", "x" * 100)] * 16
"""Room for those that are sent beside a caller's."""


class Endpoints:
    """Judges URLs by what may be reached from here."""

    def __init__(self, egress: Egress, vault: Vault | None) -> None:
        self._check = lru_cache(maxsize=4_096)(egress.check)
        self._vault = vault

    def attach(
        self, task: NewTask, callback: CallbackWish | None, target: TargetWish | None, at: str = ""
    ) -> list[Refusal]:
        """Put both into a task, whose owner is known; or tell what is wrong, with pointers below `at`."""
        refusals: list[Refusal] = []
        if callback is not None:
            refusals += self._refusals(callback, f"{at}/callback")
        if target is not None:
            refusals += self._refusals(target, f"{at}/target")
        if refusals or self._vault is None:
            return refusals
        if callback is not None:
            task.callback = self._callback(callback, self._vault, task.owner_id)
        if target is not None:
            task.target = self._target(target, self._vault, task.owner_id)
        return []

    def _refusals(self, wish: CallbackWish | TargetWish, at: str) -> Iterator[Refusal]:
        if self._vault is None:
            yield Invalid, Problem(NO_KEY, pointer=at)
            return
        try:
            self._check(wish.url)
        except BadUrl as error:
            yield Invalid, Problem(str(error), pointer=f"{at}/url")
        except EgressRefused as error:
            yield TargetRefused, Problem(str(error), pointer=f"{at}/url")
        if (fault := forbidden_headers([*(wish.headers or {}).items(), *_OWN_HEADERS])) is not None:
            yield Invalid, Problem(fault, pointer=f"{at}/headers")
        secret = wish.secret if isinstance(wish, CallbackWish) else None
        if secret is not None and (fault := webhooks.check_secret(secret)) is not None:
            yield Invalid, Problem(fault, pointer=f"{at}/secret")

    def _callback(self, wish: CallbackWish, vault: Vault, owner_id: str) -> Callback:
        there, headers = self._check(wish.url), wish.headers or {}
        return Callback(
            url=wish.url,
            host=there.origin,
            events=sorted(set(wish.events or DEFAULT_EVENTS)),
            header_names=sorted(headers),
            has_secret=wish.secret is not None,
            max_attempts=None if wish.max_attempts is None else int(wish.max_attempts),
            sealed=hide(vault, Hidden(headers, wish.secret), owner_id),
        )

    def _target(self, wish: TargetWish, vault: Vault, owner_id: str) -> Target:
        there: Destination = self._check(wish.url)
        headers = wish.headers or {}
        return Target(
            url=wish.url,
            host=there.origin,
            method=wish.method or "POST",
            header_names=sorted(headers),
            sealed=hide(vault, Hidden(headers), owner_id),
        )
