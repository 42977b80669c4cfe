"""A real api process with its own database and names on the bus, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from tests.integration.api.signing import Account, Signing, signing_api
from tests.support import servers as real
from tests.support.apis import Api, running_api


@pytest.fixture(scope="module")
def api(databases: real.Databases, servers: real.Servers) -> Iterator[Api]:
    """The api of this module. No worker runs: what is submitted stays queued."""
    url = databases.create()
    with running_api(url, servers.nats_url) as started:
        yield started
    databases.drop(url)
    real.delete_streams(servers.nats_url)


@pytest.fixture
def http(api: Api) -> Iterator[httpx.Client]:
    """A client of the module's api."""
    with httpx.Client(base_url=api.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def signing(databases: real.Databases, servers: real.Servers) -> Iterator[Signing]:
    """The same with a key, so that webhooks and pushes are offered; it logs all it can."""
    with signing_api(databases, servers, LOG_LEVEL="debug") as found:
        yield found


@pytest.fixture(scope="module")
def ann(signing: Signing) -> Account:
    """A user."""
    return signing.account("ann")


@pytest.fixture(scope="module")
def bob(signing: Signing) -> Account:
    """Another."""
    return signing.account("bob")
