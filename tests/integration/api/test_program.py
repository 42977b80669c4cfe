"""The api as a program: how it starts or refuses to, and what it does without its servers."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys

import httpx
import pytest
from tests.integration.api.test_bad_input import check_problem
from tests.support.apis import running_api


def refused(**settings: str) -> tuple[int, str]:
    """Exit code and stderr of an api that does not start."""
    environment = {**os.environ, "DATABASE_URL": "postgresql://127.0.0.1:1/none", **settings}
    done = subprocess.run(
        [sys.executable, "-m", "taskflow_api"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_it_does_not_listen_to_everybody_unasked() -> None:
    code, said = refused(HTTP_HOST="0.0.0.0")
    assert code == 2
    assert "SECRET_KEY is not set; expected at least 32 random bytes" in said.splitlines()[-1]
    code, said = refused(HTTP_HOST="0.0.0.0", AUTH_MODE="disabled")
    assert code == 2
    assert (
        'AUTH_MODE="disabled" is not valid; expected required, as HTTP_HOST is 0.0.0.0'
        in said.splitlines()[-1]
    )
    assert "Traceback" not in said


def test_a_used_port_is_told_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = refused(HTTP_PORT=str(taken.getsockname()[1]))
    assert code == 1
    assert "cannot listen on 127.0.0.1" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "value"), [("HTTP_PORT", "x"), ("DATABASE_URL", ""), ("STRICT_TYPES", "maybe")]
)
def test_a_wrong_setting_ends_it(name: str, value: str) -> None:
    code, said = refused(**{name: value})
    assert code == 2
    assert name in said
    assert len(said.splitlines()) == 1


def test_without_postgresql_it_answers_503() -> None:
    with (
        running_api("postgresql://127.0.0.1:1/none", "nats://127.0.0.1:1", probe="/livez") as api,
        httpx.Client(base_url=api.url, timeout=30) as http,
    ):
        answers = [
            http.get("/readyz"),
            http.post("/api/v1/tasks", json={"type": "echo"}),
            http.post("/api/v1/tasks/batch", json={"items": [{"type": "echo"}]}),
            http.get("/api/v1/tasks"),
            http.get("/api/v1/tasks/01900000-0000-7000-8000-000000000000?wait=1"),
            http.get("/api/v1/queues"),
        ]
        for answer in answers:
            check_problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        assert answers[0].json()["ready"] is False
        check_problem(http.post("/api/v1/tasks", json={"type": ""}), 422, "invalid")


def test_without_nats_tasks_are_taken(database_url: str) -> None:
    with running_api(database_url, "nats://127.0.0.1:1") as api:
        answer = httpx.post(f"{api.url}/api/v1/tasks", json={"type": "echo"}, timeout=30)
        assert answer.status_code == 202
        path = answer.headers["location"]
        assert httpx.get(f"{api.url}{path}?wait=0.5").json()["status"] == "queued"
        assert httpx.get(f"{api.url}/readyz").json()["nats"] != "ok"


def test_strict_types_refuse_what_nobody_declares(database_url: str, nats_url: str) -> None:
    with running_api(database_url, nats_url, STRICT_TYPES="true") as api:
        answer = httpx.post(f"{api.url}/api/v1/tasks", json={"type": "nobody"}, timeout=30)
        check_problem(answer, 422, "unknown_type")
        assert answer.json()["errors"][0]["pointer"] == "/type"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_it_takes_as_many_connections_as_it_may(database_url: str, nats_url: str) -> None:
    """Each is an open file, of which most systems allow 1,024 until they are asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with running_api(database_url, nats_url) as api:
            taken, _ = resource.prlimit(api.process.pid, resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert taken == (32_768 if hard == resource.RLIM_INFINITY else min(hard, 32_768))
