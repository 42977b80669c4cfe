"""A real api for the tests of a module."""

from __future__ import annotations

from tests.integration.api.conftest import api, http

__all__ = ["api", "http"]
