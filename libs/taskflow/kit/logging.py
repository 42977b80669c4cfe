"""Logging: structlog for all, one line an event, on stderr, as `console` for people or `json` for machines.

Events are called `noun.verb_past`, always the same; what differs stands in fields. Fields that may hold secrets are not
written. `configure` is called once by `lifecycle.program`; everyone else calls `get_logger(__name__)` and logs an
event with fields: `log.info("stream.created", stream=name)`. What libraries log through the standard library takes the
same way.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from io import TextIOBase
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import Processor

from taskflow.kit.settings import environment

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_FIELD_CHARS_MAX = 4096
_SECRET = re.compile(
    r"authorization|cookie|passw|secret|token|api_?key|private_?key|credential|jwt|dsn|ticket|seed|signature|payload",
    re.I,
)
_IN_TEXT = re.compile(r"""(?<=://)[^/\s"']+(?=@)|(?<=[?&]password=)[^&\s"']+|(?<=Bearer )[\w.~+/-]+=*""")
"""In texts, tracebacks too: what stands before the host of a URL, passwords in it, and bearers' tokens."""
_HIDDEN = "***"
_WORDS = {"warning": "warn", "critical": "fatal"}
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}


def configure(level: str, fmt: str, service: str, stream: TextIO | TextIOBase | None = None) -> None:
    """Send every log line of this process to stderr (or `stream`)."""
    out = stream or sys.stderr
    number = _LEVELS[level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _hide_secrets,
    ]
    renderer: Processor = _json_line(service) if fmt == "json" else _console_line(_is_coloured(out))
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # Libraries whose own debug lines drown ours.
    for name in ("asyncio", "nats", "httpx", "httpcore", "uvicorn"):
        logging.getLogger(name).setLevel(max(number, logging.INFO))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def logs_debug() -> bool:
    """Whether debug lines are written: what is said of every task or request is not even made otherwise."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def one_line(value: Any) -> str:
    """`value` as text that breaks neither a log line nor a terminal: control characters escaped, bounded."""
    text = value if isinstance(value, str) else _plain(value)
    if len(text) > _FIELD_CHARS_MAX:
        text = text[:_FIELD_CHARS_MAX] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _hide_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _without_secrets(key, value)
    return event


def _without_secrets(key: str, value: Any) -> Any:
    """Numbers and yes or no are no secrets, whatever they are called."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET.search(key):
        return _HIDDEN
    if isinstance(value, BaseException):
        value = _plain(value)
    if isinstance(value, str):
        return _IN_TEXT.sub(_HIDDEN, value) if "://" in value or "Bearer" in value else value
    if isinstance(value, dict):
        return {k: _without_secrets(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets("", item) for item in value]
    return value


def _plain(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # a value that cannot be shown must not cost the line it stands in
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _is_coloured(out: TextIO | TextIOBase) -> bool:
    environ = environment()
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _console_line(coloured: bool) -> Processor:
    """`12:00:01.234 info  event  key=value ...`; whoever gathers the lines adds the programs' names."""

    def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        time = str(event.pop("timestamp", ""))[11:23]
        level = str(event.pop("level", "info"))
        what = one_line(event.pop("event", ""))
        trace = event.pop("exception", None)
        event.pop("logger", None)
        fields = " ".join(f"{key}={_quoted(one_line(value))}" for key, value in event.items())
        word = f"{_WORDS.get(level, level):<5}"
        if coloured:
            word = f"\x1b[{_COLOURS.get(level, '0')}m{word}\x1b[0m"
        line = f"{time} {word} {what}" + (f"  {fields}" if fields else "")
        return line if trace is None else f"{line}\n{_indented(str(trace))}"

    return render


def _json_line(service: str) -> Processor:
    def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        line = {
            "ts": event.pop("timestamp", None),
            "level": event.pop("level", None),
            "service": service,
            "logger": event.pop("logger", None),
            "event": _text(event.pop("event", "")),
        }
        line.update((key, _json_value(value)) for key, value in event.items())
        return msgspec.json.encode(line).decode()

    return render


def _json_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(str(key)): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return _text(_plain(value))


def _text(value: Any) -> str:
    """Text a JSON line can hold: lone surrogates replaced, bounded (a traceback more loosely)."""
    text = value if isinstance(value, str) else _plain(value)
    if len(text) > 16 * _FIELD_CHARS_MAX:
        text = text[: 16 * _FIELD_CHARS_MAX] + "..."
    return text.encode("utf-8", "replace").decode()


def _quoted(text: str) -> str:
    return f'"{text}"' if not text or " " in text or "=" in text else text


def _indented(trace: str) -> str:
    """A traceback below its line, moved in, so that a reader sees where the next event begins."""
    return "\n".join("    " + one_line(line) for line in trace.splitlines())
