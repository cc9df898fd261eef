"""The logs of a server: a line a record, for people or as JSON; neither pixels nor tokens are ever in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

__all__ = ["LogFormat", "set_up_logs"]

LogFormat = Literal["text", "json"]
_FIELDS = "fields"


class _JsonLines(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


class _TextLines(logging.Formatter):
    """Time, level, message, and what belongs to it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, _FIELDS, {}).items())
        return _printable(f"{super().formatMessage(record)} {fields}".rstrip())


def _printable(text: str) -> str:
    """Return text in which no client's name can begin a line of its own or colour a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def set_up_logs(kind: LogFormat = "text", level: str = "INFO") -> None:
    """Send the logs of this process to standard error.

    Parameters
    ----------
    kind
        For people, or one JSON object a line.
    level
        Least level that is told.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if kind == "json" else _TextLines("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("napari_cellsam").setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
