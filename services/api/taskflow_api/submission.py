"""A submitted task as it stands in a body, and the way to a `NewTask`.

The decoder below takes bodies without fault, one or 10,000 tasks, in one pass in C; `routes.submit` calls
it. Whatever it refuses goes to `faults`, which finds out what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

from msgspec import Meta, Raw, Struct, field

from taskflow.domain import errors
from taskflow.domain.callback import PUSH_TYPE, CallbackWish, TargetWish
from taskflow.domain.errors import Problem, TaskflowError
from taskflow.domain.retry import RetryPolicy
from taskflow.domain.task import DEFAULT_QUEUE, Lane, LaneName, NewTask
from taskflow.kit.ids import new_id

PAYLOAD_BYTES_MAX = 256 * 1024
METADATA_BYTES_MAX = 16 * 1024
BATCH_ITEMS_MAX = 10_000
AHEAD_SECONDS_MAX = 31_536_000
"""How far in the future a task may be due: a year."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
"""Ids know no time before 1970, and the store none of the year 9999: there it means never."""

# \Z and not $, which lets a line feed slip by; in the OpenAPI document, by ECMA 262, $ means the same.
TYPE_PATTERN = r"\A[A-Za-z0-9_.:-]{1,128}\Z"
QUEUE_PATTERN = r"\A[a-z0-9_-]{1,64}\Z"
TEXT_PATTERN = r"\A[^\x00]*\Z"
KEY_PATTERN = r"\A[!-~]{1,255}\Z"

TypeName = Annotated[str, Meta(pattern=TYPE_PATTERN)]
QueueName = Annotated[str, Meta(pattern=QUEUE_PATTERN)]
TaskName = Annotated[str, Meta(max_length=200, pattern=TEXT_PATTERN)]
Tag = Annotated[str, Meta(max_length=100, pattern=TEXT_PATTERN)]
Tags = Annotated[list[Tag], Meta(max_length=20)]
Moment = Annotated[datetime, Meta(tz=True)]
Priority = LaneName | Annotated[float, Meta(ge=0, le=100)]
# A float that is whole: JSON knows no integers, and 5.0 is 5.
MaxAttempts = Annotated[float, Meta(ge=1, le=100, multiple_of=1)]
TimeoutSeconds = Annotated[float, Meta(gt=0, le=86_400)]
DelaySeconds = Annotated[float, Meta(ge=0, le=AHEAD_SECONDS_MAX)]
Key = Annotated[str, Meta(pattern=KEY_PATTERN)]

# As factories: msgspec cannot write a Raw default into a schema.
_absent = partial(Raw, b"")
_empty = partial(Raw, b"{}")


class Submission(Struct, forbid_unknown_fields=True):
    """What a caller may say of a task. `null` counts as not said, except as the payload."""

    type: TypeName | None = None
    payload: Raw = field(default_factory=_empty)
    priority: Priority | None = None
    queue: QueueName | None = None
    name: TaskName | None = None
    tags: Tags | None = None
    metadata: Raw = field(default_factory=_absent)
    run_at: Moment | None = None
    delay_seconds: DelaySeconds | None = None
    expires_at: Moment | None = None
    max_attempts: MaxAttempts | None = None
    timeout_seconds: TimeoutSeconds | None = None
    retry: RetryPolicy | None = None
    callback: CallbackWish | None = None
    target: TargetWish | None = None


class Item(Submission, forbid_unknown_fields=True):
    """A task of a batch: it may bear its own idempotency key."""

    idempotency_key: Key | None = None


class Batch(Struct, forbid_unknown_fields=True):
    """The body of a batch."""

    items: Annotated[list[Item], Meta(min_length=1, max_length=BATCH_ITEMS_MAX)]


class Fault(Struct, frozen=True):
    """A problem, and the error it makes of the whole call."""

    kind: type[TaskflowError]
    problem: Problem


def is_plain(said: Submission) -> bool:
    """Whether it says nothing that `judge` would have to look at: nearly all do not."""
    return (
        said.type is not None
        and said.type != PUSH_TYPE
        and said.run_at is None
        and said.expires_at is None
        and len(memoryview(said.payload)) <= PAYLOAD_BYTES_MAX
        and not memoryview(said.metadata)
    )


def judge(submission: Submission, now: datetime, at: str = "") -> Iterator[Fault]:
    """The faults no type can tell; `at` is the pointer to the task in the body."""
    said = submission
    if said.target is None:
        if said.type is None:
            yield _invalid(f"{at}/type", "is required; expected 1 to 128 of A-Z a-z 0-9 _ . : -")
        elif said.type == PUSH_TYPE:
            yield _invalid(
                f"{at}/target", f"is required, as type is {PUSH_TYPE}; expected an object with a url"
            )
    if len(memoryview(said.payload)) > PAYLOAD_BYTES_MAX:
        yield Fault(
            errors.TooLarge, Problem(f"is over {PAYLOAD_BYTES_MAX} bytes of text", pointer=f"{at}/payload")
        )
    if memoryview(said.metadata):
        yield from _judge_metadata(bytes(said.metadata), at)
    if said.run_at is not None:
        if said.delay_seconds is not None:
            yield _invalid(f"{at}/delay_seconds", "stands beside run_at; expected one of them")
        if said.run_at.year < _FIRST_YEAR or said.run_at - now > timedelta(seconds=AHEAD_SECONDS_MAX):
            expected = f"expected a time after {_FIRST_YEAR} and at most {AHEAD_SECONDS_MAX} seconds ahead"
            yield _invalid(f"{at}/run_at", expected)
    if said.expires_at is not None and not now < said.expires_at < now.replace(year=_LAST_YEAR, day=1):
        yield _invalid(f"{at}/expires_at", f"expected a time in the future, before the year {_LAST_YEAR}")


def _judge_metadata(text: bytes, at: str) -> Iterator[Fault]:
    if not text.startswith((b"{", b"null")):
        yield _invalid(f"{at}/metadata", "expected an object")
    if len(text) > METADATA_BYTES_MAX:
        yield _invalid(f"{at}/metadata", f"expected at most {METADATA_BYTES_MAX} bytes of text")


def _invalid(pointer: str, detail: str) -> Fault:
    return Fault(errors.Invalid, Problem(detail, pointer=pointer))


def new_task(said: Submission) -> NewTask:
    """The task a submission without fault asks for."""
    metadata = bytes(said.metadata)
    return NewTask(
        id=new_id(),
        type=said.type or PUSH_TYPE,
        payload=bytes(said.payload).decode(),
        lane=lane_of(said.priority),
        queue=said.queue or DEFAULT_QUEUE,
        name=said.name,
        tags=said.tags or [],
        metadata=metadata.decode() if metadata and metadata != b"null" else "{}",
        run_at=said.run_at,
        delay_seconds=said.delay_seconds,
        expires_at=said.expires_at,
        max_attempts=None if said.max_attempts is None else int(said.max_attempts),
        timeout_seconds=said.timeout_seconds,
        retry=said.retry,
    )


def lane_of(priority: str | float | None) -> int:
    """The lane that a priority, name or number, stands for."""
    if priority is None:
        return int(Lane.NORMAL)
    if isinstance(priority, str):
        return int(Lane.named(priority))
    return int(Lane.of_number(priority))
