"""`taskflow janitor` without a database; what it does is in tests/integration/engine/test_janitor.py."""

from __future__ import annotations

import pytest
from tests.unit.cli.test_doctor_command import NOWHERE, taskflow

from taskflow.cli.janitor import _settings
from taskflow.kit.settings import SettingsError, load
from taskflow_scheduler.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "said"),
    [
        ([], {}, 2, "DATABASE_URL is not set"),
        (["--nope"], {"DATABASE_URL": NOWHERE}, 2, "No such option"),
        ([], {"DATABASE_URL": NOWHERE, "AUDIT_RETENTION": "1h"}, 2, 'AUDIT_RETENTION="1h" is not valid'),
        ([], {"DATABASE_URL": NOWHERE, "API_KEY_IDLE_MAX": "90s"}, 2, 'API_KEY_IDLE_MAX="90s" is not valid'),
        (["--dry-run"], {"DATABASE_URL": NOWHERE}, 7, "PostgreSQL cannot be reached"),
        (["--json"], {"DATABASE_URL": NOWHERE}, 7, "PostgreSQL cannot be reached"),
    ],
)
def test_faults_are_one_line_on_stderr(
    arguments: list[str], environ: dict[str, str], code: int, said: str
) -> None:
    done = taskflow("janitor", *arguments, **environ)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hush" not in done.stderr


def test_help_tells_of_it() -> None:
    assert "  janitor " in taskflow("--help").stdout
    said = taskflow("janitor", "--help").stdout
    assert "--dry-run" in said
    assert "--json" in said


@pytest.mark.parametrize(
    "environ",
    [{}, {"ACCOUNT_RETENTION": "7d", "AUDIT_RETENTION": "2d", "API_KEY_IDLE_MAX": "180d"}],
)
def test_command_and_scheduler_read_alike(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    given = {"DATABASE_URL": NOWHERE, **environ}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    _, keeping = _settings()
    settings = load(Settings, given)
    assert (keeping.accounts_seconds, keeping.audit_seconds, keeping.key_idle_seconds) == (
        settings.account_retention, settings.audit_retention, settings.api_key_idle_max,
    )  # fmt: skip


def test_a_scheduler_refuses_to_revoke_keys_in_use() -> None:
    with pytest.raises(SettingsError, match="API_KEY_IDLE_MAX"):
        load(Settings, {"DATABASE_URL": NOWHERE, "API_KEY_IDLE_MAX": "23h"})
