"""The tests' own reader of server-sent events reads as browsers do."""

from __future__ import annotations

import pytest
from tests.support.sse import Event, Parser

TEXT = (
    'retry: 1500\n\n: still here\n\nevent: task\nid: 7\ndata: {"a": "é"}\n\n'
    "data:one\ndata: two\r\n\r\nid: 9\n\nevent: nothing\n\nevent: end\ndata: {}\n\ndata: cut off\n"
).encode()


@pytest.mark.parametrize("size", range(1, len(TEXT) + 1))
def test_events_are_the_same_however_they_are_cut(size: int) -> None:
    parser = Parser()
    found = [each for at in range(0, len(TEXT), size) for each in parser.feed(TEXT[at : at + size])]
    assert found == [
        Event("task", "7", '{"a": "é"}'),
        Event("message", "7", "one\ntwo"),
        Event("end", "9", "{}"),
    ]
    assert (parser.last_id, parser.retry_ms, parser.comments) == ("9", 1500, 1)
