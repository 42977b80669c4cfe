"""One module of handlers in the versions of several deploys; DEPLOYED says which."""

from __future__ import annotations

import os
from pathlib import Path

from taskflow import task

VERSION = os.environ.get("DEPLOYED", "good")

if VERSION == "cannot be imported":
    raise ImportError("this deploy lacks a library")


@task("makes_invoice", max_attempts=2)
async def makes_invoice() -> str:
    """Work, but for the broken version."""
    if VERSION == "broken":
        raise RuntimeError(f"no invoice from {Path(__file__).name}")
    return VERSION


@task("sends_receipt")
async def sends_receipt() -> str:
    """Work in every version."""
    return VERSION
