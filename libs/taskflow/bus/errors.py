"""What NATS' errors mean to us, translated where they arise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
import nats.js.errors

from taskflow.domain.errors import Unavailable


class BusAway(Unavailable):
    """NATS cannot be reached, or does not answer."""


class StreamMissing(BusAway):
    """The stream does not exist (any more)."""


NO_MESSAGE = 10037
NO_STREAM = 10059


@contextmanager
def translated() -> Iterator[None]:
    """Errors of nats leave as `BusAway` or `StreamMissing`."""
    try:
        yield
    except nats.js.errors.NoStreamResponseError as error:
        raise StreamMissing("JetStream has no stream for this subject") from error
    except nats.js.errors.NotFoundError as error:
        raise StreamMissing(str(error)) from error
    except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
        raise BusAway(f"NATS cannot be used: {error!r}", retry_after_seconds=1) from error
