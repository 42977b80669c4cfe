"""Log lines: events are constant and named alike, so that they can be searched for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.support.systems import ROOT

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*")


def _events() -> Iterator[tuple[str, ast.expr]]:
    """The first argument of every log call of the services and the library, and where it stands."""
    for folder in ("libs", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[event, *_]):
                        if level in LEVELS:
                            yield f"{path.relative_to(ROOT)}:{node.lineno}", event
                    case ast.Call(func=ast.Attribute(attr="_say"), args=[ast.Constant() as event, *_]):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", event


def test_events_are_constant_and_say_what_happened_to_what() -> None:
    events = list(_events())
    assert len(events) > 50
    handed_on = [where for where, event in events if not isinstance(event, ast.Constant)]
    assert len(handed_on) <= 1, f"{handed_on}: only the bus hands a name on"
    named = {event.value: where for where, event in events if isinstance(event, ast.Constant)}
    odd = {name: where for name, where in named.items() if not EVENT.fullmatch(name)}
    assert not odd, "expected noun.verb_past"
