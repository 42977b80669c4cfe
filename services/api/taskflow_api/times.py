"""Times in a query string: RFC 3339 with an offset, as the bounds of a list."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

EXPECTED_TIME = "a time with offset, such as 2026-01-31T12:00:00Z (a + in a URL is written %2B)"

_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))"
)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


def instant(text: str) -> datetime:
    """The moment `text` names, in UTC, drawn into 1970..9998, outside of which nothing was made.

    Raises ValueError if it is not such a time, or has no offset.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(EXPECTED_TIME)
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    is_within = _FIRST.year <= year < _LAST.year
    try:
        offset = _offset(match[9], int(match[10] or 0), int(match[11] or 0))
        # A leap second is the one after it. The year 2000 has every day a year can have.
        moment = datetime(
            year if is_within else 2000, month, day, hour, minute, min(second, 59), tzinfo=offset
        )
        if second > 60:
            raise ValueError
    except ValueError:
        raise ValueError(EXPECTED_TIME) from None
    if not is_within:
        return _FIRST if year < _FIRST.year else _LAST
    microseconds = int((match[7] or "0")[:6].ljust(6, "0"))
    moment += timedelta(seconds=second - min(second, 59), microseconds=microseconds)
    return max(moment, _FIRST).astimezone(UTC)


def _offset(sign: str | None, hours: int, minutes: int) -> timezone:
    if minutes > 59:
        raise ValueError
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)
