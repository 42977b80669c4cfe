"""`taskflow api|worker|scheduler|dlq-consumer|notifier`: run a service, as `python -m` would.

The services are other packages, which may not be installed; they are found by name and never imported from
here.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click


@click.command()
def api() -> None:
    """Serve the HTTP API."""
    _run("api")


@click.command()
@click.option(
    "--import", "imports", metavar="MODULE", multiple=True, help="A module of handlers; may be said again."
)
def worker(imports: tuple[str, ...]) -> None:
    """Run tasks: the built-in types, and those of the modules that are imported."""
    if imports:
        offer_imports(os.environ, imports)
        sys.path.insert(0, str(Path.cwd()))
    _run("worker")


@click.command()
def scheduler() -> None:
    """Tend the queue: due tasks, lost doorbells, lost workers, expiry, partitions."""
    _run("scheduler")


@click.command("dlq-consumer")
def dlq_consumer() -> None:
    """Tend the dead letters: enrich, group, replay."""
    _run("dlq-consumer")


@click.command()
def notifier() -> None:
    """Deliver webhooks."""
    _run("notifier")


def module_of(service: str) -> str:
    """The package of a service: `dlq-consumer` is in `taskflow_dlq_consumer`."""
    return "taskflow_" + service.replace("-", "_")


def offer_imports(environ: dict[str, str] | os._Environ[str], imports: Sequence[str]) -> None:
    """Let a worker and the children of its handlers import modules of the working folder."""
    known = [name for name in environ.get("WORKER_IMPORTS", "").split(",") if name]
    environ["WORKER_IMPORTS"] = ",".join(dict.fromkeys([*known, *imports]))
    places = [str(Path.cwd()), *environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(place for place in places if place))


def _run(service: str) -> None:
    module = module_of(service)
    if find_spec(module) is None:
        raise click.UsageError(f"{module} is not installed; pip install 'taskflow-platform[{service}]'")
    sys.argv = [f"taskflow {service}"]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"{service} needs the module {error.name}; pip install 'taskflow-platform[{service}]'"
        ) from error
