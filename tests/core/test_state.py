import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from tulou.core.errors import DataError, DiskFullError, SettingsError
from tulou.core.state import api_keys, open_state, requests, usage_by_day

# As the first version made them.
OLD_TABLES = """
CREATE TABLE api_keys (
    id VARCHAR(32) NOT NULL, hash VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, role VARCHAR(16) NOT NULL,
    created_at FLOAT NOT NULL, revoked_at FLOAT, PRIMARY KEY (id), UNIQUE (hash));
CREATE TABLE requests (
    id VARCHAR(64) NOT NULL, at FLOAT NOT NULL, key_id VARCHAR(32), route VARCHAR(64) NOT NULL,
    model VARCHAR(200) NOT NULL, model_version VARCHAR(64) NOT NULL, replica VARCHAR(64) NOT NULL,
    status INTEGER NOT NULL, latency_ms FLOAT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_requests_at ON requests (at);
INSERT INTO api_keys VALUES ('key_1', 'hash', 'shop', 'app', 1000.0, NULL);
INSERT INTO requests VALUES ('req_1', 1000.0, 'key_1', '/v1/x', 'm', '1', 'm-0', 200, 5.0, 7, 8);
"""


def test_a_relative_sqlite_file_lies_in_the_project_and_keeps_its_rows(tmp_path: Path) -> None:
    row = {"id": "k", "hash": "h", "name": "n", "role": "admin", "created_at": 1.0}
    engine = open_state("sqlite:///.tulou/state.db", tmp_path)
    with engine.begin() as connection:
        connection.execute(sa.insert(api_keys).values(row))
    engine.dispose()
    again = open_state("sqlite:///.tulou/state.db", tmp_path)
    with again.connect() as connection:
        assert connection.execute(sa.select(api_keys.c.name)).scalar_one() == "n"
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"
    again.dispose()
    assert (tmp_path / ".tulou" / "state.db").exists()


def test_a_url_that_is_none_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a database URL"):
        open_state("state.db", tmp_path)


def test_a_database_that_cannot_be_opened_hides_the_password(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(DataError, match="cannot be opened"):
        open_state("sqlite:///folder.db", tmp_path)


def test_a_state_database_without_room_is_told_as_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(_engine: sa.Engine) -> None:
        raise sa.exc.OperationalError("CREATE TABLE", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr("tulou.core.state.metadata.create_all", fill)
    with pytest.raises(DiskFullError, match="no space left for the state database"):
        open_state("sqlite:///state.db", tmp_path)


def test_a_database_of_the_first_version_gets_the_columns_it_lacks_and_keeps_its_rows(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "state.db")
    old.executescript(OLD_TABLES)
    old.close()
    for _ in range(2):  # the second time there is nothing to do
        engine = open_state("sqlite:///state.db", tmp_path)
        with engine.connect() as db:
            key = db.execute(sa.select(api_keys)).one()
            row = db.execute(sa.select(requests)).one()
            assert db.execute(sa.select(sa.func.count()).select_from(usage_by_day)).scalar_one() == 0
        assert (key.id, key.name, key.priority, key.models, key.budgets, key.expires_at) == (
            *("key_1", "shop", 0, None, None, None),
        )
        assert (row.id, row.completion_tokens, row.variant, row.is_cached, row.money) == ("req_1", 8, "", False, 0.0)
        indexes = {index["name"] for index in sa.inspect(engine).get_indexes("api_keys")}
        assert "ix_api_keys_old_hash" in indexes
        engine.dispose()
    with sqlite3.connect(tmp_path / "state.db") as old:  # the first version goes on writing into it
        old.execute("INSERT INTO api_keys (id, hash, name, role, created_at) VALUES ('key_2', 'h2', 'n', 'app', 2.0)")
    old.close()
