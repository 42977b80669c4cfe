"""The OpenAPI document is valid, says all, and the api keeps to it: schemathesis, all checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import jsonschema_rs
import pytest
from tests.support import accounts
from tests.support.systems import System, running_system

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(accounts.__file__).with_name("schemathesis_hooks.py")


def test_every_reference_leads_somewhere(http: httpx.Client) -> None:
    document = http.get("/schema/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    for reference in _references(document):
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_every_shape_is_a_json_schema(http: httpx.Client) -> None:
    for schema in http.get("/schema/openapi.json").json()["components"]["schemas"].values():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})


def test_operations_are_named_and_told_of(http: httpx.Client) -> None:
    paths = http.get("/schema/openapi.json").json()["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"]
        assert {"400", "422", "500", "503"} <= set(operation["responses"])


class _Welcome(BaseHTTPRequestHandler):
    """Takes every webhook."""

    def do_POST(self) -> None:
        """Read it, and answer."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """The output of tests is not for this."""


@pytest.fixture
def hook() -> Iterator[str]:
    """Where webhooks are welcome."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Welcome) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


@pytest.fixture
def system(hook: str) -> Iterator[System]:
    """A running system in which there is something of every kind, called by an admin, by key: nobody else may."""
    with running_system("--workers", "1", **accounts.REQUIRED, REGISTRATION="open") as found:
        token = accounts.sign_in(str(found.http.base_url))["access_token"]
        key = accounts.make_key(str(found.http.base_url), token, "admin")["key"]
        found.http.headers.update(accounts.bearer(key))
        ended = [found.submit(name)["id"] for name in ("demo", "gives_up", "gives_up")]
        assert [found.wait(task_id)["status"] for task_id in ended] == ["completed", "failed", "failed"]
        _tell(found, hook)
        yield found


def _tell(system: System, hook: str) -> None:
    """A webhook that was delivered and one that was not; a signing secret that was replaced."""
    refused = f"{system.http.base_url}/livez"
    task = system.submit("demo", callback={"url": hook, "headers": {"X-Tenant": "t"}})
    system.submit("demo", callback={"url": refused, "max_attempts": 1})
    system.wait(system.submit("http.push", target={"url": hook, "headers": {"X-Tenant": "t"}})["id"])
    for _ in range(2):
        system.post("/signing-secrets", expect=201)
    system.post(f"/tasks/{task['id']}/webhook-deliveries", {"event": "task.test"}, expect=202)

    def told() -> bool:
        told = [one["status"] for one in system.get("/webhook-deliveries")["items"]]
        return sorted(told) == ["delivered", "delivered", "failed"]

    system.until(told, "two webhooks are delivered, one is not")


@pytest.mark.timeout(300)
def test_the_api_keeps_to_its_document(system: System, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("schemathesis"))
    document = f"{system.http.base_url}/schema/openapi.json"
    done = subprocess.run(
        [program, "--config-file", str(CONFIG), "run", "--checks", "all", "--no-color", document],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), **_caller(system)},
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}\n{done.stderr[-2_000:]}\n{system.log()[-5_000:]}"
    print(done.stdout[-3_000:])


def _caller(system: System) -> dict[str, str]:
    """The key that is called with, and whose it is."""
    keys = system.http.get("/api/v1/api-keys").json()["items"]
    assert len(keys) == 1
    return {
        "TASKFLOW_API_KEY": system.http.headers["authorization"].removeprefix("Bearer "),
        "TASKFLOW_KEY_ID": keys[0]["id"],
        "TASKFLOW_USER_ID": keys[0]["user_id"],
    }


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [one for member in value.values() for one in _references(member)]
    if isinstance(value, list):
        return [one for member in value for one in _references(member)]
    return []
