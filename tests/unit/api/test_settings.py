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


ELSEWHERE = ["0.0.0.0", "::", "10.0.0.1", "example.org"]
KEY = "a-key-for-tests-of-more-than-32-bytes"


@pytest.mark.parametrize("host", ELSEWHERE)
def test_elsewhere_callers_must_sign_in(host: str) -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY is not set; expected at least 32 random bytes"):
        load(Settings, {**URL, "HTTP_HOST": host})
    settings = load(Settings, {**URL, "HTTP_HOST": host, "SECRET_KEY": KEY})
    assert settings.auth_required and not settings.registration_open


@pytest.mark.parametrize("host", ELSEWHERE)
def test_that_nobody_need_sign_in_elsewhere_must_be_said(host: str) -> None:
    disabled = {**URL, "HTTP_HOST": host, "AUTH_MODE": "disabled"}
    with pytest.raises(SettingsError, match="AUTH_DISABLED_ANYWHERE=true"):
        load(Settings, disabled)
    settings = load(Settings, {**disabled, "AUTH_DISABLED_ANYWHERE": "true"})
    assert not settings.auth_required and settings.registration_open


def test_on_loopback_it_can_be_asked_for() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        load(Settings, {**URL, "AUTH_MODE": "required"})
    settings = load(Settings, {**URL, "AUTH_MODE": "required", "SECRET_KEY": KEY, "REGISTRATION": "open"})
    assert settings.auth_required and settings.registration_open


@pytest.mark.parametrize(
    "key", ["short", "x" * 31, "please-change-me-please-change-me-please", "django-insecure-" + "k" * 40]
)
def test_a_key_that_can_be_guessed_is_refused(key: str) -> None:
    for name in ("SECRET_KEY", "SECRET_KEY_PREVIOUS"):
        with pytest.raises(
            SettingsError, match=f'{name}="\\*\\*\\*" is not valid; expected at least 32'
        ) as refused:
            load(Settings, {**URL, "AUTH_MODE": "required", "SECRET_KEY": KEY, name: key})
        assert key not in str(refused.value)


def test_the_first_admins_password_is_not_easily_guessed() -> None:
    for password in ("admin", "password123", "adminadmin"):
        with pytest.raises(SettingsError, match="ADMIN_PASSWORD") as refused:
            load(Settings, {**URL, "ADMIN_PASSWORD": password})
        assert f'"{password}"' not in str(refused.value)
    load(Settings, {**URL, "ADMIN_PASSWORD": "a phrase that is long"})


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
