"""The api's settings: contract, section 5. Read once, by `kit.lifecycle.program`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta

from taskflow.engine.settings import KEY_EXPECTED, BusSettings, EgressSettings, KeySettings
from taskflow.kit.settings import Seconds, Secret, SettingsError, Url
from taskflow_api.addresses import read_network
from taskflow_api.cors import read_origin

PerHour = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Settings(KeySettings, EgressSettings, BusSettings, frozen=True, kw_only=True):
    """What the api reads from its environment."""

    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    database_url: Url
    auth_mode: Literal["required", "disabled"] | None = None
    auth_disabled_anywhere: bool = False
    secret_key: Secret | None = None
    secret_key_previous: Secret | None = None
    sealing_key: Secret | None = None
    sealing_key_previous: Secret | None = None
    egress_allow: tuple[str, ...] = ()
    egress_ports: tuple[str, ...] = ("80", "443", "1024-65535")
    egress_schemes: tuple[str, ...] = ("https", "http")
    access_token_expire_minutes: Annotated[int, Meta(ge=1, le=1_440)] = 180
    refresh_token_expire_days: Annotated[int, Meta(ge=1, le=366)] = 30
    registration: Literal["open", "closed"] | None = None
    admin_username: Annotated[str, Meta(min_length=1, max_length=64)] = "admin"
    admin_password: Secret | None = None
    max_failed_attempts: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    lockout_duration_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 900
    rate_limit_per_hour: PerHour = 0
    user_rate_limit_per_hour: PerHour = 0
    login_rate_limit_per_hour: PerHour = 1_000
    queued_tasks_per_user_max: Annotated[int, Meta(ge=0)] = 0
    trusted_proxies: tuple[str, ...] = ()
    cors_origin: tuple[str, ...] = ()
    metrics_open: bool = False
    strict_types: bool = False
    validate_payloads: bool = True
    worker_lease: Annotated[Seconds, Meta(ge=1, le=3_600)] = 15.0
    handler_grace: Annotated[Seconds, Meta(ge=0, le=3_600)] = 5.0
    dead_letter_retention: Annotated[Seconds, Meta(ge=1)] = 90 * 86_400.0
    task_timeout: Annotated[Seconds, Meta(gt=0, le=86_400)] = 30.0
    worker_max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    worker_backoff_base: Annotated[Seconds, Meta(ge=0)] = 0.5
    worker_backoff_max: Annotated[Seconds, Meta(ge=0)] = 10.0
    traces: bool = False
    trace_sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_open_address(self)
        if self.secret_key is None and self.auth_required:
            raise SettingsError("SECRET_KEY", None, f"{KEY_EXPECTED}, as AUTH_MODE is required here")
        self.judge_keys()
        self.egress()
        if self.admin_password is not None:
            _judge_password(self.admin_password, self.admin_username)
        _judge_each("TRUSTED_PROXIES", self.trusted_proxies, read_network, _PROXIES_EXPECTED)
        _judge_each("CORS_ORIGIN", self.cors_origin, read_origin, _ORIGINS_EXPECTED)

    @property
    def auth_required(self) -> bool:
        """Whether callers must sign in: as AUTH_MODE says, else everywhere but on loopback."""
        if self.auth_mode is not None:
            return self.auth_mode == "required"
        return not is_loopback(self.http_host)

    @property
    def registration_open(self) -> bool:
        """Whether anybody may make an account: as REGISTRATION says, else where nobody need sign in anyway."""
        if self.registration is not None:
            return self.registration == "open"
        return not self.auth_required


def refuse_open_address(settings: Settings) -> None:
    """While nobody signs in, the api listens on loopback only, unless AUTH_DISABLED_ANYWHERE is set."""
    if settings.auth_required or settings.auth_disabled_anywhere or is_loopback(settings.http_host):
        return
    expected = f"required, as HTTP_HOST is {settings.http_host}; or AUTH_DISABLED_ANYWHERE=true, where nobody need sign in"
    raise SettingsError("AUTH_MODE", "disabled", expected)


_PROXIES_EXPECTED = "addresses and networks such as 10.0.0.5, 10.0.0.0/8 or fd00::/8"
_ORIGINS_EXPECTED = "origins such as https://app.example.com or http://localhost:3000, in lower case, or *"


def _judge_each(name: str, texts: tuple[str, ...], read: Callable[[str], object], expected: str) -> None:
    """Every entry of a list must be readable."""
    for text in texts:
        try:
            read(text)
        except ValueError as error:
            raise SettingsError(name, ",".join(texts), f"{expected} ({error})") from None


def _judge_password(password: str, username: str) -> None:
    from taskflow.engine.passwords import fault_of  # argon2 and word lists: only where a password is given

    if (fault := fault_of(password, [username])) is not None:
        raise SettingsError(
            "ADMIN_PASSWORD", "***", f"a password that is not easily guessed (this one {fault})"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address of this name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
