"""Where the api may listen while nobody signs in; what its lists must hold."""

from __future__ import annotations

import re

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


WRONG = [
    ("TRUSTED_PROXIES", "10.0.0.0/8, proxy", "such as 10.0.0.5, 10.0.0.0/8 or fd00::/8 ('proxy'"),
    ("TRUSTED_PROXIES", "10.0.0.1/8", "host bits"),
    ("TRUSTED_PROXIES", "0.0.0.0/0", "everybody"),
    ("CORS_ORIGIN", "https://app.example.com/", "origins such as https://app.example.com"),
    ("CORS_ORIGIN", "null", "or * (null is no origin)"),
    ("CORS_ORIGIN", "*, https://app.example.com:443", "leave out the port"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_a_list_with_a_wrong_entry_is_refused(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(expected)) as error:
        load(Settings, {**URL, name: value})
    assert str(error.value).startswith(f"{name}=")


def test_lists_are_read() -> None:
    given = {
        "TRUSTED_PROXIES": "10.0.0.5, fd00::/8",
        "CORS_ORIGIN": "https://app.example.com,http://localhost:3000",
    }
    read = load(Settings, {**URL, **given})
    assert read.trusted_proxies == ("10.0.0.5", "fd00::/8")
    assert read.cors_origin == ("https://app.example.com", "http://localhost:3000")
