"""The checks before anything is started, each of which ends `dev` with one line; then the whole system."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from msgspec import Struct

from taskflow.cli.dev.console import Console
from taskflow.cli.dev.places import DataFolder, check_port, free_port
from taskflow.cli.dev.settings import DevSettings
from taskflow.cli.dev.supervisor import SERVICES, Plan, System
from taskflow.cli.programs import module_of, offer_imports
from taskflow.kit.lifecycle import ProgramError, run
from taskflow.kit.logging import configure
from taskflow.kit.settings import load

_DECIDED = ("DATABASE_URL_FILE", "NATS_URL_FILE", "PROBE_PORT")
_SEALING = ("SEALING_KEY", "SEALING_KEY_FILE", "SEALING_KEY_PREVIOUS", "SEALING_KEY_PREVIOUS_FILE")
_SECRETS = {
    "api": (
        *("SECRET_KEY", "SECRET_KEY_FILE", "SECRET_KEY_PREVIOUS", "SECRET_KEY_PREVIOUS_FILE"),
        *("ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE"),
        *_SEALING,
    ),
    "worker": _SEALING,
    "notifier": _SEALING,
}
"""Who is given what: workers run the code of others, and with SECRET_KEY anybody could sign in."""
_NATS_LOGIN = ("NATS_NKEY_SEED", "NATS_NKEY_SEED_FILE", "NATS_CA_FILE")
"""For a NATS of one's own; that of `dev` knows its token only."""


class Options(Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    host: str
    port: int
    data_dir: Path
    workers: int
    imports: tuple[str, ...]


def start(settings: DevSettings, options: Options) -> int:
    """Run the system until it is told to stop; gives the exit code."""
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    console = Console(settings.log_format, coloured=coloured)
    configure(settings.log_level, settings.log_format, "dev", console)
    return run(lambda stop: _run(settings, options, console, stop))


async def _run(settings: DevSettings, options: Options, console: Console, stop: asyncio.Event) -> int:
    data = DataFolder(options.data_dir)
    data.lock()
    check_port(options.host, options.port)
    port = options.port or free_port(options.host)
    environ = _environ(options, port, own_nats=settings.nats_url is None)
    secrets = _secrets(environ, data)
    plan = Plan(
        api_url=_url(options.host, port),
        database_url=settings.database_url,
        nats_url=settings.nats_url,
        workers=options.workers,
        drain_seconds=settings.worker_drain_timeout + settings.handler_grace,
        environ=environ,
        secrets=secrets,
        probe_port=settings.probe_port,
    )
    system = System(plan, data, console)
    servers = {"DATABASE_URL": system.database_url, "NATS_URL": system.nats_url}
    for service in SERVICES:
        read = _check(service, {**plan.environ_of(service), **servers})
        system.must_sign_in |= any(getattr(found, "auth_required", False) for found in read)
    return await system.run(stop)


def _environ(options: Options, port: int, *, own_nats: bool) -> dict[str, str]:
    """The environment of the services: ours, with what `dev` decides."""
    decided = {*_DECIDED, *(_NATS_LOGIN if own_nats else ())}
    environ = {name: value for name, value in os.environ.items() if name not in decided}
    environ["HTTP_HOST"], environ["HTTP_PORT"] = options.host, str(port)
    environ.setdefault("EGRESS_ALLOW", "loopback")
    if options.imports:
        offer_imports(environ, options.imports)
    return environ


def _secrets(environ: dict[str, str], data: DataFolder) -> dict[str, dict[str, str]]:
    """What only some services are given, taken from the environment; a key is there even if it names none."""
    found = {name: value for name in _SECRETS["api"] if (value := environ.pop(name, "").strip())}
    for name in ("SECRET_KEY", "SEALING_KEY"):
        if not found.keys() & {name, f"{name}_FILE"}:
            found[f"{name}_FILE"] = str(data.key(name.lower().replace("_", "-")))
    return {
        service: {name: found[name] for name in names if name in found} for service, names in _SECRETS.items()
    }


def _check(service: str, environ: Mapping[str, str]) -> list[Struct]:
    """Read a service's settings as it will, so that a wrong one ends `dev` before anything is started."""
    module = module_of(service)
    if find_spec(module) is None:
        raise ProgramError(f"{module} is not installed; pip install 'taskflow-platform[all]'", 2)
    return [
        load(found, environ)
        for found in vars(import_module(f"{module}.settings")).values()
        if isinstance(found, type) and issubclass(found, Struct) and found.__module__ == f"{module}.settings"
    ]


def _url(host: str, port: int) -> str:
    """How a client on this machine reaches what listens on `host`."""
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://127.0.0.1:{port}" if address.version == 4 else f"http://[::1]:{port}"
    return f"http://{host}:{port}" if address.version == 4 else f"http://[{host}]:{port}"
