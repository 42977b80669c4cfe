"""notify: deliver webhooks. Rows are leased, sent, recorded; what is not recorded is sent again under the same id.

So many at once in all, and so many a host: one that is slow or dead keeps no other waiting. An endpoint that has failed
a hundred times in a row gets one try in ten minutes, until one arrives.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Self

import msgspec
from msgspec import Raw, Struct

from taskflow.domain.errors import Unavailable
from taskflow.domain.webhook import SLOWED_AFTER_FAILURES, AlertBody, WebhookBody
from taskflow.engine.answers import GONE, first_kib, retry_after, said
from taskflow.engine.meters import count_webhook
from taskflow.engine.signing import CannotSign, Signer
from taskflow.engine.vault import Vault, reveal
from taskflow.kit.batcher import Batcher
from taskflow.kit.clock import now, rfc3339
from taskflow.kit.logging import get_logger
from taskflow.kit.outgoing import Answer, Outgoing, OutgoingError
from taskflow.kit.ticker import Ticker
from taskflow.store import webhooks
from taskflow.store.connect import Line
from taskflow.store.errors import verdict
from taskflow.store.snapshots import snapshot_task
from taskflow.store.webhooks import SLOWED_SECONDS, Leased, Tried

log = get_logger(__name__)

IDLE_SECONDS = 5.0
"""How often it looks while nothing is told; what the bus tells of is looked for at once."""
BUSY_SECONDS = 0.25
"""How soon it looks again while all that is due waits for hosts that have enough."""
NEWS_SECONDS = 0.1
LEASE_MARGIN_SECONDS = 15.0
HOSTS_PAGE = 200
HASTEN_MAX = 10_000
UNSIGNED_SECONDS = 60.0
"""How soon it is tried again what could not be signed here."""
PENDING_SECONDS_MAX = 7 * 86_400.0
"""A delivery to a slowed endpoint that has waited so long is given up."""
ANSWER_BYTES_MAX = 1024
AGENT = "TaskFlow"


class Rules(Struct, frozen=True):
    """How deliveries go: times in seconds."""

    timeout_seconds: float = 10.0
    max_attempts: int = 5
    delays_seconds: tuple[float, ...] = (5.0, 30.0, 120.0, 600.0, 3_600.0)
    concurrency: int = 100
    host_concurrency: int = 10


class Notifier:
    """Delivers what is due. Enter it, and run `ticker` under a guard; `heard` tells it that something moved."""

    def __init__(
        self,
        look_line: Line,
        record_line: Line,
        outgoing: Outgoing,
        signer: Signer,
        vault: Vault | None,
        rules: Rules,
        *,
        alert_secret: str | None = None,
    ) -> None:
        self._look_line = look_line
        self._record_line = record_line
        self._outgoing = outgoing
        self._signer = signer
        self._vault = vault
        self._rules = rules
        self._alert_secret = alert_secret
        self._after_host = ""
        self._found = self._from_within = False
        self._busy: Counter[str] = Counter()
        self._sends: set[asyncio.Task[None]] = set()
        self._records: Batcher[Tried, int | None] = Batcher(self._record, verdict=verdict, items_max=200)
        self._news: asyncio.TimerHandle | None = None
        self.ticker = Ticker("webhooks", self.run_once, IDLE_SECONDS, passing=(Unavailable,))

    async def __aenter__(self) -> Self:
        await self._records.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """What is under way ends and is recorded; the ticker must have been stopped."""
        if self._sends:
            await asyncio.wait(self._sends, timeout=self._rules.timeout_seconds + 1)
        for send in self._sends:
            send.cancel()
        if self._news is not None:
            self._news.cancel()
        await self._records.__aexit__()

    def heard(self) -> None:
        """Something moved: look soon, a moment later for all that moves meanwhile."""
        if self._news is None:
            self._news = asyncio.get_running_loop().call_later(NEWS_SECONDS, self._wake)

    def _wake(self) -> None:
        self._news = None
        self.ticker.wake()

    async def run_once(self) -> bool | float:
        """Begin what is due, as much as there is room for; says when to look again."""
        due_in = await self._look_line.run(webhooks.next_due)
        if due_in is None or due_in > 0:
            return IDLE_SECONDS if due_in is None else due_in
        room = self._rules.concurrency - len(self._sends)
        if room <= 0:
            return IDLE_SECONDS  # the end of a send wakes
        leased, hosts_seen, last_host = await self._look_line.run(
            lambda conn: webhooks.lease(
                conn,
                after_host=self._after_host,
                hosts_max=HOSTS_PAGE,
                of_host_max=self._rules.host_concurrency,
                busy=dict(self._busy),
                limit=room,
                lease_seconds=self._rules.timeout_seconds + LEASE_MARGIN_SECONDS,
            )
        )
        for delivery in leased:
            self._begin(delivery)
        return self._next_look(
            leased, full=len(leased) >= room, more=hosts_seen >= HOSTS_PAGE, last_host=last_host
        )

    def _next_look(
        self, leased: Sequence[Leased], *, full: bool, more: bool, last_host: str | None
    ) -> bool | float:
        """Go on where this look ended, so that every host has its turn; pause after a whole pass that found nothing."""
        self._found = self._found or bool(leased)
        if full or more:
            self._after_host = max(each.host for each in leased) if full else last_host or ""
            self._from_within = self._from_within or full
            return True
        again = self._found or self._from_within
        self._found, self._from_within, self._after_host = False, False, ""
        return True if again else BUSY_SECONDS

    def _begin(self, delivery: Leased) -> None:
        self._busy[delivery.host] += 1
        send = asyncio.create_task(self._deliver(delivery))
        self._sends.add(send)
        send.add_done_callback(lambda _: self._ended(send, delivery.host))

    def _ended(self, send: asyncio.Task[None], host: str) -> None:
        self._sends.discard(send)
        self._busy[host] -= 1
        if self._busy[host] <= 0:
            del self._busy[host]
        if not send.cancelled() and (error := send.exception()) is not None:
            log.error("webhook.unrecorded", error=repr(error))  # its lease ends, and it is sent again
        self.ticker.wake()

    async def _deliver(self, delivery: Leased) -> None:
        slowed = delivery.failures >= SLOWED_AFTER_FAILURES
        if slowed and not await self._may_try(delivery):
            return
        try:
            tried = await self._tried(delivery)
        except CannotSign as unsigned:  # no fault of the receiver's: it spends no attempt
            log.warning("webhook.unsigned", delivery_id=delivery.id, reason=str(unsigned))
            await self._put_off(delivery, UNSIGNED_SECONDS)
            return
        count_webhook(delivery.event, tried.error, tried.duration_seconds)
        failures = await self._records.put(tried)
        if slowed and failures == 0:
            owner, url, host = delivery.owner_id, delivery.url, delivery.host
            await self._record_line.run(lambda conn: webhooks.hasten(conn, owner, url, host, HASTEN_MAX))
        if tried.error is not None:
            log.debug("webhook.failed", delivery_id=delivery.id, url_host=delivery.host, error=tried.error)
        if failures == SLOWED_AFTER_FAILURES:
            log.warning("endpoint.slowed", host=delivery.host, owner_id=delivery.owner_id, failures=failures)

    async def _may_try(self, delivery: Leased) -> bool:
        """A slowed endpoint is tried by one at a time; the others are put off, or given up when they are old."""
        if delivery.slowed_seconds <= 0 and await self._record_line.run(
            lambda conn: webhooks.take_slowed_turn(conn, delivery.owner_id, delivery.url)
        ):
            return True
        wait = max(delivery.slowed_seconds, SLOWED_SECONDS if delivery.slowed_seconds <= 0 else 0)
        await self._put_off(delivery, wait * random.uniform(1.0, 1.1))  # nosec B311  # dice
        return False

    async def _put_off(self, delivery: Leased, seconds: float) -> None:
        """No attempt is spent; what has waited for days, and was not replayed since, is given up."""
        is_replayed = delivery.spent_before > 0 and delivery.attempts == delivery.spent_before
        delay = None if delivery.age_seconds > PENDING_SECONDS_MAX and not is_replayed else seconds
        await self._record_line.run(
            lambda conn: webhooks.put_off(conn, [(delivery.id, delivery.turn, delay)])
        )

    async def _tried(self, delivery: Leased) -> Tried:
        """Send it once; whatever happens is a value."""
        started_at = now()
        answer: Answer | None = None
        try:
            answer = await self._send(delivery)
        except OutgoingError as failed:
            error: str | None = f"{failed.kind}: {failed}"
        except LookupError as unopened:
            raise CannotSign(str(unopened)) from unopened
        except (CannotSign, Unavailable):
            raise
        except (
            Exception
        ) as unexpected:  # a URL or a row by the rules of another version: not to be tried for ever
            error = f"Unsendable: {type(unexpected).__name__}: {unexpected}"
        else:
            error = None if 200 <= answer.status < 300 else said(answer)
        return Tried(
            delivery.id,
            delivery.turn,
            started_at,
            (now() - started_at).total_seconds(),
            answer.status if answer is not None else None,
            error,
            first_kib(answer.body) if answer is not None else None,
            None if error is None else self._delay(delivery, answer),
        )

    async def _send(self, delivery: Leased) -> Answer:
        body = _body(delivery)
        hidden = reveal(self._vault, delivery.sealed, delivery.owner_id)
        secret = hidden.secret or (self._alert_secret if delivery.task_id is None else None)
        headers = {"content-type": "application/json", "user-agent": AGENT}
        headers |= {name.lower(): value for name, value in hidden.headers.items()}
        signed = await self._signer.signed(delivery.owner_id, delivery.id, body, secret)
        headers |= {name.lower(): value for name, value in signed.items()}
        return await self._outgoing.send(
            "POST",
            delivery.url,
            list(headers.items()),
            body,
            timeout_seconds=self._rules.timeout_seconds,
            answer_bytes_max=ANSWER_BYTES_MAX,
            cut=True,
        )

    def _delay(self, delivery: Leased, answer: Answer | None) -> float | None:
        """Seconds until the next try; None: there is none."""
        if answer is not None and answer.status == GONE:
            return None
        tries = delivery.attempts + 1 - delivery.spent_before
        if tries >= (delivery.max_attempts or self._rules.max_attempts):
            return None
        asked = retry_after(answer) if answer is not None else None
        delays = self._rules.delays_seconds
        return asked if asked is not None else delays[min(tries, len(delays)) - 1] * random.uniform(0.9, 1.1)  # nosec B311  # dice

    async def _record(self, tries: list[Tried]) -> Sequence[int | None]:
        found = await self._record_line.run(lambda conn: webhooks.record_tries(conn, tries))
        return [found.get(one.id) for one in tries]


def _body(delivery: Leased) -> bytes:
    """What is sent: `attempt` counts all tries, those before a replay too."""
    told = (delivery.event, rfc3339(now()), delivery.id, delivery.attempts + 1)
    if delivery.task_id is None:
        return msgspec.json.encode(AlertBody(*told, Raw(delivery.content)))
    return msgspec.json.encode(WebhookBody(*told, snapshot_task(delivery.content)))
