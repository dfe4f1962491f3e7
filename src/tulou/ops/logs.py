"""Logs as JSON lines in the Elastic Common Schema, one file for each process, so that any log shipper can read them.

Files rotate at 10 MB and three old ones are kept: an unattended service never fills the disk with its own words.
"""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import ecs_logging

MAX_FILE_BYTES = 10 << 20
OLD_FILES = 3

_PLAIN_TIME_CHARS = 23  # of logging's %(asctime)s, which is local time


def log_to_file(folder: Path, name: str, level: int = logging.INFO) -> logging.Logger:
    """Send the log records of `tulou` and of the web server to `folder/name.jsonl`; returns the `tulou` logger."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        folder / f"{name}.jsonl", maxBytes=MAX_FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True
    )
    handler.setFormatter(ecs_logging.StdlibFormatter(extra={"service.name": name}, stack_trace_limit=20))
    for logger_name in ("tulou", "uvicorn.error"):
        logger = logging.getLogger(logger_name)
        logger.setLevel(level)
        logger.propagate = False
        for old in list(logger.handlers):
            logger.removeHandler(old)
        logger.addHandler(handler)
    return logging.getLogger("tulou")


def tail(folder: Path, name: str | None, lines: int) -> list[dict[str, Any]]:
    """The last `lines` records of one log or of all of them, oldest first."""
    records: list[dict[str, Any]] = []
    for path in _files(folder, name):
        with path.open(encoding="utf-8", errors="replace") as file:
            read = [_parse(line, path) for line in deque(file, maxlen=lines)]
        for before, record in pairwise(read):
            record["@timestamp"] = record["@timestamp"] or before["@timestamp"]
        records += read
    return sorted(records, key=lambda record: str(record["@timestamp"]))[-lines:]


def follow(folder: Path, name: str | None, poll_s: float = 0.5) -> Iterator[dict[str, Any]]:
    """New records as they are written, for ever."""
    offsets = {path: path.stat().st_size for path in _files(folder, name)}
    while True:
        for path in _files(folder, name):
            size, offset = path.stat().st_size, offsets.get(path, 0)
            if size < offset:  # rotated
                offset = 0
            if size > offset:
                with path.open(encoding="utf-8", errors="replace") as file:
                    file.seek(offset)
                    for line in file:
                        yield _parse(line, path)
                    offset = file.tell()
            offsets[path] = offset
        time.sleep(poll_s)


def _files(folder: Path, name: str | None) -> list[Path]:
    found = [path for path in sorted(folder.glob("*")) if path.suffix in (".jsonl", ".log")]
    return [path for path in found if name is None or path.stem.startswith(name)]


def _parse(line: str, path: Path) -> dict[str, Any]:
    """A log line as a record; one that is not JSON is a message, with the time in front of it if there is one.

    Replicas write such lines, and what follows one without a time of its own (a traceback) belongs to it.
    """
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        record = {"message": line.rstrip("\n")}
        with contextlib.suppress(ValueError):
            at = datetime.strptime(line[:_PLAIN_TIME_CHARS], "%Y-%m-%d %H:%M:%S,%f").astimezone(UTC)
            record["@timestamp"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"@timestamp": "", "log.level": "", **record, "log": path.stem}
