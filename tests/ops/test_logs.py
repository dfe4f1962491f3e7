import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tulou.ops.logs import follow, log_to_file, tail


@pytest.fixture
def borrowed_loggers() -> Iterator[None]:
    """What `log_to_file` sets is set back: tests that run later in this process read the log, too."""
    loggers = [logging.getLogger(name) for name in ("tulou", "uvicorn.error")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


@pytest.mark.usefixtures("borrowed_loggers")
def test_records_are_ecs_json_and_come_back_in_order(tmp_path: Path) -> None:
    log = log_to_file(tmp_path, "gateway")
    log.info("started", extra={"url.port": 8000})
    log.getChild("fleet").warning("replica 凤 lost")
    for handler in log.handlers:
        handler.close()
    records = tail(tmp_path, "gateway", 10)
    assert [record["message"] for record in records] == ["started", "replica 凤 lost"]
    assert records[0]["log.level"] == "info"
    assert records[0]["service"]["name"] == "gateway"
    assert "ecs.version" in json.dumps(records[0])


def test_a_line_that_is_no_json_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "replica-0.log").write_text("Traceback: boom\n123\n")
    assert [record["message"] for record in tail(tmp_path, None, 5)] == ["Traceback: boom", "123"]


def test_lines_of_replicas_stand_among_the_records_of_their_time(tmp_path: Path) -> None:
    at = datetime(2026, 11, 23, 17, 0, 2, tzinfo=UTC)
    shown = at.astimezone().strftime("%Y-%m-%d %H:%M:%S,000")
    (tmp_path / "assistant-0.log").write_text(f"{shown} assistant-0 request failed\nTraceback: boom\n")
    lines = [{"@timestamp": f"2026-11-23T17:00:0{second}.500Z", "message": str(second)} for second in (1, 3)]
    (tmp_path / "service.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    messages = [record["message"].removeprefix(shown) for record in tail(tmp_path, None, 10)]
    assert messages == ["1", " assistant-0 request failed", "Traceback: boom", "3"]
    assert [record["message"] for record in tail(tmp_path, None, 2)] == ["Traceback: boom", "3"]


def test_follow_yields_only_what_is_new_and_survives_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"message": "old, and long enough"}\n')
    lines = follow(tmp_path, None, poll_s=0)
    threading.Timer(0.2, lambda: path.write_text('{"message": "new"}\n')).start()
    assert next(lines)["message"] == "new"
