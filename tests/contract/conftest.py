"""A real api for the tests of a module."""

from __future__ import annotations

from tests.integration.api.conftest import ann, api, http, signing

__all__ = ["ann", "api", "http", "signing"]
