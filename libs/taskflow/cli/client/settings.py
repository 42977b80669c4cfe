"""What the commands that call the API read from their environment."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from taskflow.kit.settings import Secret, Url

HTTP_URL = r"^https?://[^/\s]"


class ClientSettings(Struct, frozen=True, kw_only=True):
    """Where the API is, and the key to it."""

    taskflow_url: Annotated[Url, Meta(pattern=HTTP_URL, description="an http:// or https:// URL")] = (
        "http://127.0.0.1:8080"
    )
    # A key goes into a header, which holds no other characters.
    taskflow_api_key: Annotated[Secret, Meta(pattern=r"^[!-~]+$", description="visible ASCII")] | None = None
