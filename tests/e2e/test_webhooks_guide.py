"""The receivers in the guide to webhooks: each takes what we sign, and refuses all else."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.systems import ROOT
from tests.support.waiting import wait_until_sync

from taskflow import webhooks

GUIDE = (ROOT / "docs" / "guides" / "webhooks.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BODY = '{"event": "task.succeeded", "delivery_id": "d-1", "task": {"name": "Ärger"}}'.encode()
OLD, NEW, OTHER = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"o", b"n", b"x"))
PLAIN = "correct-horse-battery"


def block(kind: str, word: str) -> str:
    """The one block of code of this kind that has `word` in it."""
    (found,) = [body for said, body in BLOCK.findall(GUIDE) if said == kind and word in body]
    return str(found)


def requests(secret: str, others: str) -> list[tuple[int, Mapping[str, str], bytes]]:
    """What a receiver with `secret` is sent, and whether it is to be taken (2) or refused (4)."""
    now = int(time.time())
    good = webhooks.sign("msg_1", now, BODY, [secret])
    sent: list[tuple[int, Mapping[str, str], bytes]] = [
        (2, good, BODY),
        (2, webhooks.sign("msg_1", now, BODY, [secret, others]), BODY),
        (4, webhooks.sign("msg_1", now, BODY, [others]), BODY),
        (4, good, BODY.replace(b"succeeded", b"failed")),
        (4, good, BODY + b" "),
        (4, {}, BODY),
    ]
    if not secret.startswith("whsec_"):
        return [*sent, (4, {**good, "X-TaskFlow-Signature": good["X-TaskFlow-Signature"][:-1]}, BODY)]
    return [
        *sent,
        (2, webhooks.sign("msg_1", now, BODY, [others, secret]), BODY),
        (4, webhooks.sign("msg_1", now - 400, BODY, [secret]), BODY),
        (4, {**good, "webhook-timestamp": str(now + 1)}, BODY),
        (4, {**good, "webhook-timestamp": "soon"}, BODY),
        (4, {**good, "webhook-id": "msg_2"}, BODY),
        (4, {**good, "webhook-signature": good["webhook-signature"][:-1]}, BODY),
    ]


@pytest.mark.parametrize(
    ("word", "secret"), [("from taskflow", OLD), ("from taskflow", PLAIN), ("from standardwebhooks", OLD)]
)
def test_python(word: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    made: dict[str, Any] = {}
    exec(compile(block("python", word), "webhooks.md", "exec"), made)
    received: Callable[[Mapping[str, str], bytes], int] = made["received"]
    for status, headers, body in requests(secret, OTHER):
        assert received(headers, body) // 100 == status, (headers, body)


@contextmanager
def node_receiver(folder: Path, port: int, secret: str) -> Iterator[httpx.Client]:
    """The receiver of the guide, as it stands there, run by node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the PATH: the receiver in JavaScript is not run")
    (folder / "receiver.cjs").write_text(block("js", "createServer"))
    process = subprocess.Popen(
        [node, "receiver.cjs"],
        cwd=folder, env={**os.environ, "PORT": str(port), "WEBHOOK_SECRET": secret},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def listening() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until_sync(listening, "the receiver listens", 30)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize("secret", [OLD, PLAIN], ids=["whsec", "plain"])
def test_node(tmp_path: Path, free_port: int, secret: str) -> None:
    with node_receiver(tmp_path, free_port, secret) as client:
        for status, headers, body in requests(secret, OTHER):
            answer = client.post("/hooks", content=body, headers=headers)
            assert answer.status_code // 100 == status, (headers, body, answer.text)
            if status == 2:
                assert answer.json() == {"received": "d-1"}
