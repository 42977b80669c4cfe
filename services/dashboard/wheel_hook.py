"""A wheel has the dashboard in it: built when it is missing or not as its sources are.

Hatch calls this. TASKFLOW_WITHOUT_DASHBOARD=1 makes a wheel without it, for images that have no use for it; what is
installed to be changed (`pip install -e`) takes what is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = Path(__file__).parent / "build.py"
BUILT = "services/api/taskflow_api/dashboard"
CANNOT = 3
"""What `build.py` says where what it needs cannot be had: then the one that was built before will do."""
WITHOUT = "TASKFLOW_WITHOUT_DASHBOARD"


class DashboardHook(BuildHookInterface[Any]):
    """Runs `build.py`, and fails where that fails."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the files of the wheel are collected."""
        if version == "editable" or os.environ.get(WITHOUT) == "1":
            return
        build_data["artifacts"].append(f"{BUILT}/**")  # though git ignores them
        done = subprocess.run([sys.executable, str(BUILD)], check=False)  # nosec B603  # a list, no shell; ours
        if done.returncode == 0:
            return
        if done.returncode != CANNOT or not (Path(self.root) / BUILT / "index.html").is_file():
            raise RuntimeError(
                f"no dashboard: `make dashboard` builds it; {WITHOUT}=1 makes a wheel without it"
            )
