"""Text that can be stored: handlers write what they like, PostgreSQL's text and UTF-8 do not hold all of it.

Used for every error, log line and progress message before it leaves this room.
"""

from __future__ import annotations

import re
from typing import Literal

TEXT_BYTES_MAX = 64 * 1024
MESSAGE_BYTES_MAX = 4 * 1024
NAME_BYTES_MAX = 200

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str, bytes_max: int = TEXT_BYTES_MAX, keep: Literal["head", "tail"] = "head") -> str:
    """`text` with U+0000 and unpaired surrogates replaced by U+FFFD, cut to `bytes_max` bytes of UTF-8."""
    if len(text) > bytes_max:
        text = text[:bytes_max] if keep == "head" else text[-bytes_max:]
    text = _UNSTORABLE.sub("\ufffd", text)
    if text.isascii() or len(encoded := text.encode()) <= bytes_max:
        return text
    cut = encoded[:bytes_max] if keep == "head" else encoded[-bytes_max:]
    return cut.decode(errors="ignore")


def text_of(thing: object) -> str:
    """`str(thing)`, whatever its `__str__` does."""
    try:
        return str(thing)
    except BaseException as error:  # a `__str__` may raise anything, SystemExit too
        return f"<{type(thing).__name__}: str() raised {type(error).__name__}>"
