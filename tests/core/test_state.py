import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from tulou.core.errors import DataError, DiskFullError, SettingsError
from tulou.core.state import api_keys, open_state


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
