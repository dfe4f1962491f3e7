"""What a cursor source keeps between runs survives kill -9 at any point: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.pool import NullPool
from tests.data.servers import PASSWORD, postgresql_url
from tests.data.test_databases import collected

from tulou.bootstrap.pipeline import build_pipeline
from tulou.bootstrap.project import Project
from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.core.stage import Stage, StageResult
from tulou.data.collect.databases.increments import Increments, RecordRow, cursor_text

__all__ = ["postgresql_url"]

COLLECT = """
import sys
from pathlib import Path
from tulou.core.progress import Silent
from tulou.core.settings import SourceSettings
from tulou.data.collect.databases import increments
from tulou.data.collect.databases.collect import collect_database
original = increments.Increments.__init__
def often(self, folder, identity): original(self, folder, identity, rows_per_commit=500)
increments.Increments.__init__ = often
source = SourceSettings(name="events", url="sqlite:///events.db?table=events", text=("body",), cursor="at")
print("ready", flush=True)
collect_database(source, Path(sys.argv[1]), Path(sys.argv[1]) / "out", Silent())
"""


def record(key: int, at: int, text: str) -> RecordRow:
    return {
        "id": f"{key:024d}",
        "position": f"row={key}",
        "cursor": cursor_text(at),
        "modified_at": "",
        "content_hash": text,
        "values": json.dumps({"body": text}),
    }


def test_reader_killed_again_and_again_ends_with_every_row_once(tmp_path: Path) -> None:
    rows = 20_000
    connection = sqlite3.connect(tmp_path / "events.db")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, body TEXT)")
    connection.executemany("INSERT INTO events VALUES (?, ?, ?)", ((n, n // 7, f"event {n}") for n in range(rows)))
    connection.commit()
    connection.close()
    rng = random.Random(7)
    state = tmp_path / ".tulou/collect/events/state.json"
    kills = 0
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", COLLECT, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(rng.uniform(0.02, 0.25))
        process.kill()
        kills += process.wait() != 0
        process.stdout.close()
        (tmp_path / ".tulou/collect/events").mkdir(parents=True, exist_ok=True)
        (tmp_path / ".tulou/collect/events/increment-009999.parquet").write_bytes(b"half a file")
    assert kills >= 1
    read_before = sum(file["rows"] for file in json.loads(state.read_text())["files"]) if state.exists() else 0

    source = SourceSettings(name="events", url="sqlite:///events.db?table=events", text=("body",), cursor="at")
    documents, summary = collected(source, tmp_path)
    assert [row["text"] for row in documents] == [f"event {n}" for n in range(rows)]
    assert summary["rows_read"] == rows - read_before
    assert not (tmp_path / ".tulou/collect/events/increment-009999.parquet").exists()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=8), min_size=1, max_size=5))
def test_increments_equal_a_table_whose_rows_are_replaced(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, int]]]
) -> None:
    """Against a dict: each run brings rows at or beyond the last cursor value, ties and repeats among them."""
    folder = tmp_path_factory.mktemp("increments")
    expected: dict[int, str] = {}
    now = 0
    for number, changes in enumerate(runs):
        increments = Increments(folder, "one", rows_per_commit=3)
        table = {key: (now + step, f"{key} as of {number}") for key, step in changes}
        expected |= {key: text for key, (_, text) in table.items()}
        rows = [record(key, at, text) for key, (at, text) in sorted(table.items(), key=lambda item: item[1][0])]
        increments.extend(rows)
        assert (
            Increments(folder, "one").extend(row for row in rows if row["cursor"] == cursor_text(increments.last)) == 0
        )
        now = increments.last or now
        found = {row["position"]: row["content_hash"] for row in Increments(folder, "one").newest()}
        assert found == {f"row={key}": text for key, text in expected.items()}


def test_second_run_without_new_rows_has_nothing_to_do_and_nobody_sees_the_password(
    postgresql_url: str, tmp_path: Path
) -> None:
    engine = sa.create_engine(sa.make_url(postgresql_url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS tickets")
        connection.exec_driver_sql("CREATE TABLE tickets (id int PRIMARY KEY, body text, at timestamptz)")
        connection.exec_driver_sql("INSERT INTO tickets VALUES (1, '我想退货', now()), (2, 'late', now())")
    (tmp_path / "tulou.toml").write_text(
        f'[[data.source]]\nname = "whole"\nurl = "{postgresql_url}?table=tickets"\n'
        f'[[data.source]]\nname = "grown"\nurl = "{postgresql_url}?table=tickets"\ncursor = "at"\n'
        '[[data.source]]\nname = "said"\nurl = "tulou://feedback"\n',
        encoding="utf-8",
    )

    def run() -> list[tuple[int, bool]]:
        results = build_pipeline(Project.open(tmp_path)).run(Silent(), Unwatched(), until="collect")
        return [(result.summary["documents"], result.is_cached) for result in results]

    assert run() == [(2, False), (2, False), (0, False)]
    assert run() == [(2, True), (2, True), (0, True)]
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO tickets VALUES (3, 'new', now())")
    assert run() == [(3, False), (3, False), (0, True)]
    kept = {path: path.read_bytes() for path in (tmp_path / ".tulou").rglob("*") if path.is_file()}
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert [path for path, content in kept.items() if secret.encode() in content] == []


class Unwatched:
    def started(self, stage: Stage, index: int, total: int) -> None: ...

    def finished(self, result: StageResult, index: int, total: int) -> None: ...


def test_other_url_key_or_cursor_starts_afresh_and_leaves_nothing_behind(tmp_path: Path) -> None:
    Increments(tmp_path, "one").extend([record(1, 1, "a"), record(2, 2, "b")])
    other = Increments(tmp_path, "two")
    assert other.last is None
    other.extend([record(3, 1, "c")])
    assert [row["position"] for row in Increments(tmp_path, "two").newest()] == ["row=3"]
    assert len(list(tmp_path.glob("increment-*"))) == 1


def test_state_that_is_damaged_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"is damaged: .*; remove the folder"):
        Increments(tmp_path, "one")
