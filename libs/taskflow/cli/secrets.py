"""`taskflow secrets FOLDER`: passwords, keys, certificates and NATS' configuration. What it writes is in `cabinet`."""

from __future__ import annotations

import os
from pathlib import Path

import click

MOUNT = "/run/taskflow"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--mount", default=MOUNT, show_default=True, help="Where nats-server will find FOLDER/nats.")
def secrets(folder: Path, mount: str) -> None:
    """Make passwords, NATS keys, NATS' configuration and, with NATS_CA_FILE set, its certificates.

    In FOLDER there will be a folder for each of postgres, nats, migrate and the services. What is there stays.
    """
    from taskflow.cli.cabinet import SecretsSettings, write_secrets
    from taskflow.kit.settings import load

    settings = load(SecretsSettings, os.environ)
    try:
        told = write_secrets(settings, folder, mount)
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from error
    for line in told:
        click.echo(line)
