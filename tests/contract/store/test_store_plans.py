"""Which index each statement goes in by: on ranges that are new, empty and never analysed, when they have filled with
100,000 tasks, and when they have been analysed.

Plans are generic ones, made under the settings of the hot paths: a plan made on an empty range is kept while it fills.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import asyncpg
import pytest
from tests.contract.store import world
from tests.contract.store.filling import WORKERS, fill
from tests.contract.store.plans import (
    Plan,
    Scan,
    analyse,
    indexes,
    leave_unanalysed,
    parents,
    plan,
    prepare,
    scans,
)
from tests.contract.store.statements import STATEMENTS
from tests.support import servers as real

from taskflow.kit.ids import new_id
from taskflow.store.connect import Database

FIRST = "'00000000-0000-0000-0000-000000000000'"
LAST = "'ffffffff-ffff-ffff-ffff-ffffffffffff'"
SOME = "<some id>"
ALL_TASKS = f"'{{}}', '{{}}', '{{}}', '{{}}', '{{}}', {FIRST}, {LAST}, null, null"
ANY_KIND = "'{}', null, null"
ANYBODYS, SOMEBODYS = f"{ALL_TASKS}, null", f"{ALL_TASKS}, {SOME}"

PKEY = {Scan("tasks", "tasks_pkey")}
OWNED = {Scan("tasks", "tasks_owned")}
QUEUED, RUNNING = Scan("tasks", "tasks_queued"), Scan("tasks", "tasks_running")
TRIES = Scan("executions", "executions_pkey")
DETAILS = Scan("dead_letter_details", "dead_letter_details_pkey")
DUE, OF_HOSTS = (
    Scan("webhook_deliveries", "webhook_deliveries_due"),
    Scan("webhook_deliveries", "webhook_deliveries_host"),
)
DELIVERED = {Scan("webhook_deliveries", "webhook_deliveries_pkey")}
OF_TASK = {Scan("webhook_deliveries", "webhook_deliveries_task")}
TRIED = Scan("webhook_attempts", "webhook_attempts_pkey")
HISTORY = {Scan(table, f"{table}_pkey") for table in ("executions", "task_logs", "task_events")}

EXPECTED: dict[str, set[Scan]] = {
    "store.moves.claim_tasks": PKEY,
    "store.moves.read_remainder": PKEY,
    "store.moves.record_outcomes": PKEY,
    "store.moves.record_successes": PKEY,
    "store.moves.record_told_successes": PKEY,
    "store.moves.close_executions": {Scan("executions", "executions_pkey")},
    "store.tending.turn_tasks": {*PKEY, Scan("tasks", "tasks_due"), Scan("tasks", "tasks_expiring")},
    "store.tending.look": {
        Scan("tasks", "tasks_due"),
        Scan("tasks", "tasks_expiring"),
        QUEUED,
        RUNNING,
        Scan("executions", "executions_open"),
    },
    "store.tending.find_untended": {RUNNING},
    "store.tending.read_claims": PKEY,
    "store.tending.close_orphaned": {Scan("executions", "executions_open"), Scan("tasks", "tasks_pkey")},
    "store.tending.prune_tasks": {*PKEY, *HISTORY},
    "store.doorbells.read_heads": {QUEUED},
    "store.doorbells.ring_again": {QUEUED, *PKEY},
    "store.doorbells.park": PKEY,
    "store.doorbells.unpark": {QUEUED, *PKEY},
    "store.workers.beat": {RUNNING},
    "store.obstacles.read_place": PKEY,
    "store.obstacles.read_standing": {*PKEY, TRIES},
    "store.obstacles.count_busy": {RUNNING, Scan("executions", "executions_open")},
    "store.obstacles.count_ahead": {*PKEY, QUEUED},
    "store.catalog.read_queues": {QUEUED},
    "store.commands.cancel_tasks": PKEY,
    "store.commands.lock_tasks": PKEY,
    "store.commands.retry_tasks": PKEY,
    "store.commands.lock_letters": PKEY,
    "store.commands.replay_letters": PKEY,
    "store.commands.discard_letters": PKEY,
    "store.dead_letters.read_letters": {*PKEY, DETAILS},
    "store.dead_letters.read_tries": {TRIES},
    "store.dead_letters.stamp_letters": PKEY,
    "store.operations.take_tasks": PKEY,
    "store.operations.preview_tasks": PKEY,
    "store.steps.judge_canary": PKEY,
    "store.tending.prune_letters": {DETAILS},
    "store.history.append_lines": PKEY,
    "store.history.read_executions": {*PKEY, Scan("executions", "executions_pkey")},
    "store.history.read_logs": {Scan("task_logs", "task_logs_pkey")},
    "store.history.read_lives": PKEY,
    "store.history.read_tries": {TRIES},
    "store.history.read_lines": {Scan("task_logs", "task_logs_pkey")},
    "store.history.read_marks": {Scan("task_events", "task_events_pkey")},
    "store.history.task_exists": PKEY,
    "store.tasks.read_tasks": PKEY,
    "store.tasks.read_statuses": PKEY,
    "store.tasks.list_tasks": PKEY,
    "store.tasks.list_own_tasks": OWNED,
    "store.search.find_window": PKEY,
    "store.search.find_own_window": OWNED,
    "store.tasks.list_by_status": {
        *PKEY,
        QUEUED,
        RUNNING,
        Scan("tasks", "tasks_due"),
        Scan("tasks", "tasks_ended"),
    },
    "store.operations.take_own_tasks": OWNED,
    "store.operations.preview_own_tasks": OWNED,
    "store.audit.scan_tasks": {*PKEY, TRIES},
    "store.audit.scan_letters": PKEY,
    "store.audit.lost_doorbells": {QUEUED},
    "store.audit.parked_though_served": {QUEUED},
    "store.census.read_waiting": {QUEUED},
    "store.audit.open_tries": {*PKEY, Scan("executions", "executions_open")},
    "store.mend.write_letters": {*PKEY, TRIES},
    "store.mend.resolve_letters": {*PKEY, DETAILS},
    "store.mend.close_tries": {TRIES},
    "store.webhooks.next_due": {DUE},
    "store.webhooks.lease": {OF_HOSTS, *DELIVERED},
    "store.webhooks.record_tries": DELIVERED,
    "store.webhooks.hasten": {OF_HOSTS, *DELIVERED},
    "store.webhooks.put_off": DELIVERED,
    "store.webhooks.send_now": PKEY,
    "store.webhooks.replay": OF_TASK,
    "store.webhook_reads.list_deliveries": DELIVERED,
    "store.webhook_reads.list_own_deliveries": {Scan("webhook_deliveries", "webhook_deliveries_owned")},
    "store.webhook_reads.list_of_task": OF_TASK,
    "store.webhook_reads.read_delivery": OF_TASK,
    "store.webhook_reads.read_callback": PKEY,
    "store.webhook_reads.read_attempts": {TRIED},
    "store.webhook_reads.count_webhooks": {DUE, OF_HOSTS},
    "store.webhook_reads.prune_deliveries": {*DELIVERED, TRIED},
}

ARGUMENTS = {
    "store.obstacles.read_place": f"{SOME}, null",
    "store.obstacles.read_standing": SOME,
    "store.obstacles.count_ahead": f"{SOME}, 10000",
    "store.audit.scan_tasks": f"{FIRST}, 10, 1",
    "store.tending.prune_tasks": f"1, 1, {LAST}",
    "store.tasks.list_tasks": f"{ANYBODYS}, {ANY_KIND}, 100, false, false",
    "store.tasks.list_own_tasks": f"{SOMEBODYS}, {ANY_KIND}, 100, false, false",
    "store.tasks.list_by_status": f"{ANYBODYS}, {ANY_KIND}, 100, false, false",
    "store.search.find_window": f"{FIRST}, {LAST}, 2000",
    "store.search.find_own_window": f"{FIRST}, {LAST}, 2000, {SOME}",
    "store.operations.take_tasks": f"{ANYBODYS}, {ANY_KIND}, 100, {SOME}, true",
    "store.operations.take_own_tasks": f"{SOMEBODYS}, {ANY_KIND}, 100, {SOME}, true",
    "store.operations.preview_tasks": f"{ANYBODYS}, {ANY_KIND}, 100, 10",
    "store.operations.preview_own_tasks": f"{SOMEBODYS}, {ANY_KIND}, 100, 10",
    "store.history.read_executions": f"{SOME}, 'running'",
    "store.history.read_logs": f"{SOME}, 0, 10",
    "store.history.task_exists": f"{SOME}, null",
    "store.webhooks.send_now": f"{SOME}, null, 'task.test', 'https://h/hook', 'https://h', null, null",
    "store.webhooks.replay": f"{SOME}, {SOME}, null",
    "store.webhook_reads.list_deliveries": "null, '{}', '{}', null, null, 100, null",
    "store.webhook_reads.list_own_deliveries": f"null, '{{}}', '{{}}', null, null, 100, {SOME}",
    "store.webhook_reads.list_of_task": f"null, '{{}}', '{{}}', null, {SOME}, 100, null",
    "store.webhook_reads.read_delivery": f"{SOME}, {SOME}, null",
    "store.webhook_reads.read_callback": f"{SOME}, null",
    "store.webhook_reads.prune_deliveries": f"1, 1, {LAST}",
}
"""Of statements whose ranges are chosen when they begin; the others meet nulls."""


EMPTY, KEPT, FULL, ANALYSED = STAGES = ("empty", "kept", "full", "analysed")
"""Planned on empty ranges; that plan when they have filled; planned by a new session then; and once analysed."""


class Survey(NamedTuple):
    """The plans of all statements, by stage and name."""

    parents: dict[str, str]
    plans: dict[str, dict[str, Plan]]

    def scans(self, stage: str, name: str) -> set[Scan]:
        return scans(self.plans[stage][name], self.parents)


@pytest.fixture(scope="module")
def survey(databases: real.Databases) -> Iterator[Survey]:
    url = databases.create()
    yield real.blocking(lambda: _survey(url))
    databases.drop(url)


async def _survey(url: str) -> Survey:
    async with Database(url, application="test") as database:
        early = await database.open_connection(hot=True)
        await leave_unanalysed(early)
        plans = {EMPTY: await _planned(early)}
        await fill(early, [await world.start_worker(early) for _ in range(WORKERS)])
        plans[KEPT] = await _plans(early)
        late = await database.open_connection(hot=True)
        plans[FULL] = await _planned(late)
        await analyse(early)
        plans[ANALYSED] = await _plans(early)
        found = Survey(await parents(early), plans)
        await early.close()
        await late.close()
    return found


async def _planned(conn: asyncpg.Connection) -> dict[str, Plan]:
    await prepare(conn)
    return await _plans(conn)


async def _plans(conn: asyncpg.Connection) -> dict[str, Plan]:
    some = f"'{new_id()}'"
    return {name: await plan(conn, name, ARGUMENTS.get(name, "").replace(SOME, some)) for name in STATEMENTS}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_statement_goes_in_by_its_index(survey: Survey, name: str, stage: str) -> None:
    assert survey.scans(stage, name) == EXPECTED[name]


@pytest.mark.parametrize("stage", STAGES)
def test_no_statement_reads_a_whole_range(survey: Survey, stage: str) -> None:
    whole = {name: found for name in STATEMENTS
             if (found := {scan for scan in survey.scans(stage, name) if scan.by is None})}  # fmt: skip
    assert whole == {}


def test_every_statement_on_ranges_is_expected(survey: Survey) -> None:
    """A new statement that reads ranges belongs into the table above."""
    assert {name for name in STATEMENTS if survey.scans(EMPTY, name)} == set(EXPECTED)


def test_a_plan_made_on_empty_ranges_is_kept_until_they_are_analysed(survey: Survey) -> None:
    """Else nothing here would tell of such plans."""
    assert survey.plans[KEPT] == survey.plans[EMPTY]
    assert survey.plans[ANALYSED]["store.moves.claim_tasks"] != survey.plans[EMPTY]["store.moves.claim_tasks"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_page_of_a_scan_reads_no_more_than_a_page(survey: Survey, stage: str) -> None:
    """A plan for this one page would sort all that is left; the generic plan does not."""
    whole = survey.plans[stage]["store.audit.scan_tasks"]
    [page] = [node for node in whole["Plans"] if node.get("Subplan Name") == "CTE page"]
    [below] = page["Plans"]
    assert (page["Node Type"], below["Node Type"]) == ("Limit", "Append")
    assert {node["Node Type"] for node in below["Plans"]} == {"Index Scan"}


FIGURES = {
    "store.stats.fold": set(),
    "store.stats.read_totals": set(),
    "store.stats.read_totals_of": set(),
    "store.stats.read_days": set(),
    "store.stats.read_days_of": set(),
    "store.stats.read_owned": set(),
    "store.stats.count_statuses": set(),
    "store.stats.count_folded": {"owner_totals_pkey"},
    "store.stats.count_waiting": {"owner_totals_pkey"},
    "store.series.read_figures": {"stat_series_pkey"},
    "store.series.rank_queues": {"stat_series_pkey"},
    "store.series.rank_types": {"stat_series_pkey"},
    "store.series.started_lately": {"stat_series_pkey"},
    "store.series.prune_series": {"stat_series_pkey"},
}
"""Statements about figures, and by which index they must go into the series."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_figures_are_read_without_a_look_at_the_tasks(survey: Survey, name: str, stage: str) -> None:
    assert survey.scans(stage, name) == set()
    assert FIGURES[name] <= indexes(survey.plans[stage][name])


OWNED = {
    "store.stats.read_totals_of": {"owner_totals_pkey", "stat_deltas_owned"},
    "store.stats.read_days_of": {"owner_days_pkey", "stat_deltas_owned"},
    "store.stats.count_waiting": {"owner_totals_pkey", "stat_deltas_owned"},
    "store.idempotency.has_key": {"idempotency_keys_pkey"},
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", sorted(OWNED))
def test_what_is_read_of_an_owner_is_read_by_index(survey: Survey, name: str, stage: str) -> None:
    assert indexes(survey.plans[stage][name]) == OWNED[name]
