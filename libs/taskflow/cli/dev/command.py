"""`taskflow dev`: the options. What they lead to is loaded when the command runs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from taskflow.cli.dev.settings import DevSettings
from taskflow.kit.settings import load


@click.command()
@click.option(
    "--host",
    help="Address to listen on; on other than loopback callers must sign in.  [HTTP_HOST, 127.0.0.1]",
)
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.  [HTTP_PORT, 8080]")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), default=".taskflow", show_default=True,
    help="Where PostgreSQL and NATS keep their data.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="How many worker processes."
)
@click.option(
    "--import", "imports", metavar="MODULE", multiple=True, help="A module of handlers; may be said again."
)
def dev(host: str | None, port: int | None, data_dir: Path, workers: int, imports: tuple[str, ...]) -> int:
    """Run the whole system here: PostgreSQL, NATS, api, scheduler, dlq-consumer, notifier and workers.

    Prints `ready http://...` on stdout once a task can be submitted; logs go to stderr. Ctrl-C drains and
    ends all. With DATABASE_URL or NATS_URL set, those servers are used and none of that kind is started.
    PROBE_PORT is the scheduler's, and the next ones are the dlq-consumer's, the notifier's and the workers'.
    """
    settings = load(DevSettings, os.environ)
    from taskflow.cli.dev.start import Options, start

    chosen = Options(
        host=host or settings.http_host,
        port=settings.http_port if port is None else port,
        data_dir=data_dir,
        workers=workers,
        imports=imports,
    )
    return start(settings, chosen)
