"""Names that stand for addresses of this machine: 127.0.0.2 plays the part of the whole internet."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from taskflow.cli.certificates import make_certificate
from taskflow.kit.egress import Egress, egress
from taskflow.kit.ranges import Address

PUBLIC = "127.0.0.2"


@pytest.fixture
def rules() -> Egress:
    """127.0.0.2 may be reached, 127.0.0.1 may not."""
    return egress([PUBLIC])


class Names:
    """A resolver that gives the answers it is told, one after the other; the last one again and again."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[str] = []
        self._answers: Iterator[Sequence[str]] = iter(answers)
        self._last: Sequence[str] = ()

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        self._last = next(self._answers, self._last)
        return [ip_address(address) for address in self._last]


@pytest.fixture
def serving_tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's side with a certificate for `service.example`, and a caller's side that knows its authority."""
    made = make_certificate(["service.example"])
    (tmp_path / "cert.pem").write_bytes(made.server)
    (tmp_path / "key.pem").write_bytes(made.key)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return server, ssl.create_default_context(cadata=made.authority.decode())
