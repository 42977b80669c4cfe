"""`taskflow`: the entry point. Commands are loaded when they are called, so that `taskflow --help` is quick.

Programs (`api`, `worker`, ...) are run as modules by name; nothing here imports a service. Whatever goes
wrong is said in one line on stderr, with the exit codes of the contract: 2 usage or settings, 7
unreachable, never a traceback.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NoReturn

import click
from click.exceptions import NoArgsIsHelpError

COMMANDS = {
    "dev": "taskflow.cli.dev.command:dev",
    "api": "taskflow.cli.programs:api",
    "worker": "taskflow.cli.programs:worker",
    "scheduler": "taskflow.cli.programs:scheduler",
    "dlq-consumer": "taskflow.cli.programs:dlq_consumer",
    "notifier": "taskflow.cli.programs:notifier",
    "migrate": "taskflow.cli.migrate:migrate",
    "secrets": "taskflow.cli.secrets:secrets",
    "admin": "taskflow.cli.admin:admin",
    "janitor": "taskflow.cli.janitor:janitor",
    "doctor": "taskflow.cli.doctor:doctor",
    "info": "taskflow.cli.info:info",
    "dlq": "taskflow.cli.client.dlq:dlq",
    "operations": "taskflow.cli.client.operations:operations",
}
EXIT_USAGE = 2
EXIT_UNREACHABLE = 7


class Commands(click.Group):
    """The commands by name, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (where := COMMANDS.get(cmd_name)) is None:
            return None
        module, _, name = where.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.command("taskflow", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def taskflow() -> None:
    """TaskFlow: a distributed task queue for work that must not be lost."""


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; gives the exit code."""
    try:
        code = taskflow.main(args=arguments, prog_name="taskflow", standalone_mode=False)
    except NoArgsIsHelpError as error:
        error.show()
        return EXIT_USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "taskflow"
        return _failed(f"{error.format_message()} (see {where} --help)", EXIT_USAGE)
    except click.ClickException as error:
        return _failed(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        return _explained(error)
    return code if isinstance(code, int) else 0


def _explained(error: Exception) -> int:
    """Say what went wrong; errors of ours explain themselves, others need their name beside it."""
    from taskflow.domain.errors import TaskflowError, Unavailable
    from taskflow.kit.settings import SettingsError

    if isinstance(error, SettingsError):
        return _failed(str(error), EXIT_USAGE)
    if isinstance(error, ModuleNotFoundError):  # images hold what their service needs
        return _failed(f"{error.name} is not installed; pip install 'taskflow-platform[all]'", EXIT_USAGE)
    code = EXIT_UNREACHABLE if isinstance(error, Unavailable | ConnectionError) else 1
    return _failed(
        str(error) if isinstance(error, TaskflowError) else f"{type(error).__name__}: {error}", code
    )


def _failed(message: str, code: int) -> int:
    click.echo(" ".join(f"taskflow: {message}".split()), err=True)
    return code


if __name__ == "__main__":
    main()
