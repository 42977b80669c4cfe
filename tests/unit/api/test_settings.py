"""Where the api may listen while nobody signs in."""

from __future__ import annotations

import pytest

from taskflow.kit.settings import SettingsError, load
from taskflow_api.settings import Settings

URL = {"DATABASE_URL": "postgresql:///taskflow"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_loopback_is_open(host: str) -> None:
    load(Settings, {**URL, "HTTP_HOST": host})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org"])
def test_elsewhere_it_must_be_said(host: str) -> None:
    with pytest.raises(SettingsError, match="AUTH_DISABLED_ANYWHERE"):
        load(Settings, {**URL, "HTTP_HOST": host})
    load(Settings, {**URL, "HTTP_HOST": host, "AUTH_DISABLED_ANYWHERE": "true"})
