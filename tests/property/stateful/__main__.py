"""The machine at length: `python -m tests.property.stateful --examples 2000 --steps 60`; new examples each time."""

from __future__ import annotations

import argparse
import asyncio
import random

from hypothesis import Phase, settings
from tests.property.stateful.machine import HOUSE, check_agreement
from tests.support.engines import open_ground
from tests.support.servers import Databases, open_servers

from taskflow.bus.topology import Topology
from taskflow.kit.logging import configure


def main() -> None:
    """Run the examples; an error of the model or the engine ends it with the shortest sequence that shows it."""
    parser = argparse.ArgumentParser(description="the store and the engine against a small model")
    parser.add_argument("--examples", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    parser.add_argument("--no-shrink", action="store_true", help="show the first sequence found, at once")
    asked = parser.parse_args()
    configure("error", "console", "stateful")
    print(f"{asked.examples} examples of {asked.steps} steps, seed {asked.seed}", flush=True)
    phases = [Phase.generate] if asked.no_shrink else HOUSE.phases
    deep = settings(
        HOUSE, max_examples=asked.examples, stateful_step_count=asked.steps, derandomize=False, phases=phases
    )
    with open_servers() as servers, asyncio.Runner() as runner:
        databases = Databases(servers.database_admin_url)
        url = databases.create()
        opened = open_ground(url, servers.nats_url, Topology("TEST_STATEFUL", "test-stateful"))
        ground = runner.run(opened.__aenter__())
        try:
            check_agreement(runner, ground, deep, begin_with=asked.seed)
        finally:
            runner.run(opened.__aexit__(None, None, None))
            databases.drop(url)
            databases.close()
    print("rows and model agree")


if __name__ == "__main__":
    main()
