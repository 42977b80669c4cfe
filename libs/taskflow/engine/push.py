"""push: execute a task by sending it to its owner's service. 2xx completes it, 410 fails it for good, all else is retried.

A repeat bears the same `Idempotency-Key`. Pushes run in slots of their own; one whose host cannot take it now is handed
back with a time, and spends no attempt.
"""

from __future__ import annotations

import time
from datetime import timedelta

import msgspec
from msgspec import Raw

from taskflow.domain.attempt import Deferred, Failed, Outcome, Succeeded, TimedOut
from taskflow.domain.callback import Target
from taskflow.domain.errors import Unavailable
from taskflow.domain.task import Claimed
from taskflow.domain.webhook import PushBody
from taskflow.engine.answers import GONE, header, retry_after, said
from taskflow.engine.meters import count_push
from taskflow.engine.push_hosts import HandBack, PushHosts, Turn
from taskflow.engine.signing import CannotSign, Signer
from taskflow.engine.slots import Slots
from taskflow.engine.vault import Vault, reveal
from taskflow.handlers.outcomes import error_info
from taskflow.handlers.results import RESULT_BYTES_MAX, UnstorableResult, encode_result
from taskflow.kit.clock import now, rfc3339
from taskflow.kit.outgoing import Answer, Outgoing, OutgoingError

AGENT = "TaskFlow"
AWAY_DELAY_SECONDS = 2.0
"""When a task comes again that found PostgreSQL away."""
_MARGIN_SECONDS = 0.1
"""So much before the task's deadline a push is over, to be told of as what it is."""
_OURS = ("EgressRefused", "CannotSign")
"""Kinds of failure that say nothing of the host."""

_target = msgspec.json.Decoder(Target)


class Pusher:
    """Pushes claimed tasks that have a target; `run` says how it ended."""

    def __init__(
        self, hosts: PushHosts, outgoing: Outgoing, signer: Signer, vault: Vault | None, slots: Slots
    ) -> None:
        self._hosts = hosts
        self._outgoing = outgoing
        self._signer = signer
        self._vault = vault
        self._slots = slots

    async def run(self, task: Claimed) -> Outcome:
        """One attempt. Cancelled, it closes its connection."""
        if task.target is None:
            error = error_info("NoTarget", "a task of this type needs a target; expected target.url")
            return Failed(error, permanent=True)
        if self._slots.pushing > self._slots.push_total:
            count_push("deferred")
            delay = self._hosts.appointment(self._slots.push_total)
            return Deferred(delay, "this worker has as many pushes as it may have at once")
        target = _target.decode(task.target)
        try:
            turn = await self._hosts.enter((task.owner_id, target.host), task.timeout_seconds)
        except Unavailable as error:
            return Deferred(AWAY_DELAY_SECONDS, error.detail)
        if isinstance(turn, HandBack):
            count_push("deferred")
            return Deferred(turn.delay_seconds, turn.reason)
        async with turn:
            outcome = await self._pushed(task, target, turn)
        count_push(_word(outcome))
        return outcome

    async def _pushed(self, task: Claimed, target: Target, turn: Turn) -> Outcome:
        try:
            answer = await self._send(task, target)
        except OutgoingError as failed:
            if failed.kind not in _OURS:
                turn.seen(f"{failed.kind}: {failed}")
            return _failure(failed)
        except Unavailable as away:
            return Deferred(AWAY_DELAY_SECONDS, away.detail)
        except (CannotSign, LookupError) as unsigned:
            return Failed(error_info("CannotSign", str(unsigned)))
        except ValueError as unsendable:  # judged when it was submitted, perhaps by other rules
            return Failed(error_info("BadUrl", str(unsendable)), permanent=True)
        failing = answer.status >= 500 or answer.status == 429
        turn.seen(said(answer) if failing else None)
        return _outcome(answer, target)

    async def _send(self, task: Claimed, target: Target) -> Answer:
        left = max(
            _MARGIN_SECONDS, task.timeout_seconds - (time.monotonic() - task.begun_at) - _MARGIN_SECONDS
        )
        body = _body(task, left)
        hidden = reveal(self._vault, target.sealed, task.owner_id)
        key = f"{task.id}:{task.life}"
        headers = {"content-type": "application/json", "user-agent": AGENT}
        headers |= {name.lower(): value for name, value in hidden.headers.items()}
        headers |= {
            "x-taskflow-task-id": task.id,
            "x-taskflow-attempt": str(task.attempt),
            "x-taskflow-version": str(task.version),
            "idempotency-key": key,
        }
        if task.trace is not None:
            headers["traceparent"] = task.trace
        signed = await self._signer.signed(task.owner_id, key, body)
        headers |= {name.lower(): value for name, value in signed.items()}
        return await self._outgoing.send(
            target.method,
            target.url,
            list(headers.items()),
            body,
            timeout_seconds=left,
            answer_bytes_max=RESULT_BYTES_MAX,
            cut=True,
        )


def _body(task: Claimed, left_seconds: float) -> bytes:
    return msgspec.json.encode(
        PushBody(
            task.id,
            task.type,
            task.queue,
            Raw(task.payload),
            task.attempt,
            task.max_attempts,
            task.life,
            rfc3339(now() + timedelta(seconds=left_seconds)),
        )
    )


def _failure(failed: OutgoingError) -> Outcome:
    error = error_info(failed.kind, str(failed))
    if failed.kind == "TimedOut":
        return TimedOut(error)
    return Failed(error)


def _outcome(answer: Answer, target: Target) -> Outcome:
    if 200 <= answer.status < 300:
        return _result(answer, target)
    name, _, text = said(answer).partition(": ")
    where = f"{target.host} {text}"
    if excerpt := answer.body[:300].decode(errors="replace").strip():
        where = f"{where}: {excerpt}"
    if answer.status == GONE:
        return Failed(error_info("Gone", where), permanent=True)
    return Failed(error_info(name, where), delay_seconds=retry_after(answer))


def _result(answer: Answer, target: Target) -> Outcome:
    """A JSON answer becomes the result; any other says only that it is done."""
    kind = (header(answer, "content-type") or "").partition(";")[0].strip().lower()
    if not answer.body or not (kind == "application/json" or kind.endswith("+json")):
        return Succeeded("null")
    if answer.cut:  # it did its work, and would do it again: as with a handler whose result cannot be kept
        message = f"the answer of {target.host} is over {RESULT_BYTES_MAX} bytes"
        return Failed(error_info("AnswerTooLarge", message), permanent=True)
    try:
        return Succeeded(encode_result(Raw(answer.body)))
    except UnstorableResult as error:
        return Failed(error_info("UnstorableResult", f"the target's answer: {error}"), permanent=True)


def _word(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()
