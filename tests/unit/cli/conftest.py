"""What tests of the commands that call the API share: a stand-in of it, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.commands import Done, Taskflow
from tests.support.stand_in import StandIn, stand_in

from taskflow.cli.main import run


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The API that `TASKFLOW_URL` names."""
    for name in ("TASKFLOW_API_KEY", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with stand_in() as found:
        monkeypatch.setenv("TASKFLOW_URL", found.url)
        yield found


@pytest.fixture
def taskflow(capfd: pytest.CaptureFixture[str]) -> Taskflow:
    """Run a command line; never a traceback."""

    def taskflow(*arguments: str) -> Done:
        code = run(list(arguments))
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    return taskflow
