"""`taskflow doctor`: check the law and all that must hold, and mend it with `--repair`.

Exit codes: 0 clean, 1 something was found (or remains), 2 settings, 7 PostgreSQL or NATS could not be asked.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any

import click
import msgspec
from msgspec import Meta

from taskflow.kit.settings import LogLevel, Seconds, load

if TYPE_CHECKING:
    from taskflow.engine.doctor import Diagnosis
    from taskflow.engine.settings import LeaseSettings

EXIT_FOUND = 1
EXIT_UNREACHABLE = 7


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--repair", is_flag=True, help="Mend what can be mended, then check again.")
@click.pass_context
def doctor(context: click.Context, as_json: bool, repair: bool) -> None:
    """Check that no task is lost, stuck or counted wrongly; --repair mends what it can."""
    settings = load(settings_class(), os.environ)
    import asyncio

    from taskflow.kit.logging import configure

    configure(settings.log_level, settings.log_format, "doctor")
    found = asyncio.run(report(settings, repair))
    click.echo(msgspec.json.encode(found).decode() if as_json else _told(found, repair))
    context.exit(_code(found))


def settings_class() -> type[LeaseSettings]:
    """What the command reads from its environment; a function, so that `--help` loads nothing."""
    from taskflow.engine.settings import LeaseSettings

    class Settings(LeaseSettings, frozen=True, kw_only=True):
        """What `taskflow doctor` reads; the same as the scheduler's, but it logs errors only."""

        log_level: LogLevel = "error"
        dead_letter_retention: Annotated[Seconds, Meta(ge=1)] = 90 * 86_400.0

    return Settings


async def report(settings: Any, repair: bool) -> dict[str, Any]:
    """What `--json` prints: look, mend if told to, and look again."""
    from taskflow.bus.connect import Bus
    from taskflow.bus.rights import Role
    from taskflow.engine.dispatch import Dispatcher
    from taskflow.engine.doctor import SCAN_SECONDS_MAX, Doctor, Patience
    from taskflow.engine.mend import Mender
    from taskflow.store.connect import Database, Line
    from taskflow.store.probe import probe

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        database = await enter(Database(settings.database_url, application="taskflow-doctor"))
        line = await enter(Line(database, patience_seconds=SCAN_SECONDS_MAX))
        if not (await line.run(probe)).migrated:
            raise click.ClickException("the schema is missing; run `taskflow migrate`")
        login = settings.login(Role.SCHEDULER)
        bus = await enter(Bus(settings.nats_url, settings.topology(), name="taskflow-doctor", login=login))
        asked = Doctor(
            line,
            bus,
            patience=Patience.of(settings.worker_lease),
            handler_grace=settings.handler_grace,
            letters_kept_seconds=settings.dead_letter_retention,
        )
        diagnosis, mended, notes = await asked.examine(), dict[str, int](), list[str]()
        if repair and any(found.n for found in diagnosis.found.values()):
            async with Dispatcher(bus) as dispatcher:
                mender = Mender(line, bus, dispatcher, asked, poison_losses_max=settings.poison_losses_max)
                mended, notes = await mender.mend(diagnosis), mender.notes
            diagnosis = await asked.examine()
    return _shaped(diagnosis, mended, notes)


def _shaped(diagnosis: Diagnosis, mended: dict[str, int], notes: list[str]) -> dict[str, Any]:
    from taskflow.engine.checkup import checks_of

    checks = [
        {**msgspec.structs.asdict(check), "repaired": mended.get(check.name)}
        for check in checks_of(diagnosis)
    ]
    clean = all(check["checked"] and not check["found"] for check in checks)
    return {"clean": clean, "checks": checks, "law": msgspec.to_builtins(diagnosis.law), "notes": notes}


def _told(report: dict[str, Any], repaired: bool) -> str:
    law = report["law"]
    lines = ["accepted {accepted} = live {live} + terminal {terminal} + pruned {pruned}".format(**law)]
    lines += [*(_line(check) for check in report["checks"]), *report["notes"]]
    if report["clean"]:
        lines.append("clean")
    elif any(check["found"] for check in report["checks"]):
        hint = "this is beyond repair" if repaired else "taskflow doctor --repair mends what can be mended"
        lines.append(f"not clean: {hint}; see docs/guides/operations.md")
    else:
        lines.append("not clean: NATS could not be asked")
    return "\n".join(lines)


def _line(check: dict[str, Any]) -> str:
    state = str(check["found"]) if check["checked"] else "not checked"
    mended = f" ({check['repaired']} mended)" if check["repaired"] else ""
    examples = "".join(f"\n{'':20}{value}" for value in check["examples"])
    return f"{check['name']:<20}{state:<13}{check['means']}{mended}{examples}"


def _code(report: dict[str, Any]) -> int:
    if any(check["found"] for check in report["checks"]):
        return EXIT_FOUND
    return 0 if report["clean"] else EXIT_UNREACHABLE
